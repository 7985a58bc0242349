"""A relay is set up whole and private, or the next run finishes it; nothing is overwritten."""

import os
import ssl
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from relay.cli import init
from relay.cli.init import InitError, InitOptions, first_start, initialise
from relay.config.load import load, load_config
from relay.config.machine import check_machine
from relay.config.passwords import verify
from relay.signing.keys import read_private_key
from relay.signing.make import compare_record, make_private_key, parse_record

OPTIONS = InitOptions(
    hostname="relay.test",
    listen=("127.0.0.1:2525",),
    identities=("sender.test",),
    sources=("127.0.0.2",),
    routes=("*=127.0.0.1:2526",),
    credentials=("app",),
    metrics="127.0.0.1:2580",
)
NOW = datetime(2030, 1, 31, tzinfo=UTC)
DEVELOPMENT = Path(__file__).parents[2] / "config/dev.yaml"


@pytest.fixture(autouse=True)
def one_dkim_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making an RSA key takes long; one serves all tests."""
    monkeypatch.setattr(init, "make_private_key", lambda _: KEY)


KEY = make_private_key()


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_everything_is_written_beside_relay_yaml_and_nothing_is_wrong_with_it(
    tmp_path: Path,
) -> None:
    result = initialise(tmp_path / "r", OPTIONS, now=NOW)

    assert files_below(tmp_path / "r") == {
        "relay.yaml",
        "tls/ca.pem",
        "tls/cert.pem",
        "tls/key.pem",
        "dkim/sender.test.relay203001.pem",
        "dkim/sender.test.relay203001.dns.txt",
    }
    assert {str(path) for path in result.created} == {
        str(tmp_path / "r" / name) for name in files_below(tmp_path / "r")
    }
    loaded = load(result.config_path)
    assert check_machine(loaded.config, loaded.document, now=NOW) == []
    assert loaded.config.listeners["submission"].address == "127.0.0.1:2525"
    assert loaded.config.configuration_sets["default"].pool == "default"
    assert loaded.config.default_configuration_set == "default"
    assert loaded.config.routes["*"].to == "127.0.0.1:2526"
    assert loaded.config.data_dir == tmp_path / "r/data"


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        initialise(tmp_path / "r", OPTIONS)
    finally:
        os.umask(before)

    for path in (tmp_path / "r", *(tmp_path / "r").rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_made_password_is_returned_and_kept_only_as_a_hash(tmp_path: Path) -> None:
    result = initialise(tmp_path, OPTIONS)

    [credential] = result.credentials
    [encoded] = load_config(result.config_path).credentials["app"].password_hashes
    assert credential.made
    assert verify(credential.password, encoded)
    assert credential.password not in repr(result)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or credential.password.encode() not in path.read_bytes()


def test_a_password_from_a_file_is_taken_and_a_short_one_warned_about(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("pässword\n")
    (tmp_path / "two").write_text("another one that is long enough")
    options = replace(
        OPTIONS,
        credentials=("app", "printer", "third"),
        password_files=(tmp_path / "one", tmp_path / "two"),
    )

    result = initialise(tmp_path / "r", options)

    credentials = load_config(result.config_path).credentials
    assert verify("pässword", credentials["app"].password_hashes[0])
    assert verify("another one that is long enough", credentials["printer"].password_hashes[0])
    assert [credential.made for credential in result.credentials] == [False, False, True]
    assert result.warnings == ("the password of app has 8 characters: machines can use 16 or more",)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff", b"a" * 5000])
def test_a_password_file_without_one_password_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)

    with pytest.raises(InitError, match="--password-file"):
        initialise(tmp_path / "r", replace(OPTIONS, password_files=(tmp_path / "password",)))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["relay.test", "localhost", "127.0.0.1", "::1", "127.0.0.9"])
def test_the_certificate_is_valid_for_the_hostname_and_loopback(tmp_path: Path, name: str) -> None:
    options = replace(OPTIONS, listen=("127.0.0.9:2525", "0.0.0.0:2526"))
    initialise(tmp_path, options)

    assert handshake(tmp_path / "tls", name) == "TLSv1.3"


def test_the_certificate_is_not_valid_for_another_name(tmp_path: Path) -> None:
    initialise(tmp_path, OPTIONS)

    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path / "tls", "other.test")


def handshake(directory: Path, name: str) -> str | None:
    """TLS in memory between the certificate and a strict client that trusts only the authority."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    client = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname=name)
    far = server.wrap_bio(up, down, server_side=True)
    for side in (near, far, near, far):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return near.version()


def test_each_option_may_repeat(tmp_path: Path) -> None:
    options = replace(
        OPTIONS,
        listen=("127.0.0.1:2525", "[::1]:2525", "127.0.0.1:2465", "127.0.0.1:2526/implicit"),
        identities=("sender.test", "News@Other.test", "other.test"),
        sources=("127.0.0.2", "127.0.0.4", "bulk=127.0.0.3"),
        routes=("*=mx", "*.corp.test=[::1]:25"),
    )

    result = initialise(tmp_path, options, now=NOW)

    config = load_config(result.config_path)
    assert {name: listener.tls for name, listener in config.listeners.items()} == {
        "submission": "starttls",
        "submission-2": "starttls",
        "submissions": "implicit",
        "submissions-2": "implicit",
    }
    assert {
        name: [str(source.address) for source in pool.sources]
        for name, pool in config.pools.items()
    } == {"default": ["127.0.0.2", "127.0.0.4"], "bulk": ["127.0.0.3"]}
    assert {name: one.pool for name, one in config.configuration_sets.items()} == {
        "default": "default",
        "bulk": "bulk",
    }
    assert {match: route.to for match, route in config.routes.items()} == {
        "*": "mx",
        "*.corp.test": "[::1]:25",
    }
    assert config.identities["news@other.test"] == config.identities["other.test"]
    assert len(result.dns_records) == 2


def test_without_a_default_pool_the_first_one_is_used_by_default(tmp_path: Path) -> None:
    result = initialise(tmp_path, replace(OPTIONS, sources=("a=127.0.0.2", "b=127.0.0.3")))

    assert load_config(result.config_path).default_configuration_set == "a"


def test_the_file_means_the_same_to_a_yaml_1_1_reader(tmp_path: Path) -> None:
    options = replace(
        OPTIONS, sources=("no=127.0.0.2", "010=127.0.0.3"), credentials=("on", "1e3", "-")
    )
    result = initialise(tmp_path, options)

    document = yaml.safe_load(result.config_path.read_text())
    assert list(document["pools"]) == ["no", "010"]
    assert list(document["credentials"]) == ["on", "1e3", "-"]
    result.config_path.write_text(yaml.safe_dump(document))
    assert list(load_config(result.config_path).pools) == ["010", "no"]


def test_the_record_that_is_returned_belongs_to_the_key(tmp_path: Path) -> None:
    result = initialise(tmp_path, OPTIONS, now=NOW)

    [record] = result.dns_records
    assert record.startswith("relay203001._domainkey.sender.test. IN TXT ( ")
    assert (tmp_path / "dkim/sender.test.relay203001.dns.txt").read_text() == f"{record}\n"
    text = "".join(record.split('"')[1::2])
    key = read_private_key(tmp_path / "dkim/sender.test.relay203001.pem")
    assert compare_record(parse_record(text), key) == ()


def test_an_existing_configuration_is_never_replaced_without_force(tmp_path: Path) -> None:
    first = initialise(tmp_path, OPTIONS, now=NOW)
    text = first.config_path.read_text()

    with pytest.raises(InitError, match=r"relay\.yaml exists; --force replaces it"):
        initialise(tmp_path, replace(OPTIONS, hostname="other.test"), now=NOW)
    assert first.config_path.read_text() == text


def test_force_replaces_the_configuration_and_keeps_keys(tmp_path: Path) -> None:
    first = initialise(tmp_path, OPTIONS, now=NOW)
    authority = (tmp_path / "tls/ca.pem").read_bytes()

    second = initialise(tmp_path, replace(OPTIONS, metrics="127.0.0.1:2581", force=True), now=NOW)

    assert load_config(second.config_path).metrics.address == "127.0.0.1:2581"
    assert (tmp_path / "tls/ca.pem").read_bytes() == authority
    assert second.dns_records == first.dns_records
    assert tmp_path / "dkim/sender.test.relay203001.pem" in second.kept


def test_another_hostname_gets_another_certificate(tmp_path: Path) -> None:
    initialise(tmp_path, OPTIONS)
    initialise(tmp_path, replace(OPTIONS, hostname="other.test", force=True))

    assert handshake(tmp_path / "tls", "other.test") == "TLSv1.3"


def test_a_certificate_of_the_owner_is_never_replaced(tmp_path: Path) -> None:
    initialise(tmp_path, OPTIONS)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / "tls" / name).write_text("mine")

    result = initialise(tmp_path, replace(OPTIONS, force=True))

    assert (tmp_path / "tls/key.pem").read_text() == "mine"
    assert len(result.warnings) == 2


@pytest.mark.parametrize("writes", range(6))
def test_a_run_that_was_cut_short_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    done = 0
    real = init.write_private

    def fail_later(path: Path, content: bytes, *, replace: bool) -> None:
        nonlocal done
        if done == writes:
            raise OSError(28, "No space left on device")
        done += 1
        real(path, content, replace=replace)

    monkeypatch.setattr(init, "write_private", fail_later)
    with pytest.raises(OSError, match="No space left"):
        initialise(tmp_path / "r", OPTIONS)
    assert not (tmp_path / "r/relay.yaml").exists()
    monkeypatch.setattr(init, "write_private", real)

    result = initialise(tmp_path / "r", OPTIONS)

    loaded = load(result.config_path)
    assert check_machine(loaded.config, loaded.document) == []
    assert handshake(tmp_path / "r/tls", "localhost") == "TLSv1.3"
    assert len(files_below(tmp_path / "r")) == 6


def test_no_temporary_file_stays_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("relay.config.private_files.os.fsync", full)
    (tmp_path / "tls").mkdir()
    (tmp_path / "dkim").mkdir()
    (tmp_path / "data").mkdir()
    with pytest.raises(OSError, match="No space left"):
        initialise(tmp_path, OPTIONS)

    assert files_below(tmp_path) == set()


def test_all_mistakes_in_options_are_told_at_once(tmp_path: Path) -> None:
    options = InitOptions(
        hostname="re_lay",
        listen=("2525", "127.0.0.1:1/tls"),
        identities=(),
        sources=("x y=127.0.0.2", "127.0.0.3", "127.0.0.3"),
        routes=("mx", "*=host"),
        credentials=("a b",),
        metrics="here",
        password_files=(Path("a"), Path("b")),
    )

    with pytest.raises(InitError) as caught:
        initialise(tmp_path / "r", options)

    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "--hostname 're_lay'",
        "--listen '2525'",
        "--listen '127.0.0.1",
        "--identity",
        "--source 'x y=127.0.0.2'",
        "--route 'mx'",
        "--route '*=host'",
        "--credential 'a b'",
        "--metrics 'here'",
        "--source default=127.0.0.3",
        "--password-file",
    ]
    assert not (tmp_path / "r").exists()


def test_options_that_collide_are_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InitError, match=r"metrics\.address: 127\.0\.0\.1:2525 collides"):
        initialise(tmp_path / "r", replace(OPTIONS, metrics="127.0.0.1:2525"))
    assert not (tmp_path / "r").exists()


def test_the_first_start_of_development_makes_what_is_missing_and_the_second_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config/dev.yaml"
    file.write_text(DEVELOPMENT.read_text())

    first = first_start(file)
    config = load_config(file)
    second = first_start(file)

    assert check_machine(config) == []
    assert first.authority == tmp_path / "var/tls/ca.pem"
    [credential] = first.credentials
    assert credential.made
    assert verify(credential.password, config.credentials["app"].password_hashes[0])
    assert handshake(tmp_path / "var/tls", "localhost") == "TLSv1.3"
    assert "var/dkim/sender.test.dev.dns.txt" in files_below(tmp_path)
    assert (second.created, second.credentials) == ((), ())


def test_the_first_start_touches_nothing_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "var/tls").mkdir(parents=True)
    (tmp_path / "var/tls/cert.pem").write_text("mine")
    file = tmp_path / "config/dev.yaml"
    file.write_text(DEVELOPMENT.read_text())

    first_start(file)

    assert (tmp_path / "var/tls/cert.pem").read_text() == "mine"
    assert not (tmp_path / "var/tls/key.pem").exists()
