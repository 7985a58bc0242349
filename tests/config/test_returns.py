"""The listener for what comes back in the configuration, and the exact messages of mistakes."""

from pathlib import Path

import pytest

from relay.config.listening import every_listener, returns_bounds
from relay.config.load import ConfigErrors, load_config
from relay.config.model import Bounds

BASE = """\
hostname: relay.test
data_dir: data
tls: {certificate: cert.pem, key: key.pem}
listeners: {main: {address: "127.0.0.1:2525"}}
credentials: {app: {password: "a secret that nobody may see"}}
identities: {sender.test: {mail_from: bounce.sender.test}}
configuration_sets: {default: {pool: default}}
pools: {default: {sources: [{address: 127.0.0.2}]}}
"""


@pytest.fixture
def load(tmp_path: Path):
    def of(text: str):
        (tmp_path / "relay.yaml").write_text(text)
        return load_config(tmp_path / "relay.yaml", {})

    return of


@pytest.fixture
def problem(load):
    """The one problem of a configuration, without its place."""

    def of(text: str) -> str:
        with pytest.raises(ConfigErrors) as raised:
            load(text)
        (problem,) = raised.value.problems
        return str(problem).partition(": ")[2]

    return of


def test_without_the_section_there_is_no_listener_for_what_comes_back(load) -> None:
    assert list(every_listener(load(BASE))) == ["main"]


def test_with_it_there_is_one_more_without_tls_from_the_first_octet(load) -> None:
    listeners = every_listener(
        load(BASE + "returns: {address: '0.0.0.0:25', networks: [192.0.2.0/24]}\n")
    )
    assert list(listeners) == ["main", "returns"]
    assert (listeners["returns"].address, listeners["returns"].tls) == ("0.0.0.0:25", "starttls")
    assert [str(network) for network in listeners["returns"].networks] == ["192.0.2.0/24"]


def test_its_bounds_are_its_own_and_never_wider_than_those_of_clients_in_time(load) -> None:
    settings = load(BASE + "returns: {address: '0.0.0.0:25'}\n").returns
    bounds = returns_bounds(Bounds(data_timeout="5s", message_timeout="20s"), settings)
    assert (bounds.message_size, bounds.recipients) == (1_000_000, 1)
    assert (bounds.connections, bounds.connections_per_client) == (200, 20)
    assert (bounds.data_timeout, bounds.message_timeout) == (5.0, 20.0)
    assert bounds.bytes_in_flight < Bounds().bytes_in_flight


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{}", "returns.address: missing; it is required"),
        (
            "{address: '127.0.0.1:2525'}",
            "returns.address: 127.0.0.1:2525 collides with 127.0.0.1:2525 of"
            " listeners.main.address; allowed: another address or port",
        ),
        (
            "{address: '0.0.0.0:25', feedback_addresses: [nobody]}",
            "returns.feedback_addresses[0]: 'nobody'; allowed: a mail address such as"
            " fbl@bounce.example.com",
        ),
        (
            "{address: '0.0.0.0:25', accept_for: 1h}",
            "returns.accept_for: '1h'; allowed: a time from 1d to 365d",
        ),
        (
            "{address: '0.0.0.0:25', message_size: 1GB}",
            "returns.message_size: '1GB'; allowed: 10,000,000 or less",
        ),
    ],
)
def test_mistakes_are_named(problem, section: str, message: str) -> None:
    assert problem(BASE + f"returns: {section}\n") == message


def test_a_listener_for_reports_needs_somewhere_that_they_could_come_to(problem) -> None:
    without = BASE.replace("{mail_from: bounce.sender.test}", "{}")
    assert problem(without + "returns: {address: '0.0.0.0:25'}\n") == (
        "returns: a listener for reports, and no identity with a mail_from that they could come"
        " to; allowed: mail_from in one of the identities"
    )


def test_its_name_is_for_no_other_listener(problem) -> None:
    named = BASE.replace("{main:", "{returns:")
    assert problem(named).startswith("listeners.returns: the name returns; allowed: another")
