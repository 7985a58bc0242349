"""What this machine lacks is warned about at the key that asks for it."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.cli.authority import VALID_FOR, make_certificates
from relay.config import machine
from relay.config.load import load
from relay.config.machine import check_machine

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path):
    """A directory in which nothing is wrong, and what is told after a change of its file."""
    for part in ("tls", "dkim", "data"):
        (tmp_path / part).mkdir(mode=0o700)
    write_certificates(tmp_path, "relay.test")
    write_key(tmp_path / "dkim/a.pem", ed25519.Ed25519PrivateKey.generate())
    return tmp_path


TEXT = """\
hostname: relay.test
data_dir: data
tls: {certificate: tls/cert.pem, key: tls/key.pem}
listeners:
  main: {address: "127.0.0.1:2525"}
credentials:
  app: {password: "${env:PASSWORD}"}
identities:
  Sender.test: {dkim: [{selector: a, key: dkim/a.pem}]}
configuration_sets:
  default: {pool: default}
pools:
  default: {sources: [{address: 127.0.0.2}]}
"""


def told(site: Path, text: str = TEXT, now: datetime = NOW) -> list[str]:
    file = site / "relay.yaml"
    if not file.exists():
        file.touch(0o600)
    file.write_text(text)
    loaded = load(file, {"PASSWORD": "x"})
    problems = check_machine(loaded.config, loaded.document, now=now)
    return [str(problem).replace(f"{site}/", "") for problem in problems]


def write_certificates(site: Path, hostname: str) -> None:
    made = make_certificates(hostname, (), NOW)
    (site / "tls/cert.pem").write_bytes(made.certificate)
    (site / "tls/key.pem").write_bytes(made.key)
    (site / "tls/key.pem").chmod(0o600)


def write_key(file: Path, key) -> None:
    file.touch(0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_nothing_is_told_where_nothing_is_wrong(site: Path) -> None:
    assert told(site) == []


def test_an_address_that_this_host_does_not_have_is_warned_about(site: Path) -> None:
    text = TEXT.replace("127.0.0.2", "192.0.2.1").replace("127.0.0.1:2525", "192.0.2.1:2525")

    assert told(site, text) == [
        "relay.yaml:13:33: warning: pools.default.sources[0].address: 192.0.2.1 is not an address "
        "of this host; mail is not sent from it until it is there",
        "relay.yaml:5:19: warning: listeners.main.address: "
        "192.0.2.1 is not an address of this host",
    ]


def test_an_ipv6_source_is_tried_as_such(site: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this host has no IPv6")

    assert told(site, TEXT.replace("127.0.0.2", '"::1"')) == []


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (VALID_FOR - timedelta(days=20), None),
        (VALID_FOR - timedelta(days=11, hours=-1), "expires in 9 days, on 2032-03-30"),
        (VALID_FOR, "expired on 2032-03-30 00:00 UTC"),
        (timedelta(days=-2), "is not valid before 2029-12-31 00:00 UTC"),
    ],
)
def test_the_dates_of_the_certificate_are_watched(
    site: Path, after: timedelta, message: str | None
) -> None:
    problems = told(site, now=NOW + after)

    assert [problem.split("tls.certificate: ")[1].split(";")[0] for problem in problems] == (
        [message] if message else []
    )


def test_a_certificate_for_another_host_is_warned_about(site: Path) -> None:
    write_certificates(site, "other.test")

    assert told(site) == [
        "relay.yaml:3:20: warning: tls.certificate: does not cover relay.test; "
        "it covers other.test, localhost"
    ]


def test_a_wildcard_covers_one_label(site: Path) -> None:
    write_certificates(site, "*.test")

    assert told(site) == []
    assert len(told(site, TEXT.replace("hostname: relay", "hostname: a.relay"))) == 1


def test_a_key_of_another_certificate_is_warned_about(site: Path) -> None:
    (site / "tls/key.pem").write_bytes(make_certificates("relay.test", (), NOW).key)

    assert told(site) == ["relay.yaml:3:39: warning: tls.key: does not belong to the certificate"]


def test_tls_files_that_cannot_be_used_are_told_apart(site: Path) -> None:
    (site / "tls/cert.pem").write_text("nothing of the kind")
    (site / "tls/key.pem").unlink()

    assert told(site) == [
        "relay.yaml:3:20: warning: tls.certificate: tls/cert.pem is no PEM file of the right kind",
        "relay.yaml:3:39: warning: tls.key: tls/key.pem cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), None),
        (
            lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),
            "warning: KEY is an RSA key of 1024 bits, which is weak",
        ),
        (
            lambda: ec.generate_private_key(ec.SECP256R1()),
            "KEY is neither an RSA nor an Ed25519 key",
        ),
    ],
)
def test_a_dkim_key_must_be_one_that_verifiers_accept(
    site: Path, make, message: str | None
) -> None:
    write_key(site / "dkim/a.pem", make())

    place = 'relay.yaml:9:43: {}identities."Sender.test".dkim[0].key: {}; allowed: an RSA key of '
    expected = []
    if message:
        severity, found = ("warning: ", message[9:]) if message.startswith("w") else ("", message)
        expected = [place.format(severity, found.replace("KEY", "dkim/a.pem"))]
    assert [problem.split("2048 bits, or an Ed")[0] for problem in told(site)] == expected


def test_an_rsa_key_that_every_verifier_rejects_is_an_error(site: Path) -> None:
    write_key(site / "dkim/a.pem", short_rsa_key())

    [problem] = told(site)
    assert "warning" not in problem
    assert "is an RSA key of 511 bits: verifiers reject it" in problem


def test_a_dkim_key_that_is_not_there_is_an_error(site: Path) -> None:
    (site / "dkim/a.pem").unlink()

    [problem] = told(site)
    assert problem.startswith(
        'relay.yaml:9:43: identities."Sender.test".dkim[0].key: dkim/a.pem cannot be read: No such'
    )


def test_files_with_secrets_that_others_can_read_are_warned_about(site: Path) -> None:
    (site / "secret").write_text("x")
    (site / "secret").chmod(0o644)
    (site / "tls/key.pem").chmod(0o640)
    (site / "dkim/a.pem").chmod(0o604)

    assert told(site, TEXT.replace("${env:PASSWORD}", "${file:secret}")) == [
        "relay.yaml:3:39: warning: tls.key: tls/key.pem can be read by its group (mode 0640); "
        "chmod 600 tls/key.pem",
        'relay.yaml:9:43: warning: identities."Sender.test".dkim[0].key: '
        "dkim/a.pem can be read by others (mode 0604); chmod 600 dkim/a.pem",
        "relay.yaml:7:19: warning: credentials.app.password: "
        "secret can be read by others (mode 0644); chmod 600 secret",
    ]


def test_the_configuration_itself_is_a_secret_only_where_it_holds_one(site: Path) -> None:
    (site / "relay.yaml").touch(0o644)
    assert told(site) == []

    assert told(site, TEXT.replace("${env:PASSWORD}", "a secret")) == [
        "relay.yaml:1:1: warning: relay.yaml can be read by others and holds a password "
        "(mode 0644); chmod 600 relay.yaml"
    ]


def test_the_data_directory_must_be_private_and_a_directory(site: Path) -> None:
    (site / "data").chmod(0o755)
    assert told(site) == [
        "relay.yaml:2:11: warning: data_dir: data is open to others (mode 0755); chmod 700 data"
    ]

    (site / "data").rmdir()
    assert told(site) == []

    (site / "data").touch()
    assert "relay.yaml:2:11: warning: data_dir: data is not a directory" in told(site)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_data_directory_that_cannot_be_made_is_warned_about(site: Path) -> None:
    assert told(site, TEXT.replace("data_dir: data", "data_dir: /proc/relay")) == [
        "relay.yaml:2:11: warning: data_dir: /proc/relay is not there and this user cannot make it"
    ]


def test_a_low_port_needs_a_privilege(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_lowest_free_port", lambda: 1024)

    assert told(site, TEXT.replace("2525", "587")) == [
        "relay.yaml:5:19: warning: listeners.main.address: port 587 needs a privilege that this "
        "user does not have; run with CAP_NET_BIND_SERVICE, as deploy/relay.service does; "
        "allowed: ports from 1024 up"
    ]


def test_without_a_document_problems_have_no_line(site: Path) -> None:
    (site / "relay.yaml").write_text(TEXT.replace("127.0.0.2", "192.0.2.1"))
    loaded = load(site / "relay.yaml", {"PASSWORD": "x"})

    [problem] = check_machine(loaded.config, now=NOW)

    assert str(problem).startswith("configuration: warning: pools.default.sources[0].address: ")


def short_rsa_key() -> rsa.RSAPrivateKey:
    """A key of 511 bits from two primes: the library makes none so short, but reads it."""
    p, q = 2**255 - 19, 2**256 - 189
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()


def test_a_database_on_another_machine_is_to_be_reached_encrypted(site: Path) -> None:
    [problem] = told(site, TEXT + "store: postgresql://relay@db.example.net/relay\n")
    assert "warning" in problem
    assert "sslmode=verify-full" in problem
    clear = "postgresql://relay@localhost/relay"
    encrypted = "postgresql://relay@db.example.net/relay?sslmode=verify-full"
    for url in (clear, encrypted):
        assert told(site, TEXT + f"store: {url}\n") == []


def test_a_queue_in_files_beside_a_database_is_warned_about(site: Path) -> None:
    text = TEXT + "store: postgresql://relay@localhost/relay\n"
    (site / "data/relay.db").touch()
    assert told(site) == []
    [problem] = told(site, text)
    assert "data has a queue in files, and nobody sends its mail while this is set" in problem
    assert "relay store copy" in problem
    (site / "data/relay.db").unlink()
    assert told(site, text) == []


def test_a_password_of_the_database_that_others_can_read_is_warned_about(site: Path) -> None:
    (site / "relay.yaml").touch(0o644)
    (site / "relay.yaml").chmod(0o644)
    [problem] = told(site, TEXT + "store: postgresql://relay:hush@localhost/relay\n")
    assert "holds a password" in problem
    assert "hush" not in problem
    (site / "secret").write_text("hush")
    (site / "secret").chmod(0o640)
    text = TEXT + "store: {url: postgresql://relay@localhost/relay, password_file: secret}\n"
    [problem] = told(site, text)
    assert "can be read by its group" in problem
