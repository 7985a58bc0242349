"""Opening connections to destinations: bind, connect, greeting, EHLO, TLS, login.

aiosmtplib sets the connection up, over a socket of our own that is bound to the source address;
then a `Wire` takes it over. Owns the memory of hosts that did not answer, of hosts whose STARTTLS
is broken, and of hosts that offer PIPELINING and cannot do it. Never sends in clear text what the
policy wants encrypted, and no password either. Never leaves from another address than the path's:
where it cannot be bound that is `SourceUnavailable`, no fault of the destination. All else that
fails is `ConnectFailure`, after every host has been tried.
"""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPHeloError, SMTPResponseException

from relay.config.model import Config
from relay.delivery.failures import ConnectFailure, SourceUnavailable, setup_failure
from relay.delivery.memory import Remembered
from relay.delivery.path import Path
from relay.delivery.peer import Peer, describe_peer
from relay.delivery.tls import TlsContexts
from relay.delivery.wire import Wire
from relay.feedback.outcome import Phase
from relay.mail.replies import Reply
from relay.observe.metrics import Metrics
from relay.routing.plan import Host

HOSTS_TRIED = 5  # in one attempt, as Postfix does
BAD_HOST_SECONDS = 120.0
BROKEN_TLS_SECONDS = 3600.0
NO_PIPELINING_SECONDS = 3600.0
_REMEMBERED = 10_000
_NOT_OUR_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV})


class Connection:
    """A connection that is ready for transactions, and how many it has carried. `remote` names
    its peer in results."""

    __slots__ = ("carried", "needs_reset", "on_end", "path", "peer", "remote", "wire")

    def __init__(self, path: Path, peer: Peer) -> None:
        self.path = path
        self.peer = peer
        self.remote = str(peer)
        self.wire: Wire
        self.carried = 0
        self.needs_reset = False
        self.on_end: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.path.source} to {self.peer}, {self.carried} carried>"


class Connections:
    """Opens connections, and knows all that are open."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        *,
        contexts: TlsContexts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = config.delivery
        self._metrics = metrics
        self._contexts = contexts or TlsContexts.make()
        self._bad_hosts = Remembered(BAD_HOST_SECONDS, _REMEMBERED, clock)
        self._broken_tls = Remembered(BROKEN_TLS_SECONDS, _REMEMBERED, clock)
        self._no_pipelining = Remembered(NO_PIPELINING_SECONDS, _REMEMBERED, clock)
        self._open: set[Wire] = set()
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<Connections {len(self._open)} open, {len(self._bad_hosts)} bad hosts,"
            f" {len(self._broken_tls)} with broken TLS>"
        )

    def reconfigure(self, config: Config) -> None:
        self._bounds = config.delivery

    async def open(self, path: Path, hosts: Sequence[Host]) -> Connection:
        """A connection to the first host that serves.

        Raises `ConnectFailure`, with a transient reply where any host gave one, and
        `SourceUnavailable`.
        """
        failure: ConnectFailure | None = None
        for host in self._in_order(path, hosts)[:HOSTS_TRIED]:
            try:
                connection = await self._open_host(path, host)
            except ConnectFailure as error:
                self._bad_hosts.add((path.source, host.address, host.port))
                self._count(path.source, error.result)
                if failure is None or (failure.reply.is_permanent and error.reply.is_transient):
                    failure = error
            else:
                self._bad_hosts.discard((path.source, host.address, host.port))
                self._count(path.source, "ok")
                return connection
        raise failure or ConnectFailure(
            "routing", Reply(451, "4.4.4", f"no host of {path.site} is known"), "", "unreachable"
        )

    def cannot_pipeline(self, peer: Peer) -> None:
        """Speak to a host command by command for a while: it has lost what went out together."""
        self._no_pipelining.add((peer.address, peer.port))

    async def close_politely(self, seconds: float = 1.0) -> None:
        """Give those that have said QUIT a moment to be answered, then cut all."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._open and asyncio.get_running_loop().time() < deadline:
            self._closed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._closed.wait()
        self.close()

    def close(self) -> None:
        """Cut every connection."""
        for wire in tuple(self._open):
            wire.abort()

    def _in_order(self, path: Path, hosts: Sequence[Host]) -> list[Host]:
        """The hosts as routing ordered them, those that failed lately at the end."""
        return sorted(hosts, key=lambda h: (path.source, h.address, h.port) in self._bad_hosts)

    async def _open_host(self, path: Path, host: Host) -> Connection:
        policy = path.destination.tls
        if policy != "opportunistic" or path.destination.login is not None:
            return await self._set_up(
                path, host, starttls=policy in ("require", "verify", "opportunistic")
            )
        key = (host.address, host.port)
        if key in self._broken_tls:
            return await self._set_up(path, host, starttls=False)
        try:
            return await self._set_up(path, host, starttls=True)
        except ConnectFailure as error:
            if error.phase != "tls":
                raise
        # The peer offers what it cannot do. Mail must arrive all the same (RFC 7435), so it is
        # sent in clear text, over a fresh connection: the old one is in an unknown state.
        self._broken_tls.add(key)
        self._count(path.source, "tls_broken")
        return await self._set_up(path, host, starttls=False)

    async def _set_up(self, path: Path, host: Host, *, starttls: bool) -> Connection:
        """One attempt at one host. Raises `ConnectFailure` and `SourceUnavailable`."""
        sock = await self._connect(path, host)
        policy = path.destination.tls
        smtp = SMTP(
            hostname=host.name,
            local_hostname=path.ehlo,
            sock=sock,
            use_tls=policy in ("implicit", "implicit_verify"),
            start_tls=False,
            tls_context=self._contexts.for_policy(policy),
            timeout=self._bounds.command_timeout,
        )
        phase: Phase = "greeting"
        try:
            await smtp.connect()
            phase = "ehlo"
            await _say_hello(smtp)
            if starttls:
                phase = "tls"
                await self._start_tls(smtp, path, host)
            if path.destination.login is not None:
                phase = "auth"
                await _log_in(smtp, path)
            return self._take_over(smtp, path, host)
        except (SMTPException, OSError, ValueError, EOFError) as error:
            raise setup_failure(phase, error, host) from error
        finally:
            _abandon(smtp)

    async def _connect(self, path: Path, host: Host) -> socket.socket:
        """A socket bound to the source address and connected to the host."""
        family = socket.AF_INET if path.family == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _bind(sock, path.source)
            try:
                async with asyncio.timeout(self._bounds.connect_timeout):
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(sock, (host.address, host.port))
            except TimeoutError:
                text = (
                    f"no connection to {_where(host)} in {self._bounds.connect_timeout:g} seconds"
                )
                raise ConnectFailure("connect", Reply(451, "4.4.2", text), "", "timeout") from None
            except OSError as error:
                text = f"no connection to {_where(host)}: {os.strerror(error.errno or 0)}"
                raise ConnectFailure("connect", Reply(451, "4.4.1", text), "", "refused") from error
        except BaseException:
            sock.close()
            raise
        return sock

    async def _start_tls(self, smtp: SMTP, path: Path, host: Host) -> None:
        """Encrypt where the peer offers it; where the policy needs it and it does not, fail."""
        policy = path.destination.tls
        if not smtp.supports_extension("starttls"):
            if policy == "opportunistic" and path.destination.login is None:
                return
            raise ConnectFailure(
                "tls",
                Reply(451, "4.7.10", f"{_where(host)} does not offer STARTTLS, which is required"),
                _where(host),
                "tls",
            )
        await smtp.starttls(
            server_hostname=host.name,
            tls_context=self._contexts.for_policy(policy),
            timeout=self._bounds.connect_timeout,
        )
        await _say_hello(smtp)

    def _take_over(self, smtp: SMTP, path: Path, host: Host) -> Connection:
        """From here on the transport is ours."""
        protocol, transport = smtp.protocol, smtp.transport
        if protocol is None or transport is None or transport.is_closing():
            raise ConnectionResetError("the peer closed the connection")
        # aiosmtplib keeps what came after the reply it read. No command is open, so it answers
        # nothing, and would be taken for the reply to MAIL.
        if protocol._buffer:
            raise SMTPResponseException(-1, "a reply that answers no command")
        tls = transport.get_extra_info("ssl_object")
        version = (tls.version() or "") if tls is not None else ""
        offered = smtp.esmtp_extensions
        if (host.address, host.port) in self._no_pipelining:
            offered = {word: value for word, value in offered.items() if word != "pipelining"}
        peer = describe_peer(host.name, host.address, host.port, version, offered)
        connection = Connection(path, peer)
        gauge = self._metrics.child(self._metrics.outbound_connections, path.source)

        def ended() -> None:
            gauge.dec()
            self._open.discard(wire)
            self._closed.set()
            if connection.on_end is not None:
                connection.on_end()

        loop = asyncio.get_running_loop()
        wire = connection.wire = Wire(loop, cast("asyncio.Transport", transport), ended)
        self._open.add(wire)
        gauge.inc()
        if version:
            self._metrics.child(self._metrics.tls_sessions, "out", version).inc()
        return connection

    def _count(self, source: str, result: str) -> None:
        self._metrics.child(self._metrics.outbound_connections_opened, source, result).inc()


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


def _abandon(smtp: SMTP) -> None:
    """Cut the connection unless a `Wire` has taken it over."""
    transport = cast("asyncio.Transport | None", smtp.transport)
    if transport is None or not smtp.is_connected:
        return
    if transport.get_protocol() is smtp.protocol:
        transport.abort()
        smtp.close()


async def _say_hello(smtp: SMTP) -> None:
    try:
        await smtp.ehlo()
    except SMTPHeloError as error:
        if not 500 <= error.code < 600:
            raise
        await smtp.helo()  # a server of 1982 (RFC 5321 §4.1.1.1)


async def _log_in(smtp: SMTP, path: Path) -> None:
    login = path.destination.login
    if login is not None:
        await smtp.login(login.username, login.password)


def _where(host: Host) -> str:
    return f"{host.name}[{host.address}]:{host.port}"
