"""Serving an HTTP application inside the relay's own event loop, on TCP or on a Unix socket.

Owns its listening socket and, for the control socket, the socket's file. It installs no signal
handlers, writes no access log and runs no lifespan: the runtime decides when it starts and stops.
Fails with `ServerError`, a sentence for the operator, when it cannot listen.
"""

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay.admin.control_socket import control_socket, reachable

_CONCURRENT = 64
_HEAD = 16 * 1024
_IDLE_S = 10.0


class ServerError(Exception):
    """The address or the socket cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening socket and its address: `host:port`, `[host]:port` or the path of its file."""

    socket: socket.socket
    address: str
    path: Path | None = None

    def close(self) -> None:
        self.socket.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class AdminServer:
    """One application on one listening socket (made by `listen_tcp` or `listen_control`)."""

    def __init__(self, app: ASGIApp, listening: Listening, *, grace_s: int = 2) -> None:
        self.address = listening.address
        self._listening = listening
        # What uvicorn says about clients that send garbage would stand unstructured in our log.
        logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_CONCURRENT,
                timeout_graceful_shutdown=grace_s,
                h11_max_incomplete_event_size=_HEAD,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve. Connections wait in the backlog from the moment of listening."""
        self._task = asyncio.create_task(
            self._server.serve(sockets=[self._listening.socket]), name=f"admin {self.address}"
        )
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            await self._task

    async def stop(self) -> None:
        """Stop listening, let requests in progress finish within the grace, and take the file of
        a Unix socket away."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
            self._task = None
        self._listening.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals to the runtime."""
        yield


class _Connection(H11Protocol):
    """Cuts a client that connects and asks nothing, so that idle ones cannot use up the bound."""

    _idle_since: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # uvicorn narrows the argument in the same way.
        super().connection_made(transport)
        self.loop.call_later(_IDLE_S, self._cut_when_idle)

    def _cut_when_idle(self) -> None:
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if not busy and self._idle_since is (self.cycle or self):
            self.transport.close()
            return
        self._idle_since = self.cycle or self
        self.loop.call_later(_IDLE_S, self._cut_when_idle)


def listen_tcp(host: str, port: int) -> Listening:
    """A socket that listens on `host` (an IP address) and `port`; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ServerError(f"cannot listen on {host}:{port} for metrics: {error.strerror}") from None
    bound = listening.getsockname()[1]
    return Listening(listening, f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}")


def listen_control(data_dir: Path) -> Listening:
    """Listen on `data_dir/control.sock`, for this user only (0600).

    The caller holds the lock of the data directory, so a socket that is left there belongs to a
    relay that died; it is replaced. A file of another kind is not.
    """
    path = control_socket(data_dir)
    _clear(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(path) as name:
            listening.bind(name)
        # Between bind and listen nobody can connect, so the wider mode of bind is never usable.
        path.chmod(0o600)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ServerError(f"cannot listen on {path}: {error.strerror or error}") from None
    return Listening(listening, str(path), path)


def _clear(path: Path) -> None:
    """Take a dead relay's socket away."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ServerError(f"cannot look at {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ServerError(f"{path} is in the way and is not a socket; move it and start again")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ServerError(f"cannot replace {path}: {error.strerror}") from None
