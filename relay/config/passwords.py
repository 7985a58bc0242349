"""Secrets of SMTP credentials: making them, keeping only a hash of them, checking them.

A hash is self-describing: `scrypt$N$r$p$salt$digest`, salt and digest in URL-safe base64 without
padding. Checking one costs some 50 ms of processor time and 16 MiB by design, so that a stolen
file is of little use; whoever checks many should remember a keyed digest of what was right.
"""

import hashlib
import hmac
import re
import secrets
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode

_N, _R, _P = 2**14, 8, 1
_SALT_SIZE, _DIGEST_SIZE = 16, 32
_MAX_MEMORY = 64 * 1024 * 1024
_PREFIX = "scrypt$"
_FORM = re.compile(
    r"scrypt\$(?P<n>\d{1,6})\$(?P<r>\d{1,2})\$(?P<p>\d{1,2})"
    r"\$(?P<salt>[A-Za-z0-9_-]{16,64})\$(?P<digest>[A-Za-z0-9_-]{43})"
)
_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 40


def make_password() -> str:
    """A new secret of 40 letters and digits (238 bits); safe in shells, URLs and YAML."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def hash_password(password: str) -> str:
    """The hash to keep in place of a password, with a salt of its own."""
    salt = secrets.token_bytes(_SALT_SIZE)
    digest = _scrypt(password, salt, _N, _R, _P)
    return f"{_PREFIX}{_N}${_R}${_P}${_encode(salt)}${_encode(digest)}"


def is_hash(secret: str) -> bool:
    """Whether this is meant as a hash; `check_hash` says whether it is a right one."""
    return secret.startswith(_PREFIX)


def check_hash(encoded: str) -> str:
    """Give `encoded` back if `verify` can use it; raises `ValueError` where not."""
    match = _FORM.fullmatch(encoded)
    if match:
        n, r, p = int(match["n"]), int(match["r"]), int(match["p"])
        power_of_two = n >= 2**10 and n & (n - 1) == 0
        if power_of_two and r >= 1 and p >= 1 and 128 * n * r * p <= _MAX_MEMORY // 2:
            return encoded
    raise ValueError("allowed is a hash as `relay credentials add` and `relay init` write it")


def verify(password: str, encoded: str) -> bool:
    """Whether `password` is right, in a time that does not tell how nearly.

    `encoded` is a hash, or the secret itself where the configuration holds it in clear. A hash
    that `check_hash` refuses matches nothing.
    """
    if not is_hash(encoded):
        return hmac.compare_digest(_sha256(password), _sha256(encoded))
    try:
        match = _FORM.fullmatch(check_hash(encoded))
    except ValueError:
        match = None
    if match is None:
        return False
    n, r, p = int(match["n"]), int(match["r"]), int(match["p"])
    digest = _scrypt(password, _decode(match["salt"]), n, r, p)
    return hmac.compare_digest(digest, _decode(match["digest"]))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=salt,
        n=n,
        r=r,
        p=p,
        maxmem=_MAX_MEMORY,
        dklen=_DIGEST_SIZE,
    )


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
