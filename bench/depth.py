"""How a relay works above a deep queue: `python -m bench.depth`, into DEPTH.md.

For each depth a relay is set up, its store is filled (`bench.depth_load`: 200 configuration sets,
50 sources, 20,000 destinations; nearly all of it due later), and then measured: the seconds to
start, again after kill -9 under load, the rate and the CPU of fresh mail, the memory of the largest
worker. A last row has one campaign due at once, and times single messages of another set meanwhile.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.cases import BASE, Case
from bench.depth_load import Backlog, fill
from bench.machine import this_machine
from bench.measure import memory_of, tree
from bench.run import PORTS, progress, run
from bench.sink import Sink
from bench.systems.relay import Relay
from bench.systems.system import Ports

DEPTHS = (0, 1_000, 10_000, 100_000, 1_000_000)
CAMPAIGN = 500_000
_DUE_NOW = 0.001
_SETS, _SOURCES, _POOLS = 200, 50, 10
_CASE = replace(BASE, messages=2000)
_WARM_UP = replace(BASE, messages=200)
_ONE = Case(size=4096, connections=1, per_connection=1, messages=1)
_SINGLES = 20


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured at one depth. Seconds; messages a second; CPU seconds for 1,000 messages;
    octets of memory of the largest worker."""

    depth: int
    start: float
    restart: float
    rate: float
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Campaign:
    """Seconds from a client's first command to the sink, for single messages of another set while
    `depth` deliveries of one campaign were due, and how many of those went meanwhile."""

    depth: int
    seconds: tuple[float, ...]
    went: int


class Deep(Relay):
    """A relay whose store holds `backlog` before it starts. Mail of the backlog goes to the port
    `elsewhere`, fresh mail to the sink."""

    def __init__(self, backlog: Backlog, elsewhere: int) -> None:
        addresses = [f"127.0.1.{number}" for number in range(1, _SOURCES + 1)]
        pools = {
            f"pool-{number}": {"sources": [{"address": a} for a in addresses[number::_POOLS]]}
            for number in range(_POOLS)
        }
        sets = {
            f"set-{number}": {"pool": f"pool-{number % _POOLS}"} for number in range(1, _SETS + 1)
        }
        routes = {"*": {"to": f"127.0.0.1:{elsewhere}"}, "dest.test": {"to": ""}}
        super().__init__(changes={"pools": pools, "configuration_sets": sets, "routes": routes})
        self._backlog = backlog
        self.started_in = 0.0

    def start(self, directory: Path, ports: Ports) -> None:
        self._changes["routes"]["dest.test"]["to"] = f"127.0.0.1:{ports.sink}"
        super().start(directory, ports)
        super().stop()
        asyncio.run(fill(directory / "relay/data", self._backlog))
        self.serve(ports)

    def serve(self, ports: Ports) -> None:
        began = time.monotonic()
        super().serve(ports)
        self.started_in = time.monotonic() - began

    def kill(self) -> None:
        """As kill -9 of the whole tree, with nothing given back."""
        for pid in tree(self.roots()):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def largest_worker(self) -> int:
        """Octets of memory (PSS) of the worker that has most."""
        (root,) = self.roots()
        return max(memory_of(pid) for pid in tree((root,)) if pid != root)


def measure(depth: int, rounds: int) -> Row:
    """One row of the table."""
    progress(f"{depth:,} queued")
    backlog = Backlog(max(1, depth), sets=_SETS, due_now=_DUE_NOW if depth else 1.0)
    with _deep(backlog) as (relay, sink):
        start = relay.started_in
        run(relay, sink, _WARM_UP)
        runs = [run(relay, sink, _CASE) for _ in range(rounds)]
        memory = relay.largest_worker()
        relay.kill()
        relay.serve(PORTS)
        return Row(
            depth=depth,
            start=start,
            restart=relay.started_in,
            rate=median(one.rate for one in runs),
            cpu=median(one.cpu_per_1000 for one in runs),
            memory=memory,
        )


def campaign(depth: int) -> Campaign:
    """Single messages of another set while a campaign of `depth` is due."""
    progress(f"a campaign of {depth:,} due at once")
    backlog = Backlog(depth, sets=_SETS, due_now=1.0, campaign=True, size=1024)
    with _deep(backlog) as (relay, sink):
        before = _queued(relay)
        seconds = tuple(1 / run(relay, sink, _ONE).rate for _ in range(_SINGLES))
        return Campaign(depth, seconds, before - _queued(relay))


def _queued(relay: Relay) -> int:
    status = json.loads(relay.command("status", "--json"))
    return sum(one["queued"] for one in status["queue"])


@contextmanager
def _deep(backlog: Backlog) -> Iterator[tuple[Deep, Sink]]:
    elsewhere = Ports.free().sink
    sink = Sink(PORTS.sink)
    # Nobody reads a counter of this one, so it keeps none: a full pipe would stop it.
    other = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{elsewhere}", "1024"])
    try:
        with tempfile.TemporaryDirectory(prefix="deep-", ignore_cleanup_errors=True) as name:
            relay = Deep(backlog, elsewhere)
            relay.start(Path(name) / "system", PORTS)
            try:
                yield relay, sink
            finally:
                relay.stop()
    finally:
        sink.stop()
        other.terminate()
        other.wait()


def page(rows: Sequence[Row], told: Campaign | None) -> str:
    """DEPTH.md."""
    empty = rows[0]
    lines = [
        "# Throughput against depth",
        "",
        "How relay works above a backlog: 200 configuration sets, 50 sources, 20,000 destinations,",
        "a thousandth of it due, the rest within 12 hours. Fresh mail is the base load of",
        "[RESULTS.md](RESULTS.md). Made by `python -m bench.depth`, "
        + time.strftime("%d %B %Y, %H:%M UTC", time.gmtime()) + ".",
        f"{this_machine()}",
        "",
        "| queued | start, s | start after kill -9, s | messages/s | of empty | CPU-s per 1,000"
        " | largest worker |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {row.depth:,} | {row.start:.1f} | {row.restart:.1f} | {row.rate:.0f}"
        f" | {row.rate / empty.rate:.0%} | {row.cpu:.2f} | {row.memory / 1e6:.0f} MB |"
        for row in rows
    ]
    if told is not None:
        ordered = sorted(told.seconds)
        lines += [
            "",
            f"**A campaign of {told.depth:,} of one set, due at once**, and single messages of"
            " another set meanwhile, each over a connection of its own: from connecting to the"
            f" destination {median(ordered) * 1000:.0f} ms (median), {ordered[-1] * 1000:.0f} ms"
            f" (slowest of {len(ordered)}). {told.went:,} of the campaign went in that time.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", default=",".join(map(str, DEPTHS)), help="commas between")
    parser.add_argument("--campaign", type=int, default=CAMPAIGN, help="0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("DEPTH.md"))
    given = parser.parse_args()
    rows = [measure(depth, given.rounds) for depth in map(int, given.depths.split(","))]
    told = campaign(given.campaign) if given.campaign else None
    given.output.write_text(page(rows, told))
    print(given.output.read_text())


if __name__ == "__main__":
    main()
