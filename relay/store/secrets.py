"""Login secrets as the store keeps them: made by operators, read by the authenticator.

They are hashed as `relay.config.passwords` hashes, so that the secrets of the store and of the
configuration are checked by the same code.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from relay.config.passwords import hash_password
from relay.store.values import Secret

_PARAMETERS = "scrypt$16384$8$1"


def new_secret(credential: str, password: str, now: int) -> Secret:
    """The secret to store for a password, made at `now` (UTC ms). Takes some 50 ms."""
    parameters, salt, digest = hash_password(password).rsplit("$", 2)
    if parameters != _PARAMETERS:
        raise ValueError(f"secrets are stored as {_PARAMETERS}, not as {parameters}")
    return Secret(credential, _decode(salt), _decode(digest), now)


def encoded_hash(secret: Secret) -> str:
    """The hash in the form that `relay.config.passwords.verify` takes."""
    return f"{_PARAMETERS}${_encode(secret.salt)}${_encode(secret.digest)}"


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
