"""Login secrets as the store keeps them: made by operators, read by the authenticator.

The digest is the self-describing hash of `relay.config.passwords` (it has its own salt and cost),
so that stored and configured hashes are checked by the same code, and costs may change later.
"""

from relay.config.passwords import hash_password
from relay.store.values import Secret


def new_secret(credential: str, password: str, now: int) -> Secret:
    """The secret to store for a password, made at `now` (UTC ms). Takes some 50 ms."""
    return Secret(credential, b"", hash_password(password).encode("ascii"), now)


def encoded_hash(secret: Secret) -> str:
    """The hash for `relay.config.passwords.verify`."""
    return secret.digest.decode("ascii", "replace")
