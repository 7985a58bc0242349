"""The part of a configuration that is published, and how a node takes it up."""

from pathlib import Path

import pytest

from relay.config.document import parse_document
from relay.config.problems import ConfigErrors
from relay.config.published import common_text, differing_keys, merged, without_secrets

HASH = "$scrypt$ln=14,r=8,p=1$c2FsdA$aGFzaA"
OWN = "hostname: b.test\nworkers: 2\nretry: {schedule: [1m]}\n"


def document(text: str):
    return parse_document(text, Path("/etc/relay/relay.yaml"))


def test_only_common_sections_are_published_and_references_stay_references() -> None:
    text = common_text(
        document(
            "hostname: a.test\nroutes:\n  x: {password: '${file:p}', to: '22:30', q: 'true'}\n"
        )
    )

    assert document(text).data == {
        "routes": {"x": {"password": "${file:p}", "to": "22:30", "q": "true"}}
    }


def test_a_secret_in_plain_text_is_not_published_and_not_shown() -> None:
    with pytest.raises(ConfigErrors) as caught:
        common_text(document("routes: {x: {password: hunter2}}"))

    assert "routes.x.password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_node_keeps_its_own_sections_and_takes_the_common_ones() -> None:
    both = merged(document(OWN), "hostname: a.test\nretry: {schedule: [9m]}\n", 3)

    assert both.data == {"hostname": "b.test", "workers": "2", "retry": {"schedule": ["9m"]}}


def test_a_problem_names_the_document_that_it_is_in() -> None:
    both = merged(document(OWN), "retry: {schedule: [9m]}\n", 3)

    assert str(both.problem(("retry", "schedule"), "x")).startswith(
        "the published configuration, epoch 3:1:"
    )
    assert str(both.problem(("workers",), "x")).startswith("/etc/relay/relay.yaml:2:")


def test_keys_that_differ_are_named_without_values() -> None:
    assert differing_keys(document(OWN), "retry: {schedule: [9m]}\npools: {a: b}\n") == (
        "pools",
        "retry.schedule[0]",
    )


def test_hashes_of_passwords_are_not_shown() -> None:
    shown = without_secrets(f"credentials: {{a: {{password_hashes: ['{HASH}']}}}}")

    assert HASH not in shown
    assert "not shown" in shown
