"""STARTTLS on the wire: from a transport in the clear to one that encrypts (RFC 3207)."""

import asyncio
import ssl

TLS_SHUTDOWN = 5.0  # seconds for the goodbye of TLS


class HandshakeFailed(Exception):
    """The client does not speak our TLS, left, or took too long. The connection is closed."""


async def shake_hands(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    seconds: float,
) -> asyncio.Transport:
    """The transport that encrypts. Its octets may reach `protocol` before this returns.

    Raises `HandshakeFailed`; `connection_lost` is not called then, nor will it be.
    """
    loop = asyncio.get_running_loop()
    try:
        encrypted = await loop.start_tls(
            transport,
            protocol,
            context,
            server_side=True,
            ssl_handshake_timeout=max(1.0, seconds),
            ssl_shutdown_timeout=TLS_SHUTDOWN,
        )
    except OSError as problem:  # ssl.SSLError, a lost connection and a time-out are such
        raise HandshakeFailed(str(problem)) from problem
    if encrypted is None:  # lost in the middle of it, without an error
        raise HandshakeFailed("the connection was lost")
    return encrypted


def version(transport: asyncio.BaseTransport) -> str:
    """The version of TLS that a transport speaks, as `TLSv1.3`."""
    tls = transport.get_extra_info("ssl_object")
    return (tls.version() if tls is not None else None) or "TLS"
