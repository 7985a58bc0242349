"""The signature of a webhook: HMAC-SHA-256 over the time and the body. Pure."""

import hashlib
import hmac
from collections.abc import Iterable


def signature(secrets: Iterable[str], timestamp: str, body: bytes) -> str:
    """`v1=HEX` for each secret, commas between them: over `TIMESTAMP.BODY`, where the time is in
    seconds since the epoch. A receiver takes what one of them fits; who sends an old time may be
    replaying."""
    signed = timestamp.encode() + b"." + body
    digests = (hmac.new(secret.encode(), signed, hashlib.sha256) for secret in secrets)
    return ",".join(f"v1={digest.hexdigest()}" for digest in digests)
