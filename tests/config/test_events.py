"""Destinations of events in the configuration, and the exact messages of mistakes in them."""

from pathlib import Path

import pytest

from relay.config.document import Document
from relay.config.event_checks import destination_problems
from relay.config.events import Webhook
from relay.config.load import ConfigErrors, load_config

BASE = """\
hostname: relay.test
data_dir: data
tls: {certificate: cert.pem, key: key.pem}
listeners: {main: {address: "127.0.0.1:2525"}}
credentials: {app: {password: "a secret that nobody may see"}}
identities: {sender.test: {}}
configuration_sets: {default: {pool: default, events: [hook]}}
pools: {default: {sources: [{address: 127.0.0.2}]}}
events:
  hook: {type: webhook, url: "https://hooks.test/in"}
"""


@pytest.fixture
def load(tmp_path: Path):
    def of(text: str):
        (tmp_path / "relay.yaml").write_text(text)
        return load_config(tmp_path / "relay.yaml", {})

    return of


@pytest.fixture
def problem(load):
    """The one problem of a further destination, without its place."""

    def of(destination: str) -> str:
        with pytest.raises(ConfigErrors) as raised:
            load(BASE + f"  other: {destination}\n")
        (problem,) = raised.value.problems
        assert problem.line == 11
        return str(problem).partition(": ")[2]

    return of


def test_a_destination_is_told_what_ses_has_unless_it_says_otherwise(load):
    hook = load(BASE).events["hook"]
    assert isinstance(hook, Webhook)
    assert hook.events == ("send", "reject", "delivery", "delivery_delay", "bounce", "complaint")


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        (
            "{type: webhok, url: x}",
            "events.other.type: 'webhok'; did you mean webhook?"
            " allowed: file, kafka, nats, prometheus, sns, webhook",
        ),
        ("{path: x}", "events.other.type: missing; it is required"),
        ("{type: file}", "events.other.path: missing; it is required"),
        (
            "{type: file, path: x, secret: y}",
            "events.other.secret: unknown key; allowed: backlog, dead_letters, enabled, events,"
            " give_up_after, keep, path, rotate, type",
        ),
        (
            "{type: file, path: x, events: [open]}",
            "events.other.events[0]: 'open'; open comes later; allowed: send, reject, delivery,"
            " delivery_delay, bounce, complaint, sending_paused, sending_resumed",
        ),
        (
            "{type: webhook, url: 'http://10.0.0.1/in'}",
            "events.other.url: 'http://10.0.0.1/in'; http only where `allow` has 10.0.0.1, for"
            " anybody on the way could read and change what is told; allowed: https",
        ),
        (
            "{type: sns, url: 'https://me:it@hooks.test/'}",
            "events.other.url: 'https://me:it@hooks.test/'; use username and password;"
            " allowed: an address without login and #",
        ),
        (
            "{type: webhook, url: 'https://hooks.test/', secrets: [short]}",
            "events.other.secrets[0]: a secret (not shown); allowed: at least 8 characters",
        ),
        (
            "{type: kafka, brokers: [kafka.test], topic: t}",
            "events.other.brokers[0]: 'kafka.test'; allowed: host:port, as kafka.example.com:9092",
        ),
        (
            "{type: nats, servers: ['http://nats.test'], subject: a}",
            "events.other.servers[0]: 'http://nats.test'; logins have their keys;"
            " allowed: nats://host:4222, or tls://host:4222",
        ),
    ],
)
def test_a_mistake_in_a_destination_is_told_at_its_key(problem, destination, said):
    assert problem(destination) == said


def test_http_may_go_to_a_host_that_is_allowed_by_name_or_network(load):
    destinations = load(
        BASE
        + "  a: {type: webhook, url: 'http://hooks.internal/', allow: [Hooks.Internal]}\n"
        + "  b: {type: webhook, url: 'http://10.1.2.3/', allow: [10.0.0.0/8]}\n"
    ).events
    assert destinations["a"].allow == ("hooks.internal",)


def test_a_set_lists_destinations_that_exist(load):
    with pytest.raises(ConfigErrors, match="no event destination 'hook'; allowed: one that the"):
        load(BASE.partition("events:\n")[0])


def test_no_secret_of_a_destination_is_shown(load):
    text = BASE + "  x: {type: webhook, url: 'https://a.test/', secrets: [abcdefghijkl]}\n"
    text += "  y: {type: nats, servers: ['nats://a.test'], token: abcdefghijkl}\n"
    assert "abcdefgh" not in repr(load(text))


@pytest.mark.parametrize("second", ["x.jsonl", "./x.jsonl", "y/../x.jsonl", "x.jsonl.3"])
def test_two_destinations_do_not_write_one_file(load, second):
    files = f"  a: {{type: file, path: x.jsonl}}\n  b: {{type: file, path: {second}}}\n"
    with pytest.raises(ConfigErrors, match=rf"events\.b\.path: '{second}' is the file of a too"):
        load(BASE + files)


@pytest.mark.parametrize("path", ["data/relay.db", "./data/log.db", "data/spool/x"])
def test_no_destination_writes_what_the_relay_keeps(load, path):
    with pytest.raises(ConfigErrors, match=rf"'{path}' is where the relay keeps its own files"):
        load(BASE + f"  a: {{type: file, path: {path}}}\n")


def test_a_directory_for_events_may_be_beside_what_the_relay_keeps(load):
    assert load(BASE + "  a: {type: file, path: data/events/x.jsonl}\n").events["a"]


def warnings(load, text: str) -> list[str]:
    config = load(text)
    return [
        str(problem) for problem in destination_problems(config, Document(Path("c"), {}, {}, {}))
    ]


def test_what_would_be_told_nothing_is_warned_about(load, monkeypatch, tmp_path):
    assert warnings(load, BASE) == []
    (tmp_path / "ca.pem").write_text("none")
    monkeypatch.setattr("relay.config.event_checks.find_spec", lambda name: None)
    text = BASE.replace('https://hooks.test/in"', 'https://hooks.test/in", ca: ca.pem')
    text += "  stream: {type: nats, servers: ['nats://a.test']}\n"
    unlisted, client, authorities = sorted(warnings(load, text), key=lambda told: "ca" in told)
    assert "events.stream: no configuration set lists it; it is told nothing" in unlisted
    assert "the client of nats is not installed; pip install 'relay[nats]'" in client
    assert "events.hook.ca: " in authorities
