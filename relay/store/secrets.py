"""Login secrets as the store keeps them: made by operators, read by the authenticator.

They are hashed as `relay.config.passwords` hashes, so that the secrets of the store and of the
configuration are checked by the same code (`relay.frontend.authenticator.encoded`).
"""

from base64 import urlsafe_b64decode

from relay.config.passwords import hash_password
from relay.store.values import Secret


def new_secret(credential: str, password: str, now: int) -> Secret:
    """The secret to store for a password, made at `now` (UTC ms). Takes some 50 ms."""
    salt, digest = hash_password(password).split("$")[-2:]
    return Secret(credential, _decode(salt), _decode(digest), now)


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
