"""The certificates that a peer presented, as DER: its own first.

Python says them publicly from 3.13 on. Before, the same function stands on the object inside, where
it has been since 3.10; the alternative was a second TLS library (pyOpenSSL) for the sake of one
look-up. What is not there is told as the peer's certificate alone, which public interfaces give:
DANE-EE needs no more, and DANE-TA fails closed.
"""

import ssl
from typing import Any


def presented_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The chain in the order of the handshake; empty where the peer presented none."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    inner: Any = getattr(connection, "_sslobj", None)
    if hasattr(inner, "get_unverified_chain"):
        # Each has public_bytes(); 2 asks for DER, as _ssl.ENCODING_DER does.
        return [certificate.public_bytes(2) for certificate in inner.get_unverified_chain() or ()]
    own = connection.getpeercert(binary_form=True)
    return [own] if own else []
