"""What the keys of `transport` need of others."""

from pathlib import Path

import pytest
import trustme

from relay.config import machine
from relay.config.load import load
from relay.config.model import Config, Identity
from relay.config.names import Endpoint
from relay.config.problems import ConfigErrors
from relay.config.resolv_conf import host_name_servers, untrusted_name_servers

_BASE = """\
hostname: relay.test
data_dir: data
tls: {certificate: c.pem, key: k.pem}
listeners: {main: {address: "127.0.0.1:2525"}}
identities: {sender.test: {}}
configuration_sets: {main: {pool: main}}
pools: {main: {sources: [{address: 127.0.0.2}]}}
"""


def _load(directory: Path, more: str) -> Config:
    (directory / "relay.yaml").write_text(_BASE + more)
    return load(directory / "relay.yaml").config


def _problems(directory: Path, more: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        _load(directory, more)
    return "\n".join(str(problem) for problem in caught.value.problems)


def test_dane_is_refused_with_a_name_server_that_an_attacker_may_stand_before(
    tmp_path: Path,
) -> None:
    keys = "transport: {dane: true}\ndelivery: {nameservers: [127.0.0.1, 192.0.2.53]}\n"
    told = _problems(tmp_path, keys)
    assert "192.0.2.53" in told
    assert "transport.trusted_nameservers" in told
    assert "'127.0.0.1'" not in told


@pytest.mark.parametrize(
    "keys",
    [
        "transport: {dane: true}\ndelivery: {nameservers: [127.0.0.1, '[::1]:5353']}\n",
        "transport: {dane: true, trusted_nameservers: [192.0.2.53]}\n"
        "delivery: {nameservers: ['192.0.2.53:53']}\n",
        "delivery: {nameservers: [192.0.2.53]}\n",
    ],
)
def test_name_servers_on_loopback_or_trusted_will_do(tmp_path: Path, keys: str) -> None:
    _load(tmp_path, keys)


def test_the_name_servers_of_the_host_are_judged_likewise(tmp_path: Path) -> None:
    config = _load(tmp_path, "transport: {dane: true, trusted_nameservers: [192.0.2.53]}\n")
    file = tmp_path / "resolv.conf"
    file.write_text("# none\nnameserver 127.0.0.53\nnameserver 192.0.2.53\noptions edns0\n")
    assert [server.host for server in host_name_servers(file)] == ["127.0.0.53", "192.0.2.53"]
    assert untrusted_name_servers(config, file) == ()
    file.write_text("nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 198.51.100.1\n")
    assert [s.host for s in untrusted_name_servers(config, file)] == ["fe80::1", "198.51.100.1"]
    assert host_name_servers(tmp_path / "absent") == ()


_SEND = "transport: {tls_reports: {send: true, %s}}\n"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (_SEND % "configuration_set: main", "without a contact"),
        (_SEND % "contact: a@sender.test", "without a configuration set"),
        (_SEND % "contact: a@other.test, configuration_set: main", "no identity covers"),
        (_SEND % "contact: a@b.test, sender: a@c.test, configuration_set: main", "a@c.test"),
        (_SEND % "contact: a@sender.test, configuration_set: mian", "mian"),
        (_SEND % "contact: nobody, configuration_set: main", "a mail address such as"),
    ],
)
def test_reports_need_somebody_who_answers_a_sender_and_a_way(
    tmp_path: Path, keys: str, told: str
) -> None:
    assert told in _problems(tmp_path, keys)


def test_reports_that_are_whole_are_taken(tmp_path: Path) -> None:
    keys = _SEND % "contact: a@elsewhere.test, sender: tls@sender.test"
    config = _load(tmp_path, keys + "default_configuration_set: main\n")
    assert config.transport.tls_reports.send


def test_check_config_says_that_reports_would_not_be_signed(tmp_path: Path) -> None:
    keys = _SEND % "contact: tls@sender.test, configuration_set: main"

    def told(config: Config) -> list[str]:
        problems = machine.check_machine(config)
        return [str(p) for p in problems if p.key == "transport.tls_reports.send"]

    config = _load(tmp_path, keys)
    (problem,) = told(config)
    assert "no DKIM key signs mail of tls@sender.test" in problem
    assert "warning" in problem
    key = {"dkim": [{"selector": "s", "key": tmp_path / "s.pem"}]}
    identities = {"sender.test": Identity.model_validate(key)}
    assert told(config.model_copy(update={"identities": identities})) == []


@pytest.mark.parametrize("tls", ["require", "opportunistic", "implicit"])
def test_authorities_are_for_routes_that_check_a_certificate(tmp_path: Path, tls: str) -> None:
    keys = f"routes: {{a.test: {{to: 'b.test:25', tls: {tls}, ca: ca.pem}}}}\n"
    assert "checks no certificate" in _problems(tmp_path, keys)


def test_implicit_tls_is_for_smarthosts(tmp_path: Path) -> None:
    keys = "routes: {a.test: {to: mx, tls: implicit_verify}}\n"
    assert "'implicit_verify' for mx" in _problems(tmp_path, keys)


def test_check_config_says_that_the_name_servers_of_the_host_cannot_be_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = (Endpoint("192.0.2.53", 53),)
    for servers, untrusted, told in ((far, far, "192.0.2.53:53"), ((), (), "none is set up")):
        monkeypatch.setattr(machine, "host_name_servers", lambda found=servers: found)
        monkeypatch.setattr(machine, "untrusted_name_servers", lambda _, found=untrusted: found)
        config = _load(tmp_path, "transport: {dane: true}\n")
        (problem,) = (p for p in machine.check_machine(config) if "transport.dane" in str(p))
        assert problem.severity == "error"
        assert told in str(problem)


def test_check_config_names_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    keys = "routes: {Example.TEST: {to: 'b.test:25', tls: verify, ca: own.pem}}\n"

    def told() -> list[str]:
        (tmp_path / "relay.yaml").write_text(_BASE + keys)
        loaded = load(tmp_path / "relay.yaml")
        found = map(str, machine.check_machine(loaded.config, loaded.document))
        return [text for text in found if "routes." in text]

    (problem,) = told()
    assert "relay.yaml:8:" in problem
    assert "No such file" in problem
    (tmp_path / "own.pem").write_text("nothing\n")
    (problem,) = told()
    assert "it holds no certificates" in problem
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "own.pem"))
    assert told() == []
