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
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, cast

from bench.simulation.clock import virtual_loop
from bench.simulation.crew import Supervisor, Worker
from bench.simulation.network import Dns, Network
from bench.simulation.provider import Provider
from bench.simulation.storage import ThreadlessStore
from relay.config.model import Config
from relay.delivery import claiming, scheduler
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.runtime import restraining, warmup_clock
from relay.runtime.queue_clock import QueueClock
from relay.signing.body_hash import BodyHash
from relay.store.values import Body, Message, NewMessage, QueueFilter

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

    def __init__(
        self, facts: Mapping[str, Any], domains: Mapping[str, Provider], *, workers: int = 2
    ) -> None:
        """`facts` are sections of the configuration, `domains` where each recipient domain is."""
        self._loop = virtual_loop()
        self._directory = tempfile.TemporaryDirectory(prefix="relay-simulation-")
        self._facts = facts
        self._count = workers
        self.dns = Dns(domains)
        self.arrivals: list[Arrival] = []
        self.complaints = Complaints()
        self._accepted: dict[str, tuple[str, float]] = {}
        self._number = 0
        self._body = _body()

    async def __aenter__(self) -> Self:
        loop, metrics = self._loop, Metrics()
        config = self.config = _config(Path(self._directory.name), self._facts)
        log = make_logger("json", "error", cast("Any", self.complaints))
        self.store = ThreadlessStore(config.data_dir, log=log, wall=loop.wall, clock=loop.time)
        await self.store.open()
        clock = QueueClock(loop.time, loop.wall)
        network = Network(self.dns, Random(SEED), self._delivered)
        health = SourceHealth(config, metrics, log, bind=lambda address: "")
        self.supervisor = Supervisor(config, self.store, clock, loop, metrics, log)
        await self.supervisor.open()
        for number in range(1, self._count + 1):
            worker = await Worker.start(
                name := f"worker-{number}",
                self._count,
                self.supervisor,
                self.store,
                network,
                health,
                clock,
                loop,
                metrics,
                log,
                Random(f"{SEED}{name}"),
            )
            self.supervisor.workers.append(worker)
        self._running = [
            asyncio.create_task(self.supervisor.warmups.run()),
            asyncio.create_task(self.supervisor.restraining.run()),
            *(asyncio.create_task(w.scheduler.run()) for w in self.supervisor.workers),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.supervisor.workers))
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.supervisor.limits.close()
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
        workers = self.supervisor.workers
        await workers[self._number % len(workers)].intake.accept(NewMessage(message, now))

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


@contextmanager
def unhurried(seconds: float) -> Iterator[None]:
    """Have the relay look less often for what nothing tells it of: in a simulation of months most
    of these looks find nothing. What it is told of goes as fast as ever."""
    looks = (
        (claiming, "POLL_SECONDS"),
        (scheduler, "TIDY_SECONDS"),
        (warmup_clock, "LOOK_SECONDS"),
        (restraining, "TICK_SECONDS"),
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
