"""One listening address: accepts connections and finds out whose they are.

Owns the socket. A PROXY header is read octet by octet from a connection before anything else, so
TLS and SMTP find theirs untouched; what does not begin with one where it must is closed without a
word. Never decides who may stay, never speaks.
"""

import asyncio
import errno
import socket
from typing import Protocol

from relay.config.model import Listener as Settings
from relay.config.names import parse_bind_address
from relay.frontend import proxy
from relay.frontend.authenticator import is_within
from relay.observe.logging import Logger

_BACKLOG = 1_024
_BATCH = 64  # connections accepted before other work has its turn
_PROXY_TIMEOUT = 5.0
_PAUSE = 1.0  # seconds without accepting when there are no file descriptors left
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Porter(Protocol):
    """Takes what a listener accepted."""

    log: Logger

    def arrived(self, listener: "Listener", connection: socket.socket, client: str) -> None:
        """A connection of `client`, an IP address. The socket is the porter's from now on."""

    def turned_away(self, listener: "Listener", reason: str) -> None:
        """A connection was closed, for one of a fixed set of words."""


class Listener:
    """Accepts on one socket between `start` and `stop`, but for pauses. Its name and settings may
    be replaced at any time."""

    def __init__(self, name: str, settings: Settings, porter: Porter) -> None:
        self.name = name
        self.settings = settings
        self._porter = porter
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._wanted = False
        self._accepting = False
        self._socket = bind(settings.address)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it is bound to."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Accept connections, those first that came during a pause."""
        self._wanted = True
        self._watch()

    def pause(self) -> None:
        """Let clients wait in the backlog of the socket."""
        self._wanted = False
        self._ignore()

    def stop(self) -> None:
        """Accept no more and free the address. Connections that were handed on are not touched."""
        self.pause()
        self._socket.close()
        for task in self._beginning:
            task.cancel()

    def _watch(self) -> None:
        if self._wanted and not self._accepting and self._socket.fileno() >= 0:
            self._accepting = True
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _ignore(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._socket.fileno())

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if not self._accepting:
                return
            try:
                connection, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:
                if problem.errno not in _NO_ROOM:
                    raise
                self._porter.log.error("cannot accept connections", problem=str(problem))
                self._ignore()
                self._loop.call_later(_PAUSE, self._watch)
                return
            connection.setblocking(False)
            if self.settings.proxy_protocol:
                self._begin(connection, peer[0])
            else:
                self._porter.arrived(self, connection, peer[0])

    def _begin(self, connection: socket.socket, peer: str) -> None:
        task = self._loop.create_task(self._read_proxy(connection, peer))

        def done(task: "asyncio.Task[None]") -> None:
            self._beginning.discard(task)
            if task.cancelled():
                connection.close()

        self._beginning.add(task)
        task.add_done_callback(done)

    async def _read_proxy(self, connection: socket.socket, peer: str) -> None:
        """The root of a task: from a connection of a load balancer to its client, or to nothing."""
        client = None
        try:
            client = await self._proxied(connection, peer)
        except OSError:  # gone
            pass
        except Exception:
            self._porter.log.exception("connection failed", listener=self.name, client=peer)
        if client is None:
            connection.close()
        else:
            self._porter.arrived(self, connection, client)

    async def _proxied(self, connection: socket.socket, peer: str) -> str | None:
        """The client behind a load balancer; None where the connection is to be closed."""
        if not is_within(peer, self.settings.proxy_protocol):
            self._porter.turned_away(self, "not a load balancer")
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
            self._porter.turned_away(self, "proxy header")
            self._porter.log.info(
                "PROXY header refused", listener=self.name, client=peer, problem=str(problem)
            )
            return None


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
