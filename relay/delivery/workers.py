"""Connection workers: one task for each open connection, none for mail that waits.

A worker opens its connection, then carries one delivery after the other from the lanes of its way,
and parks when there is none. How many there may be, in all and to each destination, is counted for
all processes together (`relay.delivery.turns`). Where more ways want one than may be open, those
that have many make room for those that have few, so that a slow or busy destination holds its own
share and no more.

A worker that is cancelled gives its delivery back. One that fails in an unforeseen way logs it and
defers its delivery.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from relay.config.model import Config
from relay.delivery.attempt import Attempted, Attempts, Results, apart, together
from relay.delivery.claims import Claims
from relay.delivery.connections import Connection, Connections
from relay.delivery.dead_ends import DeadEnds
from relay.delivery.dialogue import Dialogue
from relay.delivery.failures import ConnectFailure, SourceUnavailable
from relay.delivery.going_out import GoingOut
from relay.delivery.lanes import QUANTUM, Lane, Load, Way, recipients_of
from relay.delivery.parking import Parking
from relay.delivery.path import Path
from relay.delivery.rechecking import Rechecking
from relay.delivery.tls_sessions import TlsSession
from relay.delivery.transaction import NotOurs, Timeouts
from relay.delivery.turns import Turns
from relay.delivery.whereabouts import Found
from relay.feedback.settle import results_for_all
from relay.limits.gatekeeper import Decision, Gatekeeper
from relay.limits.shapes import Shapes
from relay.limits.slots import SlotSource
from relay.limits.specs import connect_key
from relay.mail.replies import Reply
from relay.observe.logging import Logger
from relay.routing.plan import Destination, Family, Host, RoutingFailure
from relay.routing.sites import Site
from relay.store.interface import BodyDamaged
from relay.store.values import Delivery

LONGEST_SETUP = 900.0  # seconds to find, connect to, greet and encrypt, over all hosts
LONGEST_ATTEMPT = 3600.0  # seconds; a peer that takes one block at a time is cut after that
LONGEST_TURN = 60.0  # seconds in which one whose mail waits for a limit keeps others without any
_INTERNAL = Reply(451, "4.3.0", "an internal error of this relay; its log says more")


class Mail(Protocol):
    """Where workers get deliveries, and whom they tell what became of them (`Dispatcher`)."""

    async def next(self, way: Way) -> tuple[Lane, Load] | None: ...
    def put_back(self, lane: Lane, load: Load, *, paid: bool = True) -> None: ...
    def objects(self, results: Results, lane: Lane) -> bool: ...
    def on_the_list(self, delivery: Delivery, results: Results) -> None: ...
    def conclude(
        self,
        delivery: Delivery,
        results: Results,
        lane: Lane,
        seconds: float,
        dialogue: Dialogue | None = None,
    ) -> None: ...
    def limited(self, way: Way, key: str, decision: Decision) -> None: ...


class TlsCounter(Protocol):
    """Who is told how TLS went (`tls_tally.TlsTallies`)."""

    def carried(self, connection: Connection, domain: str) -> None: ...
    def add(self, path: Path, domain: str, sessions: Sequence[TlsSession]) -> None: ...


class Resolver(Protocol):
    """What workers need of `routing.Router`."""

    async def hosts(
        self, destination: Destination, site: Site, family: Family
    ) -> tuple[Host, ...]: ...


class Workers:
    """`mail` and `dead_ends` are set before anything else is called. `slots` count connections with
    those of other processes; None: there are no others. `tls` is told how TLS went, where somebody
    counts it. `going_out` notes what is sent, where others share the store."""

    mail: Mail
    dead_ends: DeadEnds

    def __init__(
        self,
        *,
        config: Config,
        router: Resolver,
        connections: Connections,
        attempts: Attempts,
        claims: Claims,
        limits: Gatekeeper,
        log: Logger,
        slots: SlotSource | None = None,
        tls: TlsCounter | None = None,
        rechecking: Rechecking,
        going_out: Callable[[Callable[[], Collection[int]]], GoingOut] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._going_out = None if going_out is None else going_out(self.carrying)
        self._rechecking = rechecking
        self._connections = connections
        self._attempts = attempts
        self._claims = claims
        self._limits = limits
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._parking = Parking()
        self._busy: dict[Connection, tuple[float, Load]] = {}
        self._draining = False
        self._turns = Turns(slots, self._start, self._make_room)
        self.configure(config, router)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        busy, parked = len(self._busy), len(self._parking)
        return f"<Workers {len(self._tasks)} open, {busy} busy, {parked} parked>"

    def configure(self, config: Config, router: Resolver) -> None:
        """Put a configuration in force for what starts from now on. What is parked is closed."""
        self._bounds = config.delivery
        self._router = router
        self._rechecking.configure(config)
        self._timeouts = Timeouts(
            self._bounds.command_timeout, self._bounds.data_timeout, self._bounds.final_timeout
        )
        self._turns.configure(self._bounds.connections, Shapes(config).connections)
        self._parking.configure(self._bounds.idle_timeout)

    # Who gets a connection

    def rouse(self, way: Way) -> None:
        """Mail on `way` is ready: wake a parked worker, or open a connection, or stand in line."""
        if self._draining:
            return
        if not self._parking.wake(way) and self._has_use(way):
            self._turns.stand_in_line(way)

    def _has_use(self, way: Way) -> bool:
        """Whether `way` has more mail than connections that are being opened for it."""
        return (
            way.opening < way.waiting
            and way.connections < max(1, int(way.window))
            and way.may_not_open is None
        )

    def _start(self, way: Way) -> bool:
        """Open a connection, where there is still mail for it."""
        if self._draining or not self._has_use(way):
            return False
        way.connections += 1
        way.opening += 1
        way.line.connections += 1
        held: list[Connection] = []
        task = self._loop.create_task(self._work(way, held))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(way, done, held))
        return True

    def _ended(self, way: Way, task: "asyncio.Task[None]", held: list[Connection]) -> None:
        """A worker is done. Its connection counts until it is closed, when QUIT is answered."""
        self._tasks.discard(task)
        if held and not held[0].wire.is_closed:
            held[0].on_end = lambda: self._closed(way)
        else:
            self._closed(way)

    def _closed(self, way: Way) -> None:
        """A connection is gone: the next in line may have one."""
        way.connections -= 1
        way.line.connections -= 1
        self._turns.ended(way)
        if way.turns:
            self.rouse(way)

    def _make_room(self) -> None:
        """A connection that nobody uses makes room."""
        self._parking.close_one(self._is_in_the_way)

    def _is_in_the_way(self, way: Way, connection: Connection) -> bool:
        """Whether a connection that carries nothing now is to be closed for others.

        Where its mail waits for a limit it is in use all the same: it makes room as one that has
        just carried a message does, or there would be a connection for each message.
        """
        if not way.waiting:
            return self._turns.is_in_the_way(way)
        has_lasted = self._loop.time() - connection.ready_at >= LONGEST_TURN
        return self._turns.should_yield(way, QUANTUM if has_lasted else connection.carried)

    # A worker's life

    async def _work(self, way: Way, held: list[Connection]) -> None:
        connection: Connection | None = None
        try:
            connection = await self._open(way)
            if connection is not None:
                held.append(connection)
                connection.ready_at = self._loop.time()
                await self._serve(way, connection)
        except asyncio.CancelledError:
            if connection is not None:
                connection.wire.abort()
            raise
        except Exception:
            self._log.exception("a connection worker failed", path=str(way.path))
            self.dead_ends.unreachable(way, ConnectFailure("local", _INTERNAL, "", "local"))
        finally:
            if connection is not None:
                connection.on_end = None
                connection.wire.quit()

    async def _open(self, way: Way) -> Connection | None:
        """A connection; None where there is none to be had, which `mail` has been told."""
        path, began = way.path, self._loop.time()
        try:
            if way.shape.connection_rate is not None and not await self._may_open(way):
                return None
            async with asyncio.timeout(LONGEST_SETUP):
                hosts = await self._router.hosts(path.destination, path.site, path.family)
                return await self._connections.open(path, hosts)
        except TimeoutError:
            text = f"no host of {path.site} was ready for mail within {LONGEST_SETUP:g} seconds"
            reply = Reply(451, "4.4.2", text)
            self.dead_ends.unreachable(way, ConnectFailure("connect", reply, "", "timeout"))
        except RoutingFailure as failure:
            self.dead_ends.unroutable(way, failure)
        except SourceUnavailable as fault:
            self.dead_ends.source_gone(way, fault)
        except ConnectFailure as failure:
            if self._tls is not None and failure.sessions and (domain := way.a_domain):
                self._tls.add(path, domain, failure.sessions)
            self.dead_ends.unreachable(way, failure, began)
        finally:
            way.opening -= 1
        return None

    async def _may_open(self, way: Way) -> bool:
        """Ask the connection rate of the line. Where it refuses no task waits: the slot goes back,
        and the way is roused when a connection may be opened."""
        key = connect_key(way.path.source, way.path.site.line)
        decision = await self._limits.admit((key,), 1)
        if not decision.now and way.may_not_open is None:
            self.mail.limited(way, key, decision)
            way.may_not_open = self._loop.call_later(decision.delay_s, self._may_open_again, way)
        return decision.now

    def _may_open_again(self, way: Way) -> None:
        way.may_not_open = None
        if way.turns:
            self.rouse(way)

    async def _serve(self, way: Way, connection: Connection) -> None:
        """Carry mail until the connection has done its share, or nobody needs it any more."""
        while connection.wire.is_usable and not self._draining:
            got = await self.mail.next(way) if self._claims.is_valid else None
            if got is None:
                if way.retired or self._is_in_the_way(way, connection):
                    return
                if not await self._parking.park(way, connection):
                    return
                continue
            await self._carry(way, connection, *got)
            if connection.carried >= way.shape.messages_per_connection:
                return
            if self._turns.should_yield(way, connection.carried):
                return
            if self._claims.is_full:
                await self._claims.room()

    async def _carry(self, way: Way, connection: Connection, lane: Lane, load: Load) -> None:
        started = self._loop.time()
        kept = connection.carried > 0
        for delivery in load:
            if self._tls is not None and delivery.domain not in connection.domains:
                self._tls.carried(connection, delivery.domain)
        self._busy[connection] = started, load
        try:
            if any(map(self._rechecking.is_due, load)):
                load = await self._without_listed(lane, load)
                self._busy[connection] = started, load
            attempted = await self._try(way, connection, lane, load, started) if load else None
        finally:
            del self._busy[connection]
        if attempted is None:
            return
        if attempted.group_broke:
            self._connections.cannot_pipeline(connection.peer)
        parted = attempted.untouched and kept and not self.mail.objects(attempted.results, lane)
        if attempted.group_broke or parted:
            # The peer cannot take commands together, or closed a kept connection just then. That
            # says nothing of these deliveries, unless it said 421 for how we send.
            self.mail.put_back(lane, load)
            return
        way.succeeded()
        seconds = self._loop.time() - started
        for delivery, results in apart(load, attempted.results):
            self.mail.conclude(delivery, results, lane, seconds, attempted.dialogue)

    async def _without_listed(self, lane: Lane, load: Load) -> Load:
        """What of a load is to be sent still; nothing where the list cannot be read."""
        try:
            sifted = await self._rechecking.sift(load)
        except BaseException:
            for delivery in load:
                self._claims.give_back(delivery, delivery.due_at)
            raise
        if sifted is None:
            self.mail.put_back(lane, load, paid=False)
            return ()
        for delivery, results in sifted:
            if results:
                self.mail.on_the_list(delivery, results)
        return tuple([delivery for delivery, results in sifted if not results])

    async def _try(
        self, way: Way, connection: Connection, lane: Lane, load: Load, granted: float
    ) -> Attempted | None:
        """One attempt; None where there is nothing to settle, or all is settled already."""
        try:
            if self._going_out is not None and not await self._may_go(
                self._going_out, lane, load, granted
            ):
                self.mail.put_back(lane, load, paid=False)
                return None
            return await self._attempts.make(
                connection, together(load), self._timeouts, way.shape.recipients
            )
        except BodyDamaged:
            for delivery in load:
                self._claims.forget(delivery)  # the store has set it apart and has said so
        except NotOurs:
            self._log.warning(
                "not sent: the lease ran out, and another worker may have taken it over",
                message_id=load[0].message.id,
            )
            self.mail.put_back(lane, load)
        except asyncio.CancelledError:
            if self._going_out is None:
                for delivery in load:
                    self._claims.give_back(delivery, delivery.due_at)
            # Otherwise it is freed when this worker resigns, and as what is noted to be on its
            # way: the receiver may have taken it though its reply was not waited for.
            raise
        except Exception:
            self._log.exception("an attempt failed", message_id=load[0].message.id)
            connection.wire.abort()
            for delivery in load:
                results = results_for_all(delivery, _INTERNAL, "local")
                self.mail.conclude(delivery, results, lane, 0.0)
        return None

    async def _may_go(self, going_out: GoingOut, lane: Lane, load: Load, granted: float) -> bool:
        """Whether a load is noted, and may go by permits that were `granted` at this loop time.

        Where the store was slow they are asked for again: what was granted meanwhile would go all
        at once.
        """
        if not await going_out.may_go():
            return False
        if not going_out.is_late(self._loop.time() - granted) or not lane.keys:
            return True
        return (await self._limits.admit(lane.keys, recipients_of(load))).now

    def carrying(self) -> set[int]:
        """The ids of the deliveries that are being attempted."""
        return {delivery.id for _, load in self._busy.values() for delivery in load}

    def whereabouts(self, message_id: str) -> list[Found]:
        """The deliveries of a message that are being attempted."""
        now = self._loop.time()
        return [
            Found(
                delivery.id,
                "attempted",
                connection.path.source,
                connection.path.site.line,
                why=connection.remote,
                seconds=round(now - started, 3),
            )
            for connection, (started, load) in self._busy.items()
            for delivery in load
            if delivery.message.id == message_id
        ]

    # Endings

    def cut_stuck(self) -> None:
        """Cut attempts that take longer than any honest peer needs: nothing hangs for ever."""
        now = self._loop.time()
        for connection, (started, _) in list(self._busy.items()):
            if now - started > LONGEST_ATTEMPT:
                self._log.warning("attempt cut: it took too long", connection=repr(connection))
                connection.wire.abort()

    def stop_starting(self) -> None:
        """Start nothing more, and close what is not in use."""
        self._draining = True
        self._parking.close_all()

    async def drain(self, seconds: float) -> None:
        """Let attempts in flight end within `seconds`, then cut them."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        if left:
            self._log.warning("deliveries cut at the end of the grace period", count=len(left))
            await asyncio.wait(left)
        await self._connections.close_politely()
