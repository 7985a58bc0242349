"""New DKIM keys, and the DNS records that publish them (RFC 6376 §3.6, RFC 8463 §4).

Makes keys, writes them so that only their owner can read them, and compares a record with a key.
It asks no DNS server: that is the caller's part. An existing key file is never overwritten.
"""

import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from relay.signing.keys import SMALLEST_RSA_BITS, KeyFileError, PrivateKey

KeyType = Literal["rsa", "ed25519"]
RSA_BITS = 2048

_STRING_OCTETS = 255  # of one character-string in a TXT record (RFC 1035 §3.3.14)
_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL).fullmatch


class RecordError(ValueError):
    """A TXT record that is no usable DKIM key record. Its text says why."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A parsed key record. `public` is the key as p= has it, decoded; empty when revoked."""

    key_type: str
    public: bytes
    hashes: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    flags: tuple[str, ...] = ()

    @property
    def revoked(self) -> bool:
        """An empty p=: the owner has withdrawn the key (RFC 6376 §3.6.1)."""
        return not self.public


def make_private_key(key_type: KeyType = "rsa") -> PrivateKey:
    """A new key: RSA of 2048 bits, or Ed25519."""
    if key_type == "ed25519":
        return Ed25519PrivateKey.generate()
    return generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def write_private_key(path: Path, key: PrivateKey) -> None:
    """Write the key as unencrypted PKCS#8 PEM, readable by its owner only (0600), and sync it.

    Raises `KeyFileError` where the file exists or cannot be written; nothing half-written stays.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(
            f"{path}: a file of this name exists; keys are never replaced"
        ) from error
    except OSError as error:
        raise KeyFileError(f"{path}: the key cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"{path}: the key cannot be written: {error.strerror}") from error


def record_name(domain: str, selector: str) -> str:
    """Where in DNS the record stands: `selector._domainkey.domain`."""
    return f"{selector}._domainkey.{domain}"


def record_text(key: PrivateKey) -> str:
    """The content of the TXT record for `key`: `v=DKIM1; k=rsa; p=...`."""
    key_type = "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"
    return f"v=DKIM1; k={key_type}; p={b64encode(_public_octets(key)).decode()}"


def zone_line(domain: str, selector: str, key: PrivateKey) -> str:
    """The record as a line of a zone file, cut into strings of at most 255 octets."""
    text = record_text(key)
    strings = [text[at : at + _STRING_OCTETS] for at in range(0, len(text), _STRING_OCTETS)]
    quoted = " ".join(f'"{string}"' for string in strings)
    return f"{record_name(domain, selector)}. IN TXT ( {quoted} )"


def parse_record(text: str) -> KeyRecord:
    """Read a TXT record, its strings already joined without a space. Raises `RecordError`."""
    tags = _tags(text)
    version = tags.get("v")
    if version is not None and (version != "DKIM1" or next(iter(tags)) != "v"):
        raise RecordError("v= must come first and be DKIM1")
    if "p" not in tags:
        raise RecordError("the record has no p= tag, so no key")
    try:
        public = b64decode(re.sub(r"\s", "", tags["p"]), validate=True)
    except (Base64Error, ValueError) as error:
        raise RecordError(
            "the key in p= is not base64; it may have been cut or mistyped"
        ) from error
    key_type = tags.get("k", "rsa")
    _check_public(key_type, public)
    return KeyRecord(
        key_type=key_type,
        public=public,
        hashes=_words(tags.get("h", "")),
        services=_words(tags.get("s", "*")),
        flags=_words(tags.get("t", "")),
    )


def compare_record(record: KeyRecord, key: PrivateKey) -> tuple[str, ...]:
    """What keeps signatures by `key` from verifying with `record`; empty when all is well."""
    problems = []
    key_type = "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"
    if record.revoked:
        problems.append("the record is revoked: its p= is empty")
    elif record.key_type != key_type:
        problems.append(f"the record is for k={record.key_type}, the key is {key_type}")
    elif _normal(record.key_type, record.public) != _public_octets(key):
        problems.append("the record has another public key than the private key's")
    if record.hashes and "sha256" not in record.hashes:
        problems.append(
            f"the record allows only h={':'.join(record.hashes)}; mail is signed sha256"
        )
    if not {"*", "email"} & set(record.services):
        problems.append(f"the record is for s={':'.join(record.services)}, not for email")
    return tuple(problems)


def _public_octets(key: PrivateKey) -> bytes:
    public = key.public_key()
    if isinstance(public, RSAPublicKey):
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _normal(key_type: str, public: bytes) -> bytes:
    """An RSA key as SubjectPublicKeyInfo, whichever of the two forms the record has."""
    if key_type != "rsa":
        return public
    return load_der_public_key(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_public(key_type: str, public: bytes) -> None:
    if not public:
        return
    if key_type == "ed25519":
        if len(public) != 32:
            raise RecordError(f"an Ed25519 key has 32 octets, the one in p= has {len(public)}")
        return
    if key_type != "rsa":
        raise RecordError("k= must be rsa or ed25519")
    try:
        key = load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RecordError("the key in p= is no RSA key; it may have been cut") from error
    if not isinstance(key, RSAPublicKey):
        raise RecordError("k= says rsa, and the key in p= is of another kind")
    if key.key_size < SMALLEST_RSA_BITS:
        raise RecordError(f"an RSA key of {key.key_size} bits is too short; verifiers refuse it")


def _tags(text: str) -> dict[str, str]:
    """The tag list (RFC 6376 §3.2), values stripped."""
    tags: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        tag = _TAG(part)
        if tag is None:
            raise RecordError("the record is not a list of tag=value, separated by semicolons")
        if tag[1] in tags:
            raise RecordError(f"the tag {tag[1]}= occurs twice")
        tags[tag[1]] = tag[2].strip()
    return tags


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(":") if word.strip())
