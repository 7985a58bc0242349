"""Definitions of providers: what ships, what is one's own, and what is wrong with it."""

from collections import Counter
from pathlib import Path

import pytest

from relay.config.document import parse_document
from relay.config.provider_checks import check_providers
from relay.config.providers import providers_of, shipped_providers
from relay.config.shaping import Provider, Shaping
from relay.config.units import Rate
from tests.limits.making import make_config


def problems(text: str) -> list[str]:
    return [str(problem) for problem in check_providers(parse_document(text, Path("relay.yaml")))]


def test_every_shipped_definition_says_who_it_is_and_how_it_wants_its_mail() -> None:
    for name, one in shipped_providers().items():
        assert one.exchanges, name
        assert one.connections is not None, name
        assert 1 <= one.connections <= 20, name
        assert one.messages_per_connection, name
        assert one.recipients, name
        assert one.rate, name


def test_no_domain_and_no_host_is_claimed_by_two_shipped_definitions() -> None:
    for key in ("domains", "exchanges"):
        claims = Counter(c for one in shipped_providers().values() for c in getattr(one, key) or ())
        assert max(claims.values()) == 1


def test_orange_gets_two_connections() -> None:
    assert shipped_providers()["orange"].connections == 2


def test_a_definition_of_ones_own_changes_the_keys_that_it_gives_and_adds_new_ones() -> None:
    config = make_config(providers={"google": {"rate": "7/s"}, "corp": {"domains": ["Corp.Test"]}})
    found = providers_of(config)
    assert found["google"].rate == (Rate(7, 1),)
    assert found["google"].exchanges == shipped_providers()["google"].exchanges
    assert found["corp"] == Provider(domains=("corp.test",))
    assert "default" not in providers_of(make_config(providers={"default": {"connections": 1}}))


@pytest.mark.parametrize(
    ("written", "rates"),
    [
        ("20/s", (Rate(20, 1),)),
        (["5000/h", "20/s"], (Rate(20, 1), Rate(5000, 3600))),
        ("unlimited", ()),
    ],
)
def test_a_rate_is_one_or_several(written: object, rates: tuple[Rate, ...]) -> None:
    assert Shaping.model_validate({"rate": written}).rate == rates


@pytest.mark.parametrize(
    "written",
    [[], ["20/s", "30/s"], "fast", ["20", "000/h"], ["1/s", "1/min", "1/h", "1/d", "2/s"]],
)
def test_what_is_no_rate_is_refused_in_words(written: object) -> None:
    with pytest.raises(ValueError, match="allowed is"):
        Shaping.model_validate({"rate": written})


def test_a_comma_within_brackets_is_explained() -> None:
    with pytest.raises(ValueError, match="write 5000/h without one"):
        Shaping.model_validate({"rate": ["20/s", "5", "000/h"]})


def test_a_mistyped_name_is_told_with_the_one_that_was_meant() -> None:
    [told] = problems("providers:\n  gogle:\n    rate: 5/s\n")
    assert told.startswith("relay.yaml:2:3: providers.gogle: matches nothing")
    assert "did you mean google?" in told
    [told] = problems("pools:\n  main:\n    providers:\n      gogle:\n        rate: 5/s\n")
    assert told.startswith("relay.yaml:4:7: pools.main.providers.gogle: no provider gogle")
    assert "did you mean google?" in told


def test_one_host_cannot_be_two_providers() -> None:
    [told] = problems(
        "providers:\n  a: {exchanges: [mx.test]}\n  b: {exchanges: [MX.test], domains: [b.test]}\n"
    )
    assert told.startswith("relay.yaml:3:19:")
    assert "is claimed by a too" in told


def test_default_matches_nothing_of_its_own() -> None:
    [told] = problems("providers:\n  default: {domains: [a.test], connections: 5}\n")
    assert "default is for what nothing matches" in told


def test_what_is_right_is_not_complained_of() -> None:
    assert not problems(
        "providers:\n  default: {connections: 5}\n  google: {rate: 1/s}\n  c: {domains: [c.test]}\n"
        "pools:\n  main:\n    providers:\n      c: {rate: 1/s}\n      default: {quota: 5}\n"
    )
