"""One connection to one host: bind, connect, greeting, EHLO, TLS, login.

aiosmtplib sets it up, over a socket of our own that is bound to the source address. Nothing is
remembered or tried again here; that is for `connections`. Never speaks in clear text where the
demand wants TLS, and never says a password there.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPHeloError

from relay.config.model import Delivery as Bounds
from relay.delivery.chain import presented_chain
from relay.delivery.dane import mismatch
from relay.delivery.failures import ConnectFailure, SourceUnavailable, setup_failure
from relay.delivery.path import Path
from relay.delivery.tls import TlsContexts
from relay.feedback.outcome import Phase
from relay.mail.enhanced import printable_text
from relay.mail.replies import Reply
from relay.routing.plan import Host
from relay.routing.transport import Demand

_NOT_OUR_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV})


async def set_up(
    path: Path,
    host: Host,
    demand: Demand,
    contexts: TlsContexts,
    bounds: Bounds,
    simulator: Callable[[], socket.socket] | None = None,
) -> SMTP:
    """A session with `host` that fulfils `demand`, logged in where the path has a login; whoever
    takes it over, or gives it up, calls `abandon`. `simulator` gives a connection to the mailbox
    simulator, for a path that leads there.

    Raises `ConnectFailure` and `SourceUnavailable`.
    """
    if path.site.kind == "simulator":
        sock = _connect_inside(host, simulator)
    else:
        sock = await _connect(path, host, bounds)
    context = contexts.context(demand.trust, path.destination.ca)
    smtp = SMTP(
        hostname=host.name,
        local_hostname=path.ehlo,
        sock=sock,
        use_tls=demand.encryption == "implicit",
        start_tls=False,
        tls_context=context,
        timeout=bounds.command_timeout,
    )
    phase: Phase = "greeting"
    try:
        await smtp.connect()
        phase = "ehlo"
        await _say_hello(smtp)
        if demand.encryption in ("offered", "always"):
            phase = "tls"
            await _start_tls(smtp, host, demand, context, bounds)
        if path.destination.login is not None:
            phase = "auth"
            await smtp.login(path.destination.login.username, path.destination.login.password)
    except (SMTPException, OSError, ValueError, EOFError) as error:
        abandon(smtp)
        why = demand.reason if demand.encryption != "offered" else ""
        raise setup_failure(phase, error, host, why) from error
    except BaseException:
        abandon(smtp)
        raise
    return smtp


def abandon(smtp: SMTP) -> None:
    """Cut the connection unless a `Wire` has taken it over."""
    transport = cast("asyncio.Transport | None", smtp.transport)
    if transport is None or not smtp.is_connected:
        return
    if transport.get_protocol() is smtp.protocol:
        transport.abort()
        smtp.close()


async def _connect(path: Path, host: Host, bounds: Bounds) -> socket.socket:
    """A socket bound to the source address and connected to the host."""
    family = socket.AF_INET if path.family == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _bind(sock, path.source)
        try:
            async with asyncio.timeout(bounds.connect_timeout):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, (host.address, host.port))
        except TimeoutError:
            text = f"no connection to {host} in {bounds.connect_timeout:g} seconds"
            raise ConnectFailure("connect", Reply(451, "4.4.2", text), "", "timeout") from None
        except OSError as error:
            text = f"no connection to {host}: {os.strerror(error.errno or 0)}"
            raise ConnectFailure("connect", Reply(451, "4.4.1", text), "", "refused") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_inside(host: Host, simulator: Callable[[], socket.socket] | None) -> socket.socket:
    """One end of a pair of sockets, whose other end the simulator has: nobody else can reach it."""
    try:
        if simulator is not None:
            return simulator()
        text = "there is no mailbox simulator here"
    except OSError as error:
        text = f"no connection to {host}: {os.strerror(error.errno or 0)}"
    raise ConnectFailure("connect", Reply(451, "4.4.1", text), "", "refused")


def _bind(sock: socket.socket, source: str) -> None:
    if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT") and sock.family == socket.AF_INET:
        # The port is chosen at connect, so that one port may serve many destinations.
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
    except OSError as error:
        if error.errno in _NOT_OUR_ADDRESS:
            raise SourceUnavailable(source, "this host does not have the address") from error
        raise SourceUnavailable(source, os.strerror(error.errno or 0)) from error


async def _say_hello(smtp: SMTP) -> None:
    try:
        await smtp.ehlo()
    except SMTPHeloError as error:
        if not 500 <= error.code < 600:
            raise
        await smtp.helo()  # a server of 1982 (RFC 5321 §4.1.1.1)


async def _start_tls(
    smtp: SMTP, host: Host, demand: Demand, context: ssl.SSLContext, bounds: Bounds
) -> None:
    """Encrypt where the peer offers it; where that is demanded and it does not, fail."""
    if not smtp.supports_extension("starttls"):
        if demand.encryption == "offered":
            return
        text = f"{host} does not offer STARTTLS, which is required ({demand.reason})"
        raise ConnectFailure(
            "tls", Reply(451, "4.7.10", text), str(host), "tls", "starttls-not-supported"
        )
    await smtp.starttls(
        server_hostname=demand.base or host.name,
        tls_context=context,
        timeout=bounds.connect_timeout,
    )
    if demand.tlsa:
        _check_dane(smtp, host, demand)
    await _say_hello(smtp)


def _check_dane(smtp: SMTP, host: Host, demand: Demand) -> None:
    """Whether the certificate is one that the TLSA records name. Raises `ConnectFailure`."""
    assert smtp.transport is not None
    connection: ssl.SSLObject = smtp.transport.get_extra_info("ssl_object")
    why = mismatch(presented_chain(connection), demand.tlsa, (demand.base, host.name))
    if why:
        text = printable_text(f"TLS with {host} failed: {why} ({demand.reason})")
        raise ConnectFailure(
            "tls", Reply(451, "4.7.5", text), str(host), "tls", "certificate-not-trusted"
        )
