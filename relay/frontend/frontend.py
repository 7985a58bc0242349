"""The front end: all listeners and their sessions, from start to drain, under one configuration.

Owns listeners, sessions, the counts of the guard, the watch on free disk space. Takes what is
behind it (admission, store, accept, authenticator) as values and never names a concrete one. A
configuration is put in force whole or not at all: TLS files are read and new addresses are bound
before anything of the old one is given up.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from relay.config.model import Config, Tls
from relay.frontend.authenticator import Authenticator
from relay.frontend.guard import Guard
from relay.frontend.listener import Listener
from relay.frontend.service import Accept, Admission, Service, SpoolStore
from relay.frontend.session import SmtpSession
from relay.frontend.tls import server_context
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError

_DISK_CHECK = 2.0
_CUT = 5.0  # seconds for sessions to end after their connections were cut


def _wall() -> int:
    return time.time_ns() // 1_000_000


class Frontend:
    """Accepts mail. `start`, then `reconfigure` as often as wanted, then `drain`."""

    def __init__(
        self,
        *,
        config: Config,
        admission: Admission,
        store: SpoolStore,
        accept: Accept,
        authenticator: Authenticator,
        metrics: Metrics,
        log: Logger,
        tls: Callable[[Tls], ssl.SSLContext] = server_context,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = _wall,
    ) -> None:
        self._config = config
        self._make_tls = tls
        self._log = log
        self._metrics = metrics
        self._service = Service(
            admission=admission,
            store=store,
            accept=accept,
            authenticator=authenticator,
            metrics=metrics,
            log=log,
            guard=Guard(config.bounds, clock),
            wall=wall,
        )
        self._listeners: dict[str, Listener] = {}
        self._retired: list[Listener] = []
        self._disk_watch: asyncio.Task[None] | None = None
        metrics.bytes_in_flight.set_function(lambda: float(self._service.budget.held))

    def __repr__(self) -> str:
        listeners = ", ".join(self._listeners) or "none"
        return (
            f"<Frontend listeners: {listeners}; sessions: {len(self._sessions())}; "
            f"octets in flight: {self._service.budget.held}>"
        )

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of each listener, as bound."""
        return {name: listener.address for name, listener in self._listeners.items()}

    def session_count(self, listener: str) -> int:
        """Sessions open now on a listener."""
        return len(self._listeners[listener].sessions)

    @property
    def accepting(self) -> bool:
        """Whether connections are accepted (readiness)."""
        return bool(self._listeners) and not self._service.draining

    async def start(self) -> None:
        """Listen. Raises `TlsError` or `OSError` (which names the listener), with nothing open."""
        context = self._make_tls(self._config.tls)
        bound = self._bind(self._config, {})
        self._service.configure(self._config, context)
        await self._check_disk()
        self._disk_watch = asyncio.create_task(self._watch_disk())
        self._listeners = bound
        for listener in bound.values():
            listener.start()

    async def reconfigure(self, config: Config) -> None:
        """Put a configuration in force; open sessions go on, with the new bounds.

        Certificate and key are read again. Raises `TlsError` or `OSError` with the old
        configuration still whole in force.
        """
        context = self._make_tls(config.tls)
        kept = self._kept(config)
        bound = self._bind(config, kept)
        for listener in self._listeners.values():
            if listener not in kept.values():
                listener.stop()
                self._retired.append(listener)
        for name, listener in kept.items():
            listener.name, listener.settings = name, config.listeners[name]
        self._service.configure(config, context)
        self._config = config
        self._listeners = {**kept, **bound}
        for listener in bound.values():
            listener.start()
        self._retired = [listener for listener in self._retired if listener.sessions]

    async def drain(self, grace_s: float) -> None:
        """Accept no more; let messages under way end within `grace_s` seconds, then cut.

        Sessions without a message hear 421 at once. A message that is being stored when its
        connection is cut is stored; its client does not hear so and will send it again.
        """
        self._service.draining = True
        for listener in self._listeners.values():
            listener.stop()
        for session in self._sessions():
            session.interrupt()
        await self._wait_for_sessions(grace_s)
        cut = self._sessions()
        for session in cut:
            session.abort()
        await self._wait_for_sessions(_CUT)
        if cut:
            self._log.warning("sessions cut at shutdown", sessions=len(cut))
        if self._disk_watch is not None:
            self._disk_watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._disk_watch
            self._disk_watch = None

    def _kept(self, config: Config) -> dict[str, Listener]:
        """Open listeners by their name in `config`: those with the same address, renamed or not."""
        left = dict(self._listeners)
        kept: dict[str, Listener] = {}
        for name, settings in config.listeners.items():
            same = [old for old, one in left.items() if one.settings.address == settings.address]
            if same:
                kept[name] = left.pop(name if name in same else same[0])
        return kept

    def _bind(self, config: Config, kept: dict[str, Listener]) -> dict[str, Listener]:
        """Listeners of the configuration that are not there yet: all of them, or none."""
        bound: dict[str, Listener] = {}
        for name, settings in config.listeners.items():
            if name in kept:
                continue
            try:
                bound[name] = Listener(name, settings, self._service)
            except OSError as problem:
                for listener in bound.values():
                    listener.stop()
                reason = problem.strerror or str(problem)
                raise OSError(
                    problem.errno,
                    f"listener {name} cannot listen on {settings.address}: {reason}",
                ) from problem
        return bound

    def _sessions(self) -> list[SmtpSession]:
        return [
            session
            for listener in (*self._listeners.values(), *self._retired)
            for session in listener.sessions
        ]

    async def _wait_for_sessions(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for listener in (*self._listeners.values(), *self._retired):
                    await listener.idle()

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
        self._metrics.store_free_bytes.set(free)
        low = free < self._service.bounds.minimum_free_disk
        if low != self._service.disk_low:
            self._service.disk_low = low
            tell = self._log.error if low else self._log.info
            tell("disk space is low: mail is refused" if low else "disk space is enough", free=free)
