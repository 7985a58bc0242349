"""One listening address: accepts connections, finds out who they are, and begins sessions.

Owns the socket. What it refuses before a session: clients outside the allowed networks, more
connections than the bounds allow, blocked clients; they hear why (after the handshake, where TLS
comes first). A PROXY header is read octet by octet from the socket before anything else, so TLS
and SMTP find theirs untouched. Never parses SMTP.
"""

import asyncio
import errno
import socket
from contextlib import suppress

from relay.config.model import Listener as Settings
from relay.config.names import parse_bind_address
from relay.frontend import proxy, replies
from relay.frontend.authenticator import is_within
from relay.frontend.handshake import TLS_SHUTDOWN
from relay.frontend.replies import Answer
from relay.frontend.service import Service
from relay.frontend.session import Caller, SmtpSession

_BACKLOG = 1_024
_BATCH = 64  # connections accepted before other work has its turn
_PROXY_TIMEOUT = 5.0
_HANDSHAKE_TIMEOUT = 30.0
_REFUSED_AT_ONCE = 200  # refused connections that are told so; above that they are just closed
_PAUSE = 1.0  # seconds without accepting when there are no file descriptors left
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener:
    """Accepts on one socket from `start` to `stop`. Its settings may be replaced in between."""

    def __init__(self, name: str, settings: Settings, service: Service) -> None:
        self.name = name
        self.settings = settings
        self.sessions: set[SmtpSession] = set()
        self._service = service
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._refused = 0
        self._accepting = False
        self._socket = bind(settings.address)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it is bound to."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Accept connections."""
        if not self._accepting and self._socket.fileno() >= 0:
            self._accepting = True
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more and free the address. Open sessions go on."""
        self._pause()
        self._socket.close()
        for task in self._beginning:
            task.cancel()

    async def idle(self) -> None:
        """Until no session is left."""
        await self._nobody.wait()

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._socket.fileno())

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                connection, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:
                if problem.errno not in _NO_ROOM:
                    raise
                self._service.log.error("cannot accept connections", problem=str(problem))
                self._pause()
                self._loop.call_later(_PAUSE, self.start)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection, peer[0]))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket, peer: str) -> None:
        """The root of a task: from an accepted socket to a running session, or to nothing."""
        try:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = peer
            if self.settings.proxy_protocol:
                proxied = await self._read_proxy(connection, peer)
                if proxied is None:
                    connection.close()
                    return
                client = proxied
            await self._open(connection, client)
        except (OSError, asyncio.CancelledError):  # gone, or the handshake failed, or stopping
            connection.close()
        except Exception:
            connection.close()
            self._service.log.exception("connection failed", listener=self.name, client=peer)

    async def _read_proxy(self, connection: socket.socket, peer: str) -> str | None:
        """The client behind a load balancer; None where the connection is to be closed."""
        if not is_within(peer, self.settings.proxy_protocol):
            self._count_refused("not a load balancer")
            return None
        seen = b""
        try:
            async with asyncio.timeout(_PROXY_TIMEOUT):
                while more := proxy.needed(seen):
                    octets = await self._loop.sock_recv(connection, more)
                    if not octets:
                        return None
                    seen += octets
            return proxy.client_of(seen) or peer
        except (proxy.ProxyError, TimeoutError) as problem:
            self._count_refused("proxy header")
            self._service.log.info(
                "PROXY header refused", listener=self.name, client=peer, problem=str(problem)
            )
            return None

    async def _open(self, connection: socket.socket, client: str) -> None:
        refusal = self._admit(client)
        if refusal is not None:
            self._count_refused(refusal.reason)
            if self._refused >= _REFUSED_AT_ONCE:
                connection.close()
                return
            self._refused += 1
        else:
            self._count_opened()
        implicit = self.settings.tls == "implicit"
        caller = Caller(self.name, client, implicit, refusal)
        session = SmtpSession(self._service, caller, self._ended, self._loop)
        self.sessions.add(session)
        self._nobody.clear()
        try:
            if implicit:
                await self._loop.connect_accepted_socket(
                    lambda: session,
                    connection,
                    ssl=self._service.tls,
                    ssl_handshake_timeout=_HANDSHAKE_TIMEOUT,
                    ssl_shutdown_timeout=TLS_SHUTDOWN,
                )
            else:
                await self._loop.connect_accepted_socket(lambda: session, connection)
        except BaseException:
            if not session.began:  # it never came to life, and will not end by itself
                self._ended(session)
                if refusal is None:
                    self._count_refused("tls handshake")
            raise

    def _admit(self, client: str) -> Answer | None:
        """Count the connection in, or say why not."""
        if self._service.draining:
            return replies.SHUTTING_DOWN
        if not is_within(client, self.settings.networks):
            return replies.access_denied(client)
        verdict = self._service.guard.connect(client)
        if not verdict:
            return None
        if verdict == "blocked":
            return replies.blocked(self._service.guard.client_blocked(client))
        return replies.TOO_MANY_CONNECTIONS

    def _ended(self, session: SmtpSession) -> None:
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        if not self.sessions:
            self._nobody.set()
        if session.caller.refusal is not None:
            self._refused -= 1
            return
        self._service.guard.disconnect(session.caller.client)
        metrics = self._service.metrics
        metrics.child(metrics.connections, session.caller.listener).dec()

    def _count_opened(self) -> None:
        metrics = self._service.metrics
        metrics.child(metrics.connections, self.name).inc()
        metrics.child(metrics.connections_opened, self.name).inc()

    def _count_refused(self, reason: str) -> None:
        metrics = self._service.metrics
        metrics.child(metrics.connections_refused, self.name, reason).inc()


def bind(address: str) -> socket.socket:
    """A listening socket on `host:port` (`[::]:port` for IPv6). Raises `OSError`."""
    bound = parse_bind_address(address)
    family = socket.AF_INET6 if ":" in bound.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind((bound.host, bound.port))
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening
