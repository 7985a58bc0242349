"""Whether certificates of a peer are those that TLSA records name (RFC 7672 §3, RFC 6698). Pure.

DANE-EE (usage 3) names the server's own certificate: its name, its dates and who signed it do not
matter. DANE-TA (usage 2) names an authority of the peer's choosing: a chain of certificates must
lead to it that are in date, each signed by an authority, the first one for the host (RFC 5280).
What the profile of browsers asks beyond that is not asked: such authorities are often homemade.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from relay.routing.tlsa import END_ENTITY, PUBLIC_KEY, TRUST_ANCHOR, WHOLE, Tlsa

LONGEST_CHAIN = 10


def mismatch(
    chain: Sequence[bytes],
    records: Sequence[Tlsa],
    names: Sequence[str],
    now: datetime | None = None,
) -> str:
    """Why no record fits the `chain` (DER, the peer's own first), as a clause; `""` where one does.

    `names` are those that a certificate under a DANE-TA authority may be for.
    """
    if not chain:
        return "it presented no certificate"
    if any(record.usage == END_ENTITY and fits(record, chain[0]) for record in records):
        return ""
    if not any(record.usage == TRUST_ANCHOR for record in records):
        return "its certificate is not one that its TLSA records name"
    try:
        own, *others = (x509.load_der_x509_certificate(der) for der in chain[:LONGEST_CHAIN])
        anchors = list(_anchors(chain[1:LONGEST_CHAIN], records))
        if not anchors:
            return "it presented no authority that its TLSA records name"
        return _not_vouched_for(own, others, anchors, names, now or datetime.now(UTC))
    except ValueError as error:
        return f"its certificates cannot be read ({error})"


def fits(record: Tlsa, certificate: bytes) -> bool:
    """Whether a record names this certificate (DER)."""
    octets = certificate
    if record.selector == PUBLIC_KEY:
        try:
            key = x509.load_der_x509_certificate(certificate).public_key()
        except ValueError:  # a certificate, or a kind of key, that cannot be read
            return False
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    match record.matching:
        case 0:
            return octets == record.data
        case 1:
            return hashlib.sha256(octets).digest() == record.data
        case 2:
            return hashlib.sha512(octets).digest() == record.data
    return False


def _anchors(authorities: Sequence[bytes], records: Sequence[Tlsa]) -> Iterator[x509.Certificate]:
    """The authorities that records name: of those that were presented, or whole in a record."""
    for record in records:
        if record.usage != TRUST_ANCHOR:
            continue
        if record.selector == WHOLE and record.matching == 0:
            yield x509.load_der_x509_certificate(record.data)
            continue
        for der in authorities:
            if fits(record, der):
                yield x509.load_der_x509_certificate(der)


def _not_vouched_for(
    own: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    names: Sequence[str],
    now: datetime,
) -> str:
    """Why no authority vouches for the peer's certificate under one of the names."""
    builder = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(now)
        .max_chain_depth(LONGEST_CHAIN)
        .extension_policies(ca_policy=_OF_AUTHORITIES, ee_policy=_OF_SERVERS)
    )
    why = "its certificate is for no name"
    for name in names:
        try:
            builder.build_server_verifier(x509.DNSName(name)).verify(own, list(others))
        except VerificationError as error:
            why = f"the authority that its TLSA records name does not vouch for {name} ({error})"
        else:
            return ""
    return why[:300]


def _check_authority(
    _: Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints
) -> None:
    """An authority says that it is one, and may sign certificates. Raises `ValueError`."""
    if not constraints.ca:
        raise ValueError("a certificate of the chain is no authority's")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise ValueError("an authority of the chain may not sign certificates")


_OF_SERVERS = ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)
_OF_AUTHORITIES = ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority
)
