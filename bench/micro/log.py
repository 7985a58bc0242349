"""What filing costs: `python -m bench.micro.log`, or with `--store postgres`.

Messages of the usual kind, each with its Send and Delivery, are filed in the message log as the
scribe files them: so many at a time, one synced transaction for all. Printed are microseconds of
CPU for each message (encoding, SQLite and its writing; of PostgreSQL the driver's part, and the
server's apart), how long searches take that find nothing, and octets of the log. The directory must
be on a real disk for the figures to mean anything.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import usage
from bench.micro.events import case, made
from bench.stores import database
from relay.store.log_interface import MessageLog
from relay.store.log_values import Filing, MessageQuery
from relay.store.postgres import Place
from relay.store.postgres.log import PostgresLog
from relay.store.sqlite.log import SqliteLog

_SIZE = (
    "SELECT pg_total_relation_size('log_message') + pg_total_relation_size('log_recipient')"
    " + pg_total_relation_size('log_event')"
)


def filings(messages: int, at_once: int) -> list[Filing]:
    """All that is filed."""
    told = [made(case(number)) for number in range(messages)]
    return [
        Filing(
            "bench",
            start + at_once,
            tuple(message for message, _ in told[start : start + at_once]),
            tuple(event for _, events in told[start : start + at_once] for event in events),
        )
        for start in range(0, messages, at_once)
    ]


@dataclass(frozen=True, slots=True)
class Bench:
    """A log to be measured; `served` gives the CPU seconds of its server, `size` its octets."""

    log: MessageLog
    served: Callable[[], float]
    size: Callable[[], Awaitable[int]]


@contextmanager
def embedded(directory: Path) -> Iterator[Bench]:
    """In a file of its own."""

    async def size() -> int:
        return (directory / "log.db").stat().st_size

    yield Bench(SqliteLog(directory), lambda: 0.0, size)


@contextmanager
def shared() -> Iterator[Bench]:
    """In a PostgreSQL on this machine."""
    with database() as server:
        place = Place(server.new_database())

        async def size() -> int:
            session = await place.connect()
            try:
                return int(await session.fetchval(_SIZE))
            finally:
                await session.close()

        yield Bench(PostgresLog(place), lambda: usage((server.pid,), memory=False).cpu, size)


async def measure(bench: Bench, messages: int, at_once: int) -> None:
    """File, and search."""
    log = bench.log
    await log.open()
    ready = filings(messages, at_once)
    gc.collect()
    gc.freeze()  # what stands ready here is no work of the relay's
    spent, served, began = time.process_time(), bench.served(), time.monotonic()
    for filing in ready:
        await log.file(filing)
    spent, took = time.process_time() - spent, time.monotonic() - began
    served = bench.served() - served
    print(f"filed, {at_once} at a time{spent / messages * 1e6:14.1f} µs of CPU a message")
    print(f"{'the server':20}{served / messages * 1e6:14.1f} µs of CPU a message")
    print(f"{'':20}{messages / took:14,.0f} messages a second")
    for name, query in (
        ("a recipient", MessageQuery(recipient="nobody@destination.test")),
        ("a sender", MessageQuery(sender="nobody@destination.test")),
        ("all by status", MessageQuery(status="bounced")),
        ("all by subject", MessageQuery(subject="no such subject")),
        ("all by tag", MessageQuery(tag=("no", "such"))),
    ):
        began = time.monotonic()
        await log.search(query)
        print(f"search: {name:18}{(time.monotonic() - began) * 1e3:8.1f} ms")
    await log.close()
    print(f"{'on disk':20}{await bench.size() / messages:14,.0f} octets a message")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=250)
    parser.add_argument("--directory", type=Path, default=Path())
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as directory,
        shared() if options.store == "postgres" else embedded(Path(directory)) as bench,
    ):
        asyncio.run(measure(bench, options.messages, options.at_once))


if __name__ == "__main__":
    main()
