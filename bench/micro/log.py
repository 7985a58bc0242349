"""What filing costs: `python -m bench.micro.log`.

Messages of the usual kind, each with its Send and Delivery, are filed in the message log as the
scribe files them: so many at a time, one synced transaction for all. Printed are microseconds of
CPU for each message (encoding, SQLite and its writing), how long searches take that find nothing,
and octets of the log. The directory must be on a real disk for the figures to mean anything.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from pathlib import Path

from bench.micro.events import case, made
from relay.store.log_values import Filing, MessageQuery
from relay.store.sqlite.log import SqliteLog


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


async def measure(directory: Path, messages: int, at_once: int) -> None:
    """File, and search."""
    log = SqliteLog(directory)
    await log.open()
    ready = filings(messages, at_once)
    gc.collect()
    gc.freeze()  # what stands ready here is no work of the relay's
    spent, began = time.process_time(), time.monotonic()
    for filing in ready:
        await log.file(filing)
    spent, took = time.process_time() - spent, time.monotonic() - began
    print(f"filed, {at_once} at a time{spent / messages * 1e6:14.1f} µs of CPU a message")
    print(f"{'':20}{messages / took:14,.0f} messages a second")
    for name, query in (
        ("a recipient", MessageQuery(recipient="nobody@destination.test")),
        ("all by status", MessageQuery(status="bounced")),
        ("all by subject", MessageQuery(subject="no such subject")),
        ("all by tag", MessageQuery(tag=("no", "such"))),
    ):
        began = time.monotonic()
        await log.search(query)
        print(f"search: {name:18}{(time.monotonic() - began) * 1e3:8.1f} ms")
    await log.close()
    size = (directory / "log.db").stat().st_size
    print(f"{'on disk':20}{size / messages:14,.0f} octets a message")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=250)
    parser.add_argument("--directory", type=Path, default=Path())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        asyncio.run(measure(Path(directory), options.messages, options.at_once))


if __name__ == "__main__":
    main()
