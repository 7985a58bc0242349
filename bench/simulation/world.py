"""A relay in a simulation: everything between accepting a message and its outcome, on virtual time.

The parts are the real ones, put together as supervisor and worker put them together; what stands
in is the network (`network`), and the store has no threads (`storage`). One process stands for all:
what a supervisor counts for its workers is counted by the same classes here.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, cast

from bench.simulation.clock import virtual_loop
from bench.simulation.network import Dns, Network
from bench.simulation.provider import Provider
from bench.simulation.storage import ThreadlessStore
from relay.config.model import Config
from relay.delivery import scheduler
from relay.delivery.connections import Connections
from relay.delivery.scheduler import Scheduler
from relay.feedback.restraints import Rest
from relay.limits.limits import Limits
from relay.limits.shapes import Shapes
from relay.limits.slots import Slots
from relay.limits.specs import Limit, line_key, temper_key
from relay.limits.warmup import limits_in_force
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.routing.router import Router
from relay.runtime import warmup_clock
from relay.runtime.intake import Intake
from relay.runtime.queue_clock import QueueClock
from relay.runtime.restraining import Restraining
from relay.runtime.warmup_clock import WarmupClock
from relay.signing.body_hash import BodyHash
from relay.signing.keys import KeyRing
from relay.store.values import Body, Message, NewMessage, QueueFilter, WarmupProgress

SEED = 20_261_125
_TEXT = b"Hello\r\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One recipient whose message a provider took: `at` and `latency` in seconds of the
    simulation."""

    configuration_set: str
    source: str
    domain: str
    at: float
    latency: float


class Complaints(list[str]):
    """What the relay logs at `error`: in a simulation nothing goes wrong on our side."""

    def write(self, text: str) -> int:
        if text.strip():
            self.append(text)
        return len(text)

    def flush(self) -> None: ...

    def __bool__(self) -> bool:
        return True  # an empty stream is a stream


class World:
    """`async with World(config, domains)`: a relay that delivers to simulated providers."""

    def __init__(self, facts: Mapping[str, Any], domains: Mapping[str, Provider]) -> None:
        """`facts` are sections of the configuration, `domains` where each recipient domain is."""
        self._loop = virtual_loop()
        self._directory = tempfile.TemporaryDirectory(prefix="relay-simulation-")
        self._facts = facts
        self.dns = Dns(domains)
        self.providers = self.dns.providers
        self.arrivals: list[Arrival] = []
        self.complaints = Complaints()
        self.rates: list[tuple[float, str, str, Limit | None]] = []
        self.warmup_turns: list[tuple[float, dict[str, WarmupProgress]]] = []
        self._accepted: dict[str, tuple[str, float]] = {}
        self._number = 0
        self._body = _body()

    async def __aenter__(self) -> Self:
        config = self.config = _config(Path(self._directory.name), self._facts)
        log = make_logger("json", "error", cast("Any", self.complaints))
        metrics = self.metrics = Metrics()
        wall, rng = self._loop.wall, Random(SEED)
        self.store = ThreadlessStore(config.data_dir, log=log, wall=wall, clock=self._loop.time)
        await self.store.open()
        health = SourceHealth(config, metrics, log, bind=lambda address: "")
        self.limits = Limits(self.store, self._loop.time, wall)
        clock = QueueClock(self._loop.time, wall)
        self.warmups = WarmupClock(
            self.store.warmups,
            levels=self.limits.levels,
            now=clock.now,
            changed=self._warmups_changed,
            metrics=metrics,
            log=log,
        )
        await self.warmups.open(config)
        self.limits.configure(limits_in_force(config, self.warmups.progress))
        self.slots = Slots()
        self.slots.configure(config.delivery.connections, Shapes(config).connections)
        self.restraining = Restraining(
            _Reins(self),
            self._rest,
            metrics,
            log,
            clock=self._loop.time,
            wall=wall,
        )
        self.scheduler = Scheduler(
            store=self.store,
            owner=await self.store.register("simulation", round(config.store.lease * 1000)),
            router=Router(config, self.dns, health, rng),
            health=health,
            connections=cast("Connections", Network(self.dns, rng, self._delivered)),
            limits=self.limits,
            slots=self.slots,
            complain=self.restraining.hear,
            warmups=self.warmups.progress,
            keyring=KeyRing.load(config),
            config=config,
            metrics=metrics,
            log=log,
            wall=wall,
            rng=rng,
        )
        self._intake = Intake(self.store, self.scheduler, metrics, log, clock)
        self._running = [
            asyncio.create_task(self.scheduler.run()),
            asyncio.create_task(self.warmups.run()),
            asyncio.create_task(self.restraining.run()),
        ]
        return self

    def _rest(self, rest: Rest) -> None:
        """As workers are told."""
        self.scheduler.told(rest)

    def _warmups_changed(self) -> None:
        """What the supervisor does, and each worker when it is told."""
        progress = self.warmups.progress
        self.warmup_turns.append((self.now, dict(progress)))
        self.limits.configure(limits_in_force(self.config, progress))
        self.scheduler.warm_up(dict(progress))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.scheduler.drain(600.0)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.limits.close()
        await self.store.close()
        self._directory.cleanup()
        if kind is None and len(self.complaints):
            raise AssertionError(f"the relay has logged errors: {self.complaints[:3]}")

    @property
    def now(self) -> float:
        """Seconds of the simulation."""
        return self._loop.time()

    async def accept(self, configuration_set: str, domain: str, recipients: int = 1) -> None:
        """Take one message, as the front end does: stored first, then offered."""
        now = self._loop.wall()
        lifetime = self.config.configuration_sets[configuration_set].max_age
        addresses = []
        for _ in range(recipients):
            self._number += 1
            addresses.append(f"r{self._number}@{domain}")
        message = Message(
            id=new_message_id(now),
            accepted_at=now,
            expires_at=now + round(lifetime * 1000),
            envelope=Envelope("", tuple(map(Recipient, addresses))),
            credential="app",
            configuration_set=configuration_set,
            identity="sender.test",
            header=b"From: a@sender.test\r\n",
            body=self._body,
        )
        self._accepted |= dict.fromkeys(addresses, (configuration_set, self.now))
        await self._intake.accept(NewMessage(message, now))

    async def until_empty(self, seconds: float) -> None:
        """Wait until nothing is queued any more; raises TimeoutError after so many seconds."""
        async with asyncio.timeout(seconds):
            while await self.store.queue(QueueFilter(limit=1)):
                await asyncio.sleep(5.0)

    async def sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.now))

    def _delivered(self, source: str, addresses: list[str]) -> None:
        for address in addresses:
            configuration_set, accepted_at = self._accepted.pop(address)
            domain = address.partition("@")[2]
            now = self.now
            self.arrivals.append(Arrival(configuration_set, source, domain, now, now - accepted_at))


class _Reins:
    """As `relay.runtime.reins`, where the one worker is this process."""

    def __init__(self, world: World) -> None:
        self._world = world

    def slow_down(self, source: str, line: str, limit: Limit | None) -> None:
        key = temper_key(source, line)
        self._world.limits.override(key, limit)
        self._world.scheduler.limit_changed(key, limit)
        self._world.rates.append((self._world.now, source, line, limit))

    def fewer_connections(self, source: str, line: str, most: int | None) -> None:
        self._world.slots.restrict(line_key(source, line), most)

    def allowed(self, source: str, line: str) -> tuple[float, float]:
        shape = Shapes(self._world.config).of(source, line)
        rate = min((rate.per_second for rate in shape.rates), default=inf)
        return rate, float(shape.connections)

    def connected(self, source: str, line: str) -> int:
        return self._world.slots.used(line_key(source, line))

    async def flowed(self, source: str, line: str) -> float:
        return self._world.scheduler.flow(source, line)


@contextmanager
def unhurried(seconds: float) -> Iterator[None]:
    """Have the relay look less often for what nothing tells it of: in a simulation of months most
    of these looks find nothing. What it is told of goes as fast as ever."""
    looks = (
        (scheduler, "POLL_SECONDS"),
        (scheduler, "TIDY_SECONDS"),
        (warmup_clock, "LOOK_SECONDS"),
    )
    before = [getattr(module, name) for module, name in looks]
    for module, name in looks:
        setattr(module, name, seconds)
    try:
        yield
    finally:
        for (module, name), usual in zip(looks, before, strict=True):
            setattr(module, name, usual)


def _body() -> Body:
    digest = BodyHash(relaxed=False)
    digest.update(_TEXT)
    return Body(len(_TEXT), digest.digests()[0], inline=_TEXT, dots=False)


def _config(directory: Path, facts: Mapping[str, Any]) -> Config:
    delivery = {"allow_private_destinations": True, **facts.get("delivery", {})}
    return Config.model_validate(
        {
            "hostname": "relay.test",
            "data_dir": directory,
            "tls": {"certificate": directory / "cert.pem", "key": directory / "key.pem"},
            "listeners": {"main": {"address": "127.0.0.1:0"}},
            "identities": {"sender.test": {}},
            # A simulation may be slower than the time that it simulates.
            "store": {"lease": "1h"},
            **facts,
            "delivery": delivery,
        }
    )
