"""The delivering half of a relay for tests: a real store, router, limits and scheduler."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any, Self

from relay.config.model import Config
from relay.delivery.connections import Connections
from relay.delivery.scheduler import Scheduler
from relay.delivery.tls import TlsContexts
from relay.limits.limits import Limits
from relay.limits.warmup import limits_in_force
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.answers import AddressAnswer, MxAnswer, TextAnswer, TlsaAnswer
from relay.routing.health import SourceHealth
from relay.routing.router import Router
from relay.signing.body_hash import BodyHash
from relay.signing.keys import KeyRing
from relay.signing.return_path_keys import load_or_make
from relay.signing.return_paths import ReturnPaths, uses_return_paths
from relay.store.sqlite.store import SqliteStore
from relay.store.values import Body, Message, NewMessage, QueueEntry, QueueFilter, WarmupProgress


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_config(directory: Path, **changes: Any) -> Config:
    """A small configuration; `route` is where everything goes, as host:port or mx."""
    delivery = {
        "connect_timeout": "2s",
        "command_timeout": "2s",
        "data_timeout": "2s",
        "final_timeout": "2s",
        "idle_timeout": "1s",
        "allow_private_destinations": True,
        **changes.pop("delivery", {}),
    }
    route = changes.pop("route", None)
    values: dict[str, Any] = {
        "hostname": "relay.test",
        "data_dir": directory,
        "tls": {"certificate": directory / "cert.pem", "key": directory / "key.pem"},
        "listeners": {"main": {"address": "127.0.0.1:0"}},
        "identities": {"sender.test": {}},
        "configuration_sets": {"main": {"pool": "main"}, "other": {"pool": "other"}},
        "pools": {
            "main": {"sources": [{"address": "127.0.0.2"}]},
            "other": {"sources": [{"address": "127.0.0.3", "ehlo": "other.relay.test"}]},
        },
        "delivery": delivery,
        **changes,
    }
    if route is not None:
        values["routes"] = {"*": route if isinstance(route, dict) else {"to": route}}
    return Config.model_validate(values)


def with_lease(config: Config, seconds: float) -> Config:
    """A lease that is shorter than the configuration allows."""
    return config.model_copy(update={"store": config.store.model_copy(update={"lease": seconds})})


class Dns:
    """A resolver of what it was given."""

    def __init__(self, mx: Mapping[str, Any] = {}, addresses: Mapping[str, Any] = {}) -> None:
        self._mx = mx
        self._addresses = addresses

    async def mx(self, domain: str) -> MxAnswer:
        records = self._mx.get(domain)
        if records is None:
            return MxAnswer("nxdomain")
        return MxAnswer("found", tuple(records))

    async def addresses(self, name: str, family: int) -> AddressAnswer:
        found = tuple(
            address
            for text in self._addresses.get(name, ())
            if (address := ip_address(text)).version == family
        )
        if found:
            return AddressAnswer("found", found)
        return AddressAnswer("nodata" if name in self._addresses else "nxdomain")

    async def texts(self, name: str) -> TextAnswer:
        return TextAnswer("nxdomain")

    async def tlsa(self, name: str) -> TlsaAnswer:
        return TlsaAnswer("nxdomain")


class Lines(list[dict[str, Any]]):
    """Log lines, as a stream that `make_logger` writes JSON to."""

    def write(self, text: str) -> int:
        import json

        if text.strip():
            self.append(json.loads(text))
        return len(text)

    def flush(self) -> None:
        pass

    def __bool__(self) -> bool:
        return True  # an empty stream is a stream

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self if line["event"] == event]


class Outgoing:
    """Starts everything that delivers; `send` puts a message in as the front end would."""

    def __init__(
        self,
        config: Config,
        *,
        dns: Dns | None = None,
        contexts: TlsContexts | None = None,
        keyring: KeyRing | None = None,
        bind: Any = None,
        clock: Any = time.monotonic,
        wall: Any = now_ms,
        slots: Any = None,
        warmups: Mapping[str, WarmupProgress] = {},
        complain: Any = lambda _: None,
    ) -> None:
        self.config = config
        self.metrics = Metrics()
        self.lines = Lines()
        self.log = make_logger("json", "debug", self.lines)  # type: ignore[arg-type]
        self.store: Any = SqliteStore(config.data_dir, log=self.log)
        self._dns = dns or Dns()
        self._contexts = contexts
        self._keyring = keyring or KeyRing.load(config)
        self._bind = bind
        self._clock, self.wall = clock, wall
        self.slots = slots
        self.warmups = warmups
        self.complain = complain

    async def __aenter__(self) -> Self:
        await self.store.open()
        await self.start()
        return self

    async def start(self) -> None:
        config = self.config
        options = {"bind": self._bind} if self._bind else {}
        self.health = SourceHealth(config, self.metrics, self.log, **options)
        self.connections = Connections(
            config, self.metrics, contexts=self._contexts or TlsContexts.make()
        )
        self.limits = Limits(self.store, self._clock, self.wall)
        self.limits.configure(limits_in_force(config, self.warmups))
        self.scheduler = Scheduler(
            store=self.store,
            owner=await self.store.register("test", round(config.store.lease * 1000)),
            router=self.router(config),
            health=self.health,
            connections=self.connections,
            limits=self.limits,
            keyring=self._keyring,
            config=config,
            metrics=self.metrics,
            log=self.log,
            rng=Random(7),
            wall=self.wall,
            slots=self.slots,
            warmups=self.warmups,
            complain=self.complain,
            return_paths=self.return_paths(config),
        )
        self._running = asyncio.create_task(self.scheduler.run())

    def warm_up(self, warmups: Mapping[str, WarmupProgress]) -> None:
        """Warm-ups have come so far, as the supervisor tells."""
        self.warmups = warmups
        self.limits.configure(limits_in_force(self.config, warmups))
        self.scheduler.warm_up(warmups)

    def return_paths(self, config: Config) -> ReturnPaths:
        keys = load_or_make(config.data_dir) if uses_return_paths(config) else ()
        return ReturnPaths(config.identities, keys)

    def router(self, config: Config) -> Router:
        return Router(config, self._dns, self.health, Random(7))

    async def stop(self, grace: float = 5.0) -> None:
        await self.scheduler.drain(grace)
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def __aexit__(self, *_: object) -> None:
        await self.stop(1.0)
        await self.store.close()

    async def send(
        self,
        *recipients: str | Recipient,
        body: bytes = b"Hello\r\n",
        offer: bool = True,
        due_ms_ago: int = 0,
        **facts: Any,
    ) -> Message:
        """Store a message, claimed and offered as freshly accepted mail is."""
        message = make_message(*recipients, body=body, **facts)
        if len(body) > 64 * 1024:
            writer = self.store.new_body()
            for start in range(0, len(body), 65536):
                await writer.write(body[start : start + 65536])
            stored = await writer.finish(
                simple_digest=message.body.simple_digest,
                relaxed_digest=None,
                eight_bit=message.body.eight_bit,
            )
            message = make_message(*recipients, stored=stored, **facts)
        owner = (
            self.scheduler.owner
            if offer and self.scheduler.has_room(message.configuration_set)
            else None
        )
        accepted = await self.store.insert(NewMessage(message, now_ms() - due_ms_ago), owner)
        if owner is not None:
            self.scheduler.offer(accepted.deliveries)
        return message

    async def queue(self) -> list[QueueEntry]:
        found: list[QueueEntry] = await self.store.queue(QueueFilter())
        return found

    async def until(self, condition: Any, seconds: float = 10.0) -> Any:
        """Look every 10 ms until `condition` (which may be a coroutine function) is true."""
        async with asyncio.timeout(seconds):
            while True:
                result = condition()
                if asyncio.iscoroutine(result):
                    result = await result
                if result:
                    return result
                await asyncio.sleep(0.01)

    async def until_empty(self, seconds: float = 10.0) -> None:
        async def empty() -> bool:
            return not await self.queue()

        await self.until(empty, seconds)

    async def until_attempted(self, count: int = 1, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Wait until so many attempts were logged and settled; their lines."""
        await self.until(lambda: len(self.lines.of("delivery attempt")) >= count, seconds)
        await self.until(lambda: not self.scheduler._claims._settling)
        return self.lines.of("delivery attempt")

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum over all label sets that agree with `labels`."""
        total = 0.0
        for family in self.metrics.registry.collect():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    total += sample.value
        return total


def make_message(
    *recipients: str | Recipient,
    body: bytes = b"Hello\r\n",
    stored: Body | None = None,
    header: bytes = b"From: a@sender.test\r\nSubject: test\r\n",
    configuration_set: str = "main",
    reverse_path: str = "a@sender.test",
    lifetime: float = 3600.0,
    accepted_at: int | None = None,
    **envelope: Any,
) -> Message:
    digest = BodyHash(relaxed=False)
    digest.update(body)
    at = accepted_at or now_ms()
    return Message(
        id=new_message_id(now_ms()),
        accepted_at=at,
        expires_at=at + round(lifetime * 1000),
        envelope=Envelope(
            reverse_path,
            tuple(Recipient(r) if isinstance(r, str) else r for r in recipients),
            **envelope,
        ),
        credential="app",
        configuration_set=configuration_set,
        identity="sender.test",
        header=header,
        body=stored
        or Body(
            size=len(body),
            simple_digest=digest.digests()[0],
            eight_bit=digest.eight_bit,
            inline=body,
        ),
    )
