"""Whether a file holds a private key that DKIM can sign with (RFC 6376 §3.3.3, RFC 8301, 8463)."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_MAX_SIZE = 100_000
_ALLOWED = "an RSA key of 2048 bits, or an Ed25519 key, as PEM without a passphrase"


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """What is wrong with a key; `fatal` where nothing can be signed with it."""

    found: str
    fatal: bool
    allowed: str = _ALLOWED


def dkim_key_problem(file: Path) -> KeyProblem | None:
    """The problem of the key in `file`, or None where it is good. Raises nothing."""
    try:
        key = _read(file)
    except ValueError as error:
        return KeyProblem(str(error), True)
    if isinstance(key, Ed25519PrivateKey):
        return None
    if not isinstance(key, RSAPrivateKey):
        return KeyProblem(f"{file} is neither an RSA nor an Ed25519 key", True)
    if key.key_size < 1024:
        return KeyProblem(f"{file} is an RSA key of {key.key_size} bits: verifiers reject it", True)
    if key.key_size < 2048:
        return KeyProblem(f"{file} is an RSA key of {key.key_size} bits, which is weak", False)
    return None


def _read(file: Path) -> PrivateKeyTypes:
    try:
        with file.open("rb") as stream:
            return load_pem_private_key(stream.read(_MAX_SIZE), password=None)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is no private key in PEM without a passphrase") from error
