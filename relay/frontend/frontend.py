"""The front end: the sessions of one process, from start to drain, under one configuration.

Connections come from the door (`relay.frontend.door`), in this process or another. Owns sessions
and the watch on free disk space. Takes what is behind it (admission, store, accept, authenticator)
and beside it (the gatekeeper) as values and never names a concrete one. A configuration is put in
force whole or not at all: TLS files are read before anything of the old one is given up.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from relay.config.listening import returns_bounds
from relay.config.model import Config, Tls
from relay.config.returns import LISTENER as RETURNS
from relay.frontend.authenticator import Authenticator
from relay.frontend.gatekeeper import Gatekeeper
from relay.frontend.returns import Returns
from relay.frontend.service import Accept, Admission, Service, SpoolStore
from relay.frontend.session import SmtpSession
from relay.frontend.tls import server_context
from relay.frontend.visit import Visit
from relay.mail.verp import VerpKey
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError

_DISK_CHECK = 2.0
_CUT = 5.0  # seconds for sessions to end after their connections were cut


def _wall() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class PreparedFrontend:
    """A configuration whose certificate and key were read. Put it in force, or forget it.
    `return_path_keys` are those by which return-paths are recognised."""

    config: Config
    tls: ssl.SSLContext
    return_path_keys: tuple[VerpKey, ...] = ()


class Frontend:
    """Accepts mail. `start`, `adopt` connections, then `drain`."""

    def __init__(
        self,
        *,
        config: Config,
        admission: Admission,
        store: SpoolStore,
        accept: Accept,
        authenticator: Authenticator,
        gatekeeper: Gatekeeper,
        metrics: Metrics,
        log: Logger,
        return_path_keys: Sequence[VerpKey] = (),
        tls: Callable[[Tls], ssl.SSLContext] = server_context,
        wall: Callable[[], int] = _wall,
    ) -> None:
        self._config = config
        self._return_path_keys = tuple(return_path_keys)
        self._wall = wall
        self._make_tls = tls
        self._log = log
        self._metrics = metrics
        # One for clients, one for what comes back.
        self._service, self._returns = (
            Service(
                admission=admission,
                store=store,
                accept=accept,
                authenticator=authenticator,
                metrics=metrics,
                log=log,
                gatekeeper=gatekeeper,
                bounds=config.bounds,
                wall=wall,
            )
            for _ in range(2)
        )
        self._gatekeeper = gatekeeper
        self._sessions: set[SmtpSession] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._disk_watch: asyncio.Task[None] | None = None
        metrics.bytes_in_flight.set_function(
            lambda: float(self._service.budget.held + self._returns.budget.held)
        )

    def __repr__(self) -> str:
        held = self._service.budget.held
        return f"<Frontend sessions: {len(self._sessions)}; octets in flight: {held}>"

    @property
    def accepting(self) -> bool:
        """Whether messages are taken (readiness)."""
        return self._disk_watch is not None and not self._service.draining

    async def start(self) -> None:
        """Be ready to adopt connections. Raises `TlsError`."""
        self.put_in_force(self.prepare(self._config, self._return_path_keys))
        await self._check_disk()
        self._disk_watch = asyncio.create_task(self._watch_disk())

    def prepare(self, config: Config, return_path_keys: Sequence[VerpKey] = ()) -> PreparedFrontend:
        """Read certificate and key (again). Raises `TlsError`."""
        return PreparedFrontend(config, self._make_tls(config.tls), tuple(return_path_keys))

    def put_in_force(self, prepared: PreparedFrontend) -> None:
        """Serve by a configuration; open sessions go on, with the new bounds. Those for what comes
        back go on by the old one where the new one has no listener for it."""
        config = self._config = prepared.config
        self._service.configure(config, prepared.tls, config.bounds)
        if config.returns is None:
            return
        returns = Returns(
            config,
            config.returns,
            prepared.return_path_keys,
            book=self._service.store.outbox,
            metrics=self._metrics,
            log=self._log,
            wall=self._wall,
        )
        bounds = returns_bounds(config.bounds, config.returns)
        self._returns.configure(config, prepared.tls, bounds, returns)

    def adopt(self, visit: Visit, connection: socket.socket) -> None:
        """Begin a session on a connection that came through the door; the socket is ours now.

        The gatekeeper is told when it has ended.
        """
        service = self._returns if visit.listener == RETURNS else self._service
        session = SmtpSession(service, visit, self._ended, asyncio.get_running_loop())
        self._sessions.add(session)
        self._nobody.clear()
        task = asyncio.create_task(self._begin(session, connection))

        def done(task: "asyncio.Task[None]") -> None:
            self._beginning.discard(task)
            if not session.has_begun:  # it never came to life, and will not end by itself
                connection.close()
                self._ended(session)

        self._beginning.add(task)
        task.add_done_callback(done)

    async def _begin(self, session: SmtpSession, connection: socket.socket) -> None:
        """The root of a task: from a socket to a running session, or to nothing."""
        loop, visit = asyncio.get_running_loop(), session.visit
        try:
            await loop.connect_accepted_socket(lambda: session.connection, connection)
        except OSError:
            return  # gone already
        except Exception:
            self._log.exception("connection failed", listener=visit.listener, client=visit.client)

    async def drain(self, grace_s: float) -> None:
        """Take no more mail; let messages under way end within `grace_s` seconds, then cut.

        Sessions without a message hear 421 at once. A message that is being stored when its
        connection is cut is stored; its client does not hear so and will send it again.
        """
        self._service.draining = self._returns.draining = True
        for session in tuple(self._sessions):
            session.interrupt()
        await self._wait_for_sessions(grace_s)
        cut = tuple(self._sessions)
        for session in cut:
            session.abort()
        for task in tuple(self._beginning):
            task.cancel()
        await self._wait_for_sessions(_CUT)
        if cut:
            self._log.warning("sessions cut at shutdown", sessions=len(cut))
        if self._disk_watch is not None:
            self._disk_watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._disk_watch
            self._disk_watch = None

    def _ended(self, session: SmtpSession) -> None:
        if session not in self._sessions:
            return
        self._sessions.discard(session)
        if not self._sessions:
            self._nobody.set()
        self._gatekeeper.closed(session.visit)

    async def _wait_for_sessions(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nobody.wait()

    async def _watch_disk(self) -> None:
        """The root of a task: MAIL is refused while the medium is too full for new mail."""
        while True:
            await asyncio.sleep(_DISK_CHECK)
            try:
                await self._check_disk()
            except Exception:
                self._log.exception("the watch on free disk space failed, and goes on")

    async def _check_disk(self) -> None:
        try:
            free = await self._service.store.free_space()
        except (OSError, StoreError) as problem:
            # Not a reason to refuse: the store itself says so when it cannot take a message.
            self._log.warning("cannot read the free space of the store", problem=str(problem))
            return
        if free is None:
            return
        self._metrics.store_free_bytes.set(free)
        low = free < self._service.bounds.minimum_free_disk
        if low != self._service.disk_low:
            self._service.disk_low = self._returns.disk_low = low
            tell = self._log.error if low else self._log.info
            tell("disk space is low: mail is refused" if low else "disk space is enough", free=free)
