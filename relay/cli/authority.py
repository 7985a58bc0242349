"""A certificate authority for one certificate: what a relay presents until it has a better one.

ECDSA on P-256, with the extensions that strict verifiers ask for (RFC 5280 §4.2). The authority's
key signs once and is never written: whoever has the directory cannot make further certificates
that the clients trust. Nothing is written here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = timedelta(days=820)  # some clients refuse server certificates beyond 825 days
_CLOCKS_DIFFER_BY = timedelta(days=1)
_LONGEST_COMMON_NAME = 64
_AUTHORITY_OF = "relay authority of "


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM of the authority, of the certificate it signed, and of the certificate's key."""

    authority: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def make_certificates(hostname: str, addresses: Iterable[str], now: datetime) -> Certificates:
    """Certificates valid for `hostname`, `localhost`, 127.0.0.1, ::1 and further IP addresses.

    `hostname` is a domain name as A-labels; `now` is in UTC. Unspecified addresses are left out.
    """
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name(f"{_AUTHORITY_OF}{hostname}")
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _begun(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id)
    certificate = (
        _begun(_name(hostname), authority_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternative_names(hostname, addresses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority_key, SHA256())
    )
    return Certificates(
        authority.public_bytes(Encoding.PEM),
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def made_here(certificate: Path) -> bool:
    """Whether the certificate in a file was made by `make_certificates`, and may be replaced."""
    try:
        issuer = x509.load_pem_x509_certificate(certificate.read_bytes()).issuer
    except (OSError, ValueError):
        return False
    names = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return any(str(name.value).startswith(_AUTHORITY_OF) for name in names)


def _begun(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER_BY)
        .not_valid_after(now + VALID_FOR - _CLOCKS_DIFFER_BY)
    )


def _name(common_name: str) -> x509.Name:
    shown = common_name[:_LONGEST_COMMON_NAME]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, shown)])


def _alternative_names(hostname: str, addresses: Iterable[str]) -> x509.SubjectAlternativeName:
    names = dict.fromkeys((hostname, "localhost"))
    literals = dict.fromkeys(map(ip_address, ("127.0.0.1", "::1", *addresses)))
    return x509.SubjectAlternativeName(
        [
            *map(x509.DNSName, names),
            *(x509.IPAddress(literal) for literal in literals if not literal.is_unspecified),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
