"""Fills a store with a backlog, as a relay with troubled destinations has one.

    python -m bench.depth_load --data-dir /var/tmp/deep --recipients 1000000

Rows are written by the store's own code, in its own transactions; the relay that owns the directory
must not run meanwhile. Sets are `set-1` to `set-N`, destinations `d1.example` to `dN.example`; a
share of the mail is due now, the rest is spread over the hours to come.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from relay.mail.envelope import Envelope, Recipient
from relay.observe.logging import make_logger
from relay.store.sqlite import SqliteStore, lock_data_dir
from relay.store.values import Body, Message, NewMessage

BATCH = 500
HEADER = b"".join(b"X-Field-%d: some forty octets of a header field\r\n" % n for n in range(12))
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: so many recipients of messages with bodies of `size` octets, in `sets` sets to
    `domains` domains. `due_now` is the share that is due, `campaign` whether it is all of one set,
    `set-1`; the rest is due within `hours`."""

    recipients: int
    sets: int = 200
    domains: int = 20_000
    size: int = 1_024
    due_now: float = 0.0
    campaign: bool = False
    hours: float = 12.0


def messages(backlog: Backlog, now: int, rng: random.Random) -> Iterator[NewMessage]:
    """The backlog, one recipient a message; old enough to have been tried, and not expired."""
    content = b"x" * (backlog.size - 2) + b"\r\n"
    body = Body(len(content), sha256(content).digest(), inline=content, dots=False)
    due_now = round(backlog.recipients * backlog.due_now)
    for number in range(backlog.recipients):
        is_due = number < due_now
        chosen = 1 if is_due and backlog.campaign else 1 + number % backlog.sets
        wait = -rng.randrange(60_000) if is_due else rng.randrange(60_000, _ms(backlog.hours))
        domain = f"d{1 + rng.randrange(backlog.domains)}.example"
        accepted = now - 60_000
        tail = rng.randrange(1 << 48)
        name = f"0100{accepted:012x}-{number:08x}-0000-4000-8000-{tail:012x}-000000"
        envelope = Envelope("app@sender.example", (Recipient(f"user{number}@{domain}"),))
        message = Message(
            name, accepted, now + 2 * _ms(backlog.hours), envelope, "app", f"set-{chosen}",
            "sender.example", HEADER, body,
        )  # fmt: skip
        yield NewMessage(message, now + wait)


def _ms(hours: float) -> int:
    return round(hours * HOUR_MS)


async def fill(data_dir: Path, backlog: Backlog) -> float:
    """Write the backlog into the store of `data_dir`; the seconds that it took."""
    started = time.monotonic()
    lock = lock_data_dir(data_dir)
    store = SqliteStore(data_dir, log=make_logger(level="error"))
    try:
        await store.open()
        coming = messages(backlog, time.time_ns() // 1_000_000, random.Random(1))
        done = 0
        while batch := [new for new, _ in zip(coming, range(BATCH), strict=False)]:
            await _insert(store, batch)
            done += len(batch)
            if done % 50_000 < BATCH or done == backlog.recipients:
                rate = done / (time.monotonic() - started)
                print(f"{done:,} of {backlog.recipients:,} ({rate:,.0f}/s)", file=sys.stderr)
    finally:
        await store.close()
        lock.release()
    return time.monotonic() - started


async def _insert(store: SqliteStore, batch: Sequence[NewMessage]) -> None:
    await asyncio.gather(*(store.insert(new, None) for new in batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--domains", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=1_024, help="octets of a body")
    parser.add_argument("--due-now", type=float, default=0.0, help="share that is due at once")
    parser.add_argument("--campaign", action="store_true", help="what is due is one set's")
    parser.add_argument("--hours", type=float, default=12.0, help="over which the rest is due")
    given = vars(parser.parse_args())
    data_dir = given.pop("data_dir")
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(fill(data_dir, Backlog(**given)))


if __name__ == "__main__":
    main()
