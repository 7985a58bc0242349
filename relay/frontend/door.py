"""The door: every listener, who may come in, and the count of those who are in.

Accepts connections, checks and counts them, and hands each with its `Visit` to whoever serves it;
it has no TLS and speaks no SMTP, so that one process can be the door of many. A refused connection
is handed over too, and hears why where it is served; above a bound it is just closed. While nobody
can serve, clients wait in the backlog of the kernel.

Listeners change whole or not at all: new addresses are bound before an old one is given up.
"""

import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from relay.config.listening import every_listener, returns_bounds
from relay.config.model import Bounds, Config
from relay.config.returns import LISTENER as RETURNS
from relay.frontend.authenticator import is_within
from relay.frontend.guard import Guard
from relay.frontend.listener import Listener
from relay.frontend.visit import Visit
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics

_REFUSED_AT_ONCE = 200  # refused connections that are told so; above that they are just closed

HandOver = Callable[[Visit, socket.socket], bool]
"""Takes a connection to whoever serves it, and the socket with it; False where nobody can now, and
the socket stays the door's."""


@dataclass(frozen=True, slots=True)
class PreparedDoor:
    """A configuration whose addresses are bound: put it in force or discard it."""

    config: Config
    kept: dict[str, Listener]
    bound: dict[str, Listener]

    def discard(self) -> None:
        """Free the addresses that were bound for it."""
        for listener in self.bound.values():
            listener.stop()


class Door:
    """`start`; `pause` and `resume` as there is somebody to serve; `stop`."""

    def __init__(
        self,
        *,
        config: Config,
        hand_over: HandOver,
        metrics: Metrics,
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.guard = Guard(config.bounds, clock)
        self._returns_guard = Guard(_returns_bounds(config), clock)
        self.log = log
        self._config = config
        self._hand_over = hand_over
        self._metrics = metrics
        self._listeners: dict[str, Listener] = {}
        self._open: Counter[str] = Counter()
        self._refused = 0
        self._waiting: deque[tuple[Visit, socket.socket]] = deque()
        self._paused = False
        self._closed = True

    def __repr__(self) -> str:
        listeners = ", ".join(self._listeners) or "none"
        return f"<Door listeners: {listeners}; connections: {self.guard.connections}>"

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of each listener, as bound."""
        return {name: listener.address for name, listener in self._listeners.items()}

    @property
    def accepting(self) -> bool:
        """Whether connections are accepted (readiness)."""
        return bool(self._listeners) and not self._paused

    def session_count(self, listener: str) -> int:
        """Connections open now that came in by a listener, refused ones left out."""
        return self._open[listener]

    async def start(self) -> None:
        """Listen, also once it was stopped. Raises `OSError` (which names the listener) with
        nothing open."""
        self._closed = False
        try:
            self.put_in_force(self.prepare(self._config))
        except OSError:
            self._closed = True
            raise

    def pause(self) -> None:
        """Nobody can serve: let clients wait."""
        self._paused = True
        for listener in self._listeners.values():
            listener.pause()

    def resume(self) -> None:
        """Somebody can serve: let clients in, those first who wait already."""
        self._paused = False
        while self._waiting and not self._paused:
            self.offer(*self._waiting.popleft())
        if not self._paused:
            for listener in self._listeners.values():
                listener.start()

    def stop(self) -> None:
        """Accept no more and free the addresses, also those of configurations to come.
        Connections that were handed over go on."""
        self._closed = True
        for listener in self._listeners.values():
            listener.stop()
        self._listeners = {}
        for visit, connection in self._waiting:
            connection.close()
            self.closed(visit)
        self._waiting.clear()

    def prepare(self, config: Config) -> PreparedDoor:
        """Bind the addresses that a configuration has and this door has not.

        Raises `OSError`, which names the listener, with nothing bound and nothing changed.
        """
        kept = self._kept(config)
        bound: dict[str, Listener] = {}
        for name, settings in every_listener(config).items():
            if name in kept or self._closed:
                continue
            try:
                bound[name] = Listener(name, settings, self)
            except OSError as problem:
                PreparedDoor(config, kept, bound).discard()
                reason = problem.strerror or str(problem)
                raise OSError(
                    problem.errno,
                    f"listener {name} cannot listen on {settings.address}: {reason}",
                ) from problem
        return PreparedDoor(config, kept, bound)

    def put_in_force(self, prepared: PreparedDoor) -> None:
        """Listen where the configuration says, and nowhere else; count with its bounds."""
        kept = set(prepared.kept.values())
        settings = every_listener(prepared.config)
        for listener in self._listeners.values():
            if listener not in kept:
                listener.stop()
        for name, listener in prepared.kept.items():
            listener.name, listener.settings = name, settings[name]
        self._config = prepared.config
        self._listeners = {**prepared.kept, **prepared.bound}
        self.guard.bounds = prepared.config.bounds
        self._returns_guard.bounds = _returns_bounds(prepared.config)
        if not self._paused:
            for listener in prepared.bound.values():
                listener.start()

    def closed(self, visit: Visit) -> None:
        """A connection that was handed over has ended."""
        if visit.verdict:
            self._refused -= 1
            return
        self._guard_of(visit.listener).disconnect(visit.client)
        self._open[visit.listener] -= 1
        self._metrics.child(self._metrics.connections, visit.listener).dec()

    # --- told by listeners

    def arrived(self, listener: Listener, connection: socket.socket, client: str) -> None:
        """Count a connection and hand it over; one that is refused hears why, within bounds."""
        visit = self._judge(listener, client)
        if visit.verdict:
            self.turned_away(listener, _reason(visit))
            if self._refused >= _REFUSED_AT_ONCE:
                connection.close()
                return
            self._refused += 1
        else:
            self._open[visit.listener] += 1
            self._metrics.child(self._metrics.connections, visit.listener).inc()
            self._metrics.child(self._metrics.connections_opened, visit.listener).inc()
        self.offer(visit, connection)

    def turned_away(self, listener: Listener, reason: str) -> None:
        """Count a connection that is refused."""
        self._metrics.child(self._metrics.connections_refused, listener.name, reason).inc()

    def _judge(self, listener: Listener, client: str) -> Visit:
        implicit = listener.settings.tls == "implicit"
        if not is_within(client, listener.settings.networks):
            return Visit(listener.name, client, implicit, "access denied")
        verdict = self._guard_of(listener.name).connect(client)
        blocked_for = self.guard.client_blocked(client) if verdict == "blocked" else 0.0
        return Visit(listener.name, client, implicit, verdict, blocked_for)

    def offer(self, visit: Visit, connection: socket.socket) -> None:
        """Have a connection that has been counted served, now or when somebody can."""
        if self._closed:  # whoever was to serve it died on the way out
            connection.close()
            self.closed(visit)
        elif self._paused or not self._hand_over(visit, connection):
            self._waiting.append((visit, connection))
            self.pause()

    def _guard_of(self, listener: str) -> Guard:
        """What comes back is counted apart from clients."""
        return self._returns_guard if listener == RETURNS else self.guard

    def _kept(self, config: Config) -> dict[str, Listener]:
        """Open listeners by their name in `config`: those with the same address, renamed or not."""
        left = dict(self._listeners)
        kept: dict[str, Listener] = {}
        for name, settings in every_listener(config).items():
            same = [old for old, one in left.items() if one.settings.address == settings.address]
            if same:
                kept[name] = left.pop(name if name in same else same[0])
        return kept


def _returns_bounds(config: Config) -> Bounds:
    return (
        config.bounds if config.returns is None else returns_bounds(config.bounds, config.returns)
    )


def _reason(visit: Visit) -> str:
    """The label under which a refused connection is counted."""
    return {
        "client connections": "connections",
        "access denied": "network",
    }.get(visit.verdict, visit.verdict)
