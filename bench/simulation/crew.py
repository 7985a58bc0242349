"""Supervisor and workers of a simulated relay: what each has, and what they say to each other.

As in a real one, the supervisor has the one `Limits`, the one `Slots`, the warm-ups and the table
of what is held back; each worker has a scheduler, leases its permits and asks for its slots. What
they say takes a moment each way; here it is a timer and no socket.
"""

import asyncio
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, cast

from bench.simulation.clock import VirtualLoop
from bench.simulation.network import Network
from relay.config.model import Config
from relay.delivery.scheduler import Scheduler
from relay.feedback.restraints import Complaint, Rest
from relay.limits.leased import LeasedLimits
from relay.limits.leases import Lease, LeaseRequest, Returned
from relay.limits.limits import Level, Limits
from relay.limits.shapes import Shapes
from relay.limits.slots import Holder, Seat, Slots, SlotWanted
from relay.limits.specs import Limit, line_key, temper_key
from relay.limits.warmup import limits_in_force
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.routing.router import Router
from relay.runtime.intake import Intake
from relay.runtime.queue_clock import QueueClock
from relay.runtime.restraining import Restraining
from relay.runtime.share import share_of_worker
from relay.runtime.warmup_clock import WarmupClock
from relay.signing.keys import KeyRing
from relay.store.sqlite.store import SqliteStore
from relay.store.values import WarmupProgress

UNDERWAY = 0.0003
"""Seconds that a word between processes takes."""


class Supervisor:
    """What there is one of. It is the `Reins` of its table, and the `Lessor` and `SlotSource` of
    its workers. `rates` notes each slow-down, `turns` each day of a warm-up, with its moment."""

    def __init__(
        self,
        config: Config,
        store: SqliteStore,
        clock: QueueClock,
        loop: VirtualLoop,
        metrics: Metrics,
        log: Logger,
    ) -> None:
        self.config = config
        self.workers: list[Worker] = []
        self.rates: list[tuple[float, str, str, Limit | None]] = []
        self.turns: list[tuple[float, dict[str, WarmupProgress]]] = []
        self._loop = loop
        self.limits = Limits(store, loop.time, loop.wall)
        self.slots = Slots()
        self.slots.configure(config.delivery.connections, Shapes(config).connections)
        self.warmups = WarmupClock(
            store.warmups,
            levels=self.limits.levels,
            now=clock.now,
            changed=self._warmups_changed,
            metrics=metrics,
            log=log,
        )
        self.restraining = Restraining(
            self, self._rest, metrics, log, clock=loop.time, wall=loop.wall
        )

    async def open(self) -> None:
        await self.warmups.open(self.config)
        self.limits.configure(limits_in_force(self.config, self.warmups.progress))

    def _tell(self, word: Callable[["Worker"], object]) -> None:
        for worker in self.workers:
            self._loop.call_later(UNDERWAY, word, worker)

    def _rest(self, rest: Rest) -> None:
        self._tell(lambda worker: worker.scheduler.told(rest))

    def _warmups_changed(self) -> None:
        progress = dict(self.warmups.progress)
        self.turns.append((self._loop.time(), progress))
        self.limits.configure(limits_in_force(self.config, progress))
        self._tell(lambda worker: worker.warm_up(progress))

    def complain(self, complaint: Complaint) -> None:
        self._loop.call_later(UNDERWAY, self.restraining.hear, complaint)

    # As `relay.runtime.reins`

    def slow_down(self, source: str, line: str, limit: Limit | None) -> None:
        key = temper_key(source, line)
        self.rates.append((self._loop.time(), source, line, limit))
        self.limits.override(key, limit)
        self._tell(lambda worker: worker.limit_changed(key, limit))

    def fewer_connections(self, source: str, line: str, most: int | None) -> None:
        self.slots.restrict(line_key(source, line), most)

    def allowed(self, source: str, line: str) -> tuple[float, float]:
        shape = Shapes(self.config).of(source, line)
        rate = min((rate.per_second for rate in shape.rates), default=inf)
        return rate, float(shape.connections)

    def connected(self, source: str, line: str) -> int:
        return self.slots.used(line_key(source, line))

    async def flowed(self, source: str, line: str) -> float:
        await asyncio.sleep(2 * UNDERWAY)
        return sum(worker.scheduler.flow(source, line) for worker in self.workers)

    # As `relay.runtime.distant`

    async def lease(self, request: LeaseRequest) -> Lease:
        await asyncio.sleep(UNDERWAY)
        lease = await self.limits.lease(request)
        await asyncio.sleep(UNDERWAY)
        return lease

    async def levels(self, keys: tuple[str, ...] | None) -> list[Level]:
        return await self.limits.levels(keys)

    def give_back(self, returned: Returned) -> None:
        self._loop.call_later(UNDERWAY, self.limits.give_back, returned)

    def seat(self, holder: Holder) -> Seat:
        return _DistantSeat(self._loop, self.slots, holder)


class _DistantSeat:
    """A worker's seat, and what its holder hears, a moment later each."""

    def __init__(self, loop: VirtualLoop, slots: Slots, holder: Holder) -> None:
        self._loop = loop
        self._holder = holder
        self._seat = slots.seat(self)

    def want(self, line: str) -> None:
        self._loop.call_later(UNDERWAY, self._seat.want, line)

    def give_back(self, line: str) -> None:
        self._loop.call_later(UNDERWAY, self._seat.give_back, line)

    def granted(self, line: str) -> None:
        self._loop.call_later(UNDERWAY, self._holder.granted, line)

    def wanted(self, notice: SlotWanted) -> None:
        self._loop.call_later(UNDERWAY, self._holder.wanted, notice)


class Worker:
    """What carries mail: a scheduler over the shared store, and the intake before it."""

    def __init__(self, intake: Intake, scheduler: Scheduler, limits: LeasedLimits, config: Config):
        self.intake = intake
        self.scheduler = scheduler
        self._limits = limits
        self._config = config

    @classmethod
    async def start(
        cls,
        name: str,
        count: int,
        supervisor: Supervisor,
        store: SqliteStore,
        network: Network,
        health: SourceHealth,
        clock: QueueClock,
        loop: VirtualLoop,
        metrics: Metrics,
        log: Logger,
        rng: Random,
    ) -> "Worker":
        """One of `count`, registered with the store. Its scheduler is still to be run."""
        config = share_of_worker(supervisor.config, count)
        limits = LeasedLimits(supervisor, loop.time, rng.random)
        progress = supervisor.warmups.progress
        limits.configure(limits_in_force(config, progress))
        scheduler = Scheduler(
            store=store,
            owner=await store.register(name, round(config.store.lease * 1000)),
            router=Router(config, network.dns, health, rng),
            health=health,
            connections=cast("Any", network),
            limits=limits,
            slots=supervisor,
            complain=supervisor.complain,
            warmups=progress,
            keyring=KeyRing.load(config),
            config=config,
            metrics=metrics,
            log=log,
            wall=clock.now,
            rng=rng,
        )
        return cls(Intake(store, scheduler, metrics, log, clock), scheduler, limits, config)

    def limit_changed(self, key: str, limit: Limit | None) -> None:
        self._limits.override(key, limit)
        self.scheduler.limit_changed(key, limit)

    def warm_up(self, progress: dict[str, WarmupProgress]) -> None:
        self._limits.configure(limits_in_force(self._config, progress))
        self.scheduler.warm_up(progress)

    async def stop(self) -> None:
        await self.scheduler.drain(600.0)
        await self._limits.close()
