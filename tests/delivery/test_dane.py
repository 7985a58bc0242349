"""Certificates against TLSA records: the own one of a server, and an authority of its choosing."""

import hashlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.chain import presented_chain
from relay.delivery.dane import fits, mismatch
from relay.routing.tlsa import Tlsa

_CA = trustme.CA()
_OTHER = trustme.CA()
_LEAF = _CA.issue_cert("mx.test", "*.wild.test")


def _ders(*pems: trustme.Blob) -> list[bytes]:
    return [ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in pems]


def _chain(leaf: trustme.LeafCert = _LEAF, ca: trustme.CA = _CA) -> list[bytes]:
    return _ders(*leaf.cert_chain_pems, ca.cert_pem)


def _record(usage: int, selector: int, matching: int, der: bytes) -> Tlsa:
    octets = der
    if selector == 1:
        key = x509.load_der_x509_certificate(der).public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = {
        0: bytes,
        1: lambda o: hashlib.sha256(o).digest(),
        2: lambda o: hashlib.sha512(o).digest(),
    }
    return Tlsa(usage, selector, matching, digest[matching](octets))


_ALL = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize(("selector", "matching"), _ALL)
def test_a_server_is_known_by_its_own_certificate(selector: int, matching: int) -> None:
    record = _record(3, selector, matching, _chain()[0])
    assert mismatch(_chain(), [record], ["any.test"]) == ""
    other = _chain(_CA.issue_cert("mx.test"))
    assert "is not one" in mismatch(other, [record], ["mx.test"])


@pytest.mark.parametrize(("selector", "matching"), _ALL)
def test_a_server_is_known_by_the_authority_that_vouches_for_it(
    selector: int, matching: int
) -> None:
    record = _record(2, selector, matching, _chain()[-1])
    assert mismatch(_chain(), [record], ["mx.test"]) == ""
    assert "mx.test" in mismatch(_chain(_OTHER.issue_cert("mx.test"), _CA), [record], ["mx.test"])


def test_one_record_that_fits_is_enough() -> None:
    records = [_record(3, 1, 1, _ders(_OTHER.cert_pem)[0]), _record(3, 1, 1, _chain()[0])]
    assert mismatch(_chain(), records, ["mx.test"]) == ""


def test_the_own_certificate_needs_neither_name_nor_dates() -> None:
    record = _record(3, 1, 1, _chain()[0])
    assert mismatch(_chain()[:1], [record], [], datetime.now(UTC) + timedelta(days=100_000)) == ""


@pytest.mark.parametrize(
    ("names", "good"),
    [
        (["mx.test"], True),
        (["other.test", "mx.test"], True),
        (["a.wild.test"], True),
        (["other.test"], False),
        (["a.b.wild.test"], False),
        ([], False),
    ],
)
def test_under_an_authority_the_name_must_be_right(names: Sequence[str], good: bool) -> None:
    record = _record(2, 0, 1, _chain()[-1])
    assert (mismatch(_chain(), [record], names) == "") is good


def test_under_an_authority_the_dates_must_be_right() -> None:
    expired = _CA.issue_cert("mx.test", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    record = _record(2, 0, 1, _chain()[-1])
    assert "does not vouch" in mismatch(_chain(expired), [record], ["mx.test"])


def test_an_intermediate_authority_may_be_the_anchor() -> None:
    intermediate = _CA.create_child_ca()
    leaf = intermediate.issue_cert("mx.test")
    chain = _ders(*leaf.cert_chain_pems)
    assert mismatch(chain, [_record(2, 1, 1, chain[1])], ["mx.test"]) == ""
    assert (
        mismatch([*chain, *_ders(_CA.cert_pem)], [_record(2, 1, 1, _chain()[-1])], ["mx.test"])
        == ""
    )


def test_an_authority_that_was_not_presented_cannot_be_known_by_a_digest() -> None:
    assert "presented no authority" in mismatch(
        _chain()[:1], [_record(2, 0, 1, _chain()[-1])], ["mx.test"]
    )
    assert mismatch(_chain()[:1], [_record(2, 0, 0, _chain()[-1])], ["mx.test"]) == ""


def test_a_server_certificate_does_not_make_an_authority() -> None:
    """Somebody with any certificate of an authority that is named cannot issue more of them."""
    forged = trustme.CA().issue_cert("mx.test")
    chain = [*_ders(*forged.cert_chain_pems), _chain()[0], _chain()[-1]]
    assert mismatch(chain, [_record(2, 0, 1, _chain()[-1])], ["mx.test"])


def _signed(
    subject: str,
    signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    **extensions: Any,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate by hand, with nothing in it that was not asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer[0].subject if signer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
    )
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key


def _sans(name: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name)])


def _der(*made: tuple[x509.Certificate, Any]) -> list[bytes]:
    return [certificate.public_bytes(Encoding.DER) for certificate, _ in made]


def test_a_homemade_authority_will_do() -> None:
    root = _signed("root", None, basic=x509.BasicConstraints(True, None))
    leaf = _signed("leaf", root, names=_sans("mx.test"))
    chain = _der(leaf, root)
    assert mismatch(chain, [_record(2, 1, 1, chain[1])], ["mx.test"]) == ""


@pytest.mark.parametrize(
    "extensions",
    [
        {},
        {"basic": x509.BasicConstraints(False, None)},
        {
            "basic": x509.BasicConstraints(True, None),
            "usage": x509.KeyUsage(True, *[False] * 8),
        },
    ],
    ids=["says nothing", "says no", "may not sign"],
)
def test_what_is_no_authority_vouches_for_nobody(extensions: Any) -> None:
    root = _signed("root", None, basic=x509.BasicConstraints(True, None))
    middle = _signed("middle", root, names=_sans("other.test"), **extensions)
    leaf = _signed("leaf", middle, names=_sans("mx.test"))
    chain = _der(leaf, middle, root)
    assert mismatch(chain, [_record(2, 0, 1, chain[2])], ["mx.test"])
    assert mismatch(chain, [_record(2, 0, 1, chain[1])], ["mx.test"])


def test_the_length_of_a_chain_is_as_its_authority_allows() -> None:
    root = _signed("root", None, basic=x509.BasicConstraints(True, 0))
    middle = _signed("middle", root, basic=x509.BasicConstraints(True, None))
    leaf = _signed("leaf", middle, names=_sans("mx.test"))
    chain = _der(leaf, middle, root)
    assert mismatch(chain, [_record(2, 0, 1, chain[2])], ["mx.test"])


def test_a_common_name_is_no_name_of_a_host() -> None:
    root = _signed("root", None, basic=x509.BasicConstraints(True, None))
    chain = _der(_signed("mx.test", root), root)
    assert mismatch(chain, [_record(2, 0, 1, chain[1])], ["mx.test"])


def test_no_certificate_fits_nothing() -> None:
    assert "no certificate" in mismatch([], [_record(3, 1, 1, _chain()[0])], ["mx.test"])


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.sampled_from([2, 3]))
def test_no_octets_pass_for_a_certificate(chain: list[bytes], usage: int) -> None:
    assert mismatch(chain, [_record(usage, 1, 1, _chain()[-1])], ["mx.test"])
    assert mismatch(_chain(), [Tlsa(usage, 0, 0, chain[0])], ["mx.test"])
    assert not fits(Tlsa(3, 1, 1, bytes(32)), chain[0])


def test_the_chain_is_as_the_peer_presented_it() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    intermediate = _CA.create_child_ca()
    leaf = intermediate.issue_cert("mx.test")
    leaf.configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="mx.test"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    done: set[int] = set()
    while len(done) < 2:
        for index, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(index)
            except ssl.SSLWantReadError:
                continue
    assert presented_chain(ends[0]) == _ders(*leaf.cert_chain_pems)
