"""Whether a TLS certificate and its key can serve a hostname, now and in the next days.

Reads two files. Raises nothing: what is wrong is told as phrases.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from relay.config.model import Tls

EXPIRES_SOON = timedelta(days=14)
_MAX_SIZE = 1_000_000

Told = tuple[Literal["certificate", "key"], str, str]
"""Which file, what is wrong with it, what to do."""


def certificate_problems(tls: Tls, hostname: str, now: datetime) -> Iterator[Told]:
    """Every problem of the files, of the certificate's dates and names, and of the pair."""
    certificate = key = None
    try:
        certificate = _read_certificate(tls.certificate)
    except (OSError, ValueError) as error:
        yield "certificate", _unreadable(tls.certificate, error), ""
    try:
        key = _read_key(tls.key)
    except (OSError, ValueError, TypeError) as error:
        yield "key", _unreadable(tls.key, error), ""
    if certificate is not None:
        yield from _dates(certificate, now)
        yield from _names(certificate, hostname)
        if key is not None and _public(certificate) != _public(key):
            yield "key", "does not belong to the certificate", ""


def _dates(certificate: x509.Certificate, now: datetime) -> Iterator[Told]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        yield "certificate", f"expired on {ends:%Y-%m-%d %H:%M} UTC", "renew it and reload"
    elif now < begins:
        yield "certificate", f"is not valid before {begins:%Y-%m-%d %H:%M} UTC", ""
    elif ends - now <= EXPIRES_SOON:
        left = (ends - now).days
        days = "1 day" if left == 1 else f"{left} days"
        yield "certificate", f"expires in {days}, on {ends:%Y-%m-%d}", "renew it and reload"


def _names(certificate: x509.Certificate, hostname: str) -> Iterator[Told]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    except ValueError as error:
        yield "certificate", f"has extensions that cannot be read: {error}", ""
        return
    if not any(_covers(name.lower(), hostname) for name in names):
        listed = ", ".join(names[:5]) or "no host"
        yield "certificate", f"does not cover {hostname}; it covers {listed}", ""


def _covers(name: str, hostname: str) -> bool:
    """RFC 9525 §6.3: a wildcard stands for the whole leftmost label."""
    if name.startswith("*."):
        return hostname.partition(".")[2] == name[2:]
    return name == hostname


def _read_certificate(file: Path) -> x509.Certificate:
    certificates = x509.load_pem_x509_certificates(_read(file))
    return certificates[0]


def _read_key(file: Path) -> PrivateKeyTypes:
    return load_pem_private_key(_read(file), password=None)


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        octets = stream.read(_MAX_SIZE + 1)
    if len(octets) > _MAX_SIZE:
        raise ValueError(f"larger than {_MAX_SIZE:,} bytes")
    return octets


def _unreadable(file: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{file} cannot be read: {error.strerror}"
    if isinstance(error, TypeError):
        return f"{file} is encrypted: a key without a passphrase is wanted"
    return f"{file} is no PEM file of the right kind"


def _public(owner: x509.Certificate | PrivateKeyTypes) -> bytes:
    return owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
