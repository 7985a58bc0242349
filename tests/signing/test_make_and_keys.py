"""Keys: made, written for their owner alone, published, compared, and found by identity."""

import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Config
from relay.signing.keys import KeyFileError, KeyRing, SigningKey, read_private_key
from relay.signing.make import (
    RecordError,
    compare_record,
    make_private_key,
    parse_record,
    record_name,
    record_text,
    write_private_key,
    zone_line,
)


def config(identities: Mapping[str, object]) -> Config:
    return Config.model_validate(
        {
            "hostname": "relay.test",
            "data_dir": "/nowhere",
            "tls": {"certificate": "/nowhere/a", "key": "/nowhere/b"},
            "listeners": {"main": {"address": "127.0.0.1:2587"}},
            "identities": identities,
            "configuration_sets": {"default": {"pool": "main"}},
            "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
        }
    )


def dkim(selector: str, key: Path, **more: str) -> dict[str, object]:
    return {"selector": selector, "key": str(key), **more}


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_key_is_written_for_its_owner_alone_and_read_back(tmp_path: Path, kind: str) -> None:
    key = make_private_key(kind)  # type: ignore[arg-type]
    path = tmp_path / "key.pem"
    old = os.umask(0)
    try:
        write_private_key(path, key)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert record_text(read_private_key(path)) == record_text(key)


def test_a_key_file_is_never_replaced(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    path = tmp_path / "key.pem"
    path.write_text("precious")
    with pytest.raises(KeyFileError, match="exists"):
        write_private_key(path, ed25519)
    assert path.read_text() == "precious"
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_private_key(tmp_path / "no" / "key.pem", ed25519)


def test_an_rsa_key_has_2048_bits(rsa: RSAPrivateKey) -> None:
    assert rsa.key_size == 2048


def test_the_record_is_published_in_strings_that_dns_can_hold(rsa: RSAPrivateKey) -> None:
    line = zone_line("sender.test", "s1", rsa)
    assert line.startswith("s1._domainkey.sender.test. IN TXT ( ")
    strings = line.split('"')[1::2]
    assert max(map(len, strings)) <= 255
    assert "".join(strings) == record_text(rsa)
    assert record_text(rsa).startswith("v=DKIM1; k=rsa; p=MIIBIjANBg")
    assert record_name("sender.test", "s1") == "s1._domainkey.sender.test"


def test_a_published_key_agrees_with_its_private_key(
    rsa: RSAPrivateKey, ed25519: Ed25519PrivateKey
) -> None:
    for key in (rsa, ed25519):
        assert compare_record(parse_record(record_text(key)), key) == ()


def test_a_record_may_have_either_form_of_an_rsa_key_and_white_space(rsa: RSAPrivateKey) -> None:
    pkcs1 = rsa.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    text = b64encode(pkcs1).decode()
    record = parse_record(f" v = DKIM1 ; p = {text[:50]}\r\n  {text[50:]} ; t=s ; n=a note ;")
    assert compare_record(record, rsa) == ()
    assert record.flags == ("s",)


def test_what_keeps_mail_from_verifying_is_told(
    rsa: RSAPrivateKey, ed25519: Ed25519PrivateKey
) -> None:
    other = parse_record(record_text(make_private_key("ed25519")))
    text = record_text(ed25519)
    assert "another public key" in compare_record(other, ed25519)[0]
    assert "k=ed25519, the key is rsa" in compare_record(other, rsa)[0]
    assert "revoked" in compare_record(parse_record("v=DKIM1; p="), rsa)[0]
    assert "h=sha1" in compare_record(parse_record(text + "; h=sha1"), ed25519)[0]
    assert "s=tlsrpt" in compare_record(parse_record(text + "; s=tlsrpt"), ed25519)[0]
    assert compare_record(parse_record(text + "; s=email:x; h=sha1:sha256"), ed25519) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "p="),
        ("v=DKIM1; k=rsa", "no p= tag"),
        ("k=rsa; v=DKIM1; p=", "first"),
        ("v=DKIM2; p=", "DKIM1"),
        ("v=DKIM1; p=!!!", "base64"),
        ("v=DKIM1; p=\u00fc", "base64"),
        ("v=DKIM1; p=MIIB", "no RSA key"),
        ("v=DKIM1; k=ed25519; p=MIIB", "32 octets"),
        ("v=DKIM1; k=dsa; p=MIIB", "rsa or ed25519"),
        ("v=DKIM1; p=; p=", "twice"),
        ("v=DKIM1; hello; p=", "tag=value"),
        ("v=spf1 include:x -all", "DKIM1"),
    ],
)
def test_a_record_that_is_no_key_record_is_refused_with_the_reason(
    text: str, complaint: str
) -> None:
    with pytest.raises(RecordError, match=complaint):
        parse_record(text)


def test_an_rsa_record_that_is_too_short_or_of_another_kind_is_refused() -> None:
    for private, complaint in (
        (short_rsa_key(), "648 bits is too short"),
        (ec.generate_private_key(ec.SECP256R1()), "another kind"),
    ):
        der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(RecordError, match=complaint):
            parse_record(f"v=DKIM1; p={b64encode(der).decode()}")


@given(st.one_of(st.text(), st.text("vkp=DKIM1; rsa/+")))
def test_any_text_is_a_record_or_is_refused(text: str) -> None:
    try:
        record = parse_record(text)
    except RecordError:
        return
    assert compare_record(record, make_private_key("ed25519"))


def short_rsa_key() -> RSAPrivateKey:
    """Of 648 bits, of two well-known primes: the library makes none so short."""
    p, q, e = 2**521 - 1, 2**127 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    crt = (d % (p - 1), d % (q - 1), pow(q, -1, p))
    numbers = RSAPrivateNumbers(p, q, d, *crt, RSAPublicNumbers(e, p * q))
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


@pytest.fixture
def key_path(tmp_path: Path, ed25519: Ed25519PrivateKey) -> Path:
    path = tmp_path / "key.pem"
    write_private_key(path, ed25519)
    return path


def test_the_ring_finds_the_most_specific_keys(
    tmp_path: Path, key_path: Path, rsa: RSAPrivateKey
) -> None:
    write_private_key(tmp_path / "rsa.pem", rsa)
    ring = KeyRing.load(
        config(
            {
                "sender.test": {
                    "dkim": [dkim("s1", tmp_path / "rsa.pem"), dkim("s2", key_path)],
                },
                "news.sender.test": {"dkim": [dkim("n1", key_path)]},
                "app@sender.test": {},
                "boss@sender.test": {"dkim": [dkim("b1", key_path)]},
                "bare.test": {},
            }
        )
    )

    def found(identity: str, from_domain: str) -> list[tuple[str, str]]:
        return [(key.domain, key.selector) for key in ring.keys_for(identity, from_domain)]

    both = [("sender.test", "s1"), ("sender.test", "s2")]
    assert found("sender.test", "sender.test") == both
    assert found("sender.test", "deep.sender.test") == both
    assert found("app@sender.test", "sender.test") == both
    assert found("boss@sender.test", "sender.test") == [("sender.test", "b1")]
    assert found("boss+label@sender.test", "sender.test") == both  # no identity, so its domain
    assert found("news.sender.test", "news.sender.test") == [("news.sender.test", "n1")]
    assert found("gone.test", "a.news.sender.test") == [("news.sender.test", "n1")]
    assert found("bare.test", "bare.test") == []
    assert found("", "") == []
    assert [key.algorithm for key in ring.keys_for("sender.test", "")] == [
        "rsa-sha256",
        "ed25519-sha256",
    ]
    assert not ring.wants_relaxed
    assert {(key.domain, key.selector) for key in ring} == {
        *both,
        ("news.sender.test", "n1"),
        ("sender.test", "b1"),
    }


def test_the_ring_says_whether_any_key_wants_the_relaxed_body(key_path: Path) -> None:
    relaxed = dkim("s1", key_path, canonicalization="relaxed/relaxed")
    ring = KeyRing.load(config({"sender.test": {"dkim": [dkim("s0", key_path), relaxed]}}))
    assert ring.wants_relaxed
    assert [key.relaxed_body for key in ring.keys_for("sender.test", "")] == [False, True]


def test_a_domain_in_u_labels_signs_as_a_labels(ed25519: Ed25519PrivateKey, key_path: Path) -> None:
    ring = KeyRing.load(config({"b\u00fccher.example": {"dkim": [dkim("s1", key_path)]}}))
    (key,) = ring.keys_for("xn--bcher-kva.example", "")
    assert key == SigningKey("xn--bcher-kva.example", "s1", key.private)
    assert record_text(key.private) == record_text(ed25519)


def test_every_key_that_cannot_be_used_is_named_with_its_place(tmp_path: Path) -> None:
    def pem(name: str, key: object, encryption: object = None) -> Path:
        path = tmp_path / name
        path.write_bytes(
            key.private_bytes(  # type: ignore[attr-defined]
                Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()
            )
        )
        return path

    text = tmp_path / "text.pem"
    text.write_text("hello")
    ed25519 = make_private_key("ed25519")
    paths = (
        tmp_path / "missing.pem",
        text,
        pem("short.pem", short_rsa_key()),
        pem("curve.pem", ec.generate_private_key(ec.SECP256R1())),
        pem("locked.pem", ed25519, BestAvailableEncryption(b"secret")),
    )
    with pytest.raises(KeyFileError) as refusal:
        KeyRing.load(config({"a.test": {"dkim": [dkim("s", path) for path in paths]}}))
    problems = refusal.value.problems
    assert len(problems) == 5
    for problem, place, words in zip(
        problems,
        range(5),
        ("read: No such file", "not a private key", "648 bits", "neither", "encrypted"),
        strict=True,
    ):
        assert problem.startswith(f"identities.a.test.dkim[{place}]: {tmp_path}")
        assert words in problem


def test_a_pem_file_with_crlf_line_ends_is_read(key_path: Path) -> None:
    key_path.write_bytes(key_path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_private_key(key_path)
