"""What one message costs from the moment it is stored to its settlement: CPU of this process only.

    python -m bench.micro.delivery                        4 kB, signed and unsigned
    python -m bench.micro.delivery --size 40000000 --messages 20

Messages are offered to a real `Scheduler` as freshly accepted mail is, so many at a time, over a
store that settles at once, to Postfix's smtp-sink in a process of its own. The RSA signature alone
is measured in the same run, so that what is above it can be told. Wall-clock rates mean nothing
here; the median of several rounds is shown, and the lowest.
"""

import argparse
import asyncio
import base64
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import cast

import uvloop
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from relay.config.model import Config
from relay.delivery.connections import Connections
from relay.delivery.scheduler import Scheduler
from relay.limits.limits import Limits, PermitStore, config_limits
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.routing.resolver import DnsResolver
from relay.routing.router import Router
from relay.signing.body_hash import BodyHash
from relay.signing.keys import KeyRing, read_private_key
from relay.signing.make import make_private_key, write_private_key
from relay.store.interface import QueueStore, SuspensionStore, UnclassifiedStore
from relay.store.values import Attempt, Body, Delivery, Due, Message, Owner, Settlement, Want

_OWNER = Owner("bench", 1)
_INLINE = 64 * 1024
_BLOCK = 256 * 1024


class Stored:
    """A store that has nothing due, settles at once, and reads large bodies as the spool does."""

    def __init__(self, body: bytes) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process lives
        self._file.write(body)
        self._file.flush()
        self.settled = 0
        self.undelivered = 0
        self.more = asyncio.Event()
        self.suspensions = cast("SuspensionStore", self)  # nothing is suspended here
        self.unclassified = cast("UnclassifiedStore", self)  # nothing is refused here

    async def claim(self, owner: Owner, now: int, limit: int) -> list[Delivery]:
        return []

    async def next_due(self, after: int = 0) -> int | None:
        return None

    async def find_due(self, want: Want) -> Due:
        return Due(())

    async def find_expired(self, after: int, until: int, limit: int) -> Sequence[int]:
        return ()

    async def claim_found(self, owner: Owner, ids: Sequence[int]) -> list[Delivery]:
        return []

    async def renew(self, owner: Owner, lease_ms: int) -> bool:
        return True

    async def resign(self, owner: Owner) -> None: ...

    async def release(self, owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None: ...

    async def settle(self, owner: Owner, settlement: Settlement) -> bool:
        self.settled += 1
        self.undelivered += bool(settlement.remaining or settlement.reports)
        self.more.set()
        return True

    async def end(
        self, deliveries: Sequence[Delivery], attempts: Sequence[Attempt] = ()
    ) -> Sequence[bool]:
        self.settled += len(deliveries)
        self.more.set()
        return [True] * len(deliveries)

    async def read_body(self, message: Message) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        self._file.seek(0)
        while block := await loop.run_in_executor(None, self._file.read, _BLOCK):
            yield block


class Bench:
    """Everything that delivers, and the messages to deliver."""

    def __init__(
        self,
        directory: Path,
        port: int,
        size: int,
        recipients: int,
        signed: bool,
        bounds: Mapping[str, object] | None = None,
    ) -> None:
        """`bounds` are keys of `delivery`."""
        log = make_logger("json", "info", Path(os.devnull).open("w"))  # noqa: SIM115 - likewise
        config = _config(directory, port, signed, bounds or {})
        metrics = Metrics()
        self.stored = Stored(_body(size))
        self._size, self._recipients = size, recipients
        self._body = _described(_body(size))
        health = SourceHealth(config, metrics, log)
        router = Router(config, DnsResolver(()), health, Random(7))
        limits = Limits(cast("PermitStore", self.stored), time.monotonic, _now)
        limits.configure(config_limits(config))
        self.scheduler = Scheduler(
            store=cast("QueueStore", self.stored),
            owner=_OWNER,
            router=router,
            health=health,
            connections=Connections(config, metrics),
            limits=limits,
            keyring=KeyRing.load(config),
            config=config,
            metrics=metrics,
            log=log,
        )
        self._number = 0

    async def deliver(self, count: int, in_flight: int) -> float:
        """Deliver `count` messages, `in_flight` at a time; the CPU seconds it took."""
        messages = [self._delivery() for _ in range(count)]
        before = self.stored.settled
        started = time.process_time()
        offered = 0
        while (done := self.stored.settled - before) < count:
            while offered < min(count, done + in_flight):
                self.scheduler.offer([messages[offered]])
                offered += 1
            self.stored.more.clear()
            await self.stored.more.wait()
        return time.process_time() - started

    def _delivery(self) -> Delivery:
        self._number += 1
        now = _now()
        recipients = tuple(Recipient(f"r{n}@dest.test") for n in range(self._recipients))
        mail = Message(
            id=new_message_id(now),
            accepted_at=now,
            expires_at=now + 3_600_000,
            envelope=Envelope("a@sender.test", recipients),
            credential="app",
            configuration_set="main",
            identity="sender.test",
            header=_HEADER % (self._number, self._number),
            body=self._body,
        )
        return Delivery(self._number, mail, "dest.test", recipients, now, epoch=_OWNER.epoch)


def _now() -> int:
    return time.time_ns() // 1_000_000


_HEADER = b"""\
Received: from load.test by relay.test; Tue, 24 Nov 2026 12:00:00 +0000
From: Sender <a@sender.test>
To: <r0@dest.test>
Subject: Benchmark message %d
Date: Tue, 24 Nov 2026 12:00:00 +0000
Message-ID: <%d@load.test>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
""".replace(b"\n", b"\r\n")


def _body(size: int) -> bytes:
    line = base64.b64encode(bytes(range(56))) + b"\r\n"
    return line * max(1, (size - len(_HEADER)) // len(line))


def _described(body: bytes) -> Body:
    digest = BodyHash()
    digest.update(body)
    return Body(
        size=len(body),
        simple_digest=digest.digests()[0],
        inline=body if len(body) <= _INLINE else None,
        ref="" if len(body) <= _INLINE else "spool",
        dots=False,
    )


def _config(directory: Path, port: int, signed: bool, bounds: Mapping[str, object]) -> Config:
    key = directory / "key.pem"
    if not key.exists():
        write_private_key(key, make_private_key())
    return Config.model_validate(
        {
            "hostname": "relay.test",
            "data_dir": directory,
            "tls": {"certificate": directory / "cert.pem", "key": key},
            "listeners": {"main": {"address": "127.0.0.1:0"}},
            "identities": {
                "sender.test": {"dkim": [{"selector": "s", "key": key}] if signed else []}
            },
            "configuration_sets": {"main": {"pool": "main"}},
            "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
            "delivery": {"allow_private_destinations": True, **bounds},
            "routes": {"*": {"to": f"127.0.0.1:{port}"}},
        }
    )


async def _measure(directory: Path, port: int, signed: bool, given: argparse.Namespace) -> None:
    bounds = {"dialogues": given.dialogues}
    bench = Bench(directory, port, given.size, given.recipients, signed, bounds)
    running = asyncio.create_task(bench.scheduler.run())
    await bench.deliver(max(1, given.messages // 10), given.in_flight)
    rounds = [
        await bench.deliver(given.messages, given.in_flight) / given.messages * 1e6
        for _ in range(given.rounds)
    ]
    await bench.scheduler.drain(5.0)
    running.cancel()
    if bench.stored.undelivered:
        raise SystemExit(f"{bench.stored.undelivered} messages were not delivered")
    kind = "signed" if signed else "unsigned"
    print(f"{kind:9} {statistics.median(rounds):8.1f} µs a message (lowest {min(rounds):.1f})")


def _primitive(directory: Path) -> None:
    """RSA alone, as the key does it: what no design can save."""
    key = cast("RSAPrivateKey", read_private_key(directory / "key.pem"))
    padding, algorithm, times = PKCS1v15(), SHA256(), []
    for _ in range(5):
        started = time.process_time()
        for _ in range(200):
            key.sign(b"x" * 500, padding, algorithm)
        times.append((time.process_time() - started) / 200 * 1e6)
    print(
        f"{'RSA alone':9} {statistics.median(times):8.1f} µs a signature (lowest {min(times):.1f})"
    )


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_it_listens(port: int) -> None:
    """Wait until somebody listens on a loopback port."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("smtp-sink (of Postfix) did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=10)
    parser.add_argument("--dialogues", choices=("all", "failures", "none"), default="all")
    parser.add_argument("--only", choices=("signed", "unsigned"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        directory = Path(name)
        port = free_port()
        sink = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1024"])
        try:
            until_it_listens(port)
            for signed in (False, True):
                if given.only in (None, "signed" if signed else "unsigned"):
                    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                        runner.run(_measure(directory, port, signed, given))
        finally:
            sink.terminate()
            sink.wait()
        _primitive(directory)


if __name__ == "__main__":
    main()
