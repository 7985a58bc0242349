"""What keeping mail in PostgreSQL costs, beside the embedded store: `python -m bench.stores`, into
STORES.md.

The same load again and again, in turns, with 1, 2 and 4 workers on each store. The database runs on
the same cores, with syncs to the disk and pages written whole, as one that keeps mail has to. Its
CPU is measured apart: on a machine of its own it would not be the relay's.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.cases import BASE
from bench.machine import this_machine
from bench.measure import usage
from bench.run import PORTS, Run, progress, run
from bench.sink import Sink
from bench.systems.relay import Relay
from tests.postgres import PostgresServer, find_programs

_CASE = replace(BASE, messages=2000)
_WARM_UP = replace(BASE, messages=300)
_WORKERS = (1, 2, 4)
_DURABLE = (
    "fsync=on",
    "full_page_writes=on",
    "wal_level=replica",
    "max_wal_senders=10",
    "shared_buffers=256MB",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, the CPU seconds that the database spent in it, and the octets of its log."""

    run: Run
    database: float = 0.0
    wal: int = 0


@contextmanager
def database() -> Iterator[PostgresServer]:
    """A server that keeps what it has committed, on this machine."""
    programs = find_programs()
    if programs is None:
        raise SystemExit("the server programs of PostgreSQL are not installed")
    server = PostgresServer(programs, _DURABLE)
    try:
        server.make()
        server.start()
        server.make_template()
        yield server
    finally:
        server.remove()


def _measure(workers: int, sink: Sink, server: PostgresServer | None) -> Measured:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        Path(name).chmod(0o755)
        url = server.new_database() if server is not None else ""
        relay = Relay(workers=workers, changes={"store": url} if url else None)
        relay.start(Path(name) / "system", PORTS)
        try:
            run(relay, sink, _WARM_UP)
            if server is None:
                return Measured(run(relay, sink, _CASE))
            before, log_before = usage((server.pid,), memory=False).cpu, server.written()
            done = run(relay, sink, _CASE)
            spent = usage((server.pid,), memory=False).cpu - before
            return Measured(done, spent, server.written() - log_before)
        finally:
            relay.stop()


def page(found: dict[tuple[str, int], list[Measured]], rounds: int) -> str:
    """STORES.md."""
    lines = [
        "# The stores beside each other",
        "",
        f"`python -m bench.stores` on {this_machine()}. {_CASE.messages:,} messages of 4 KB over"
        f" {_CASE.connections} connections; medians of {rounds} rounds in turns. Load, relay,"
        " database and receiver share the cores, so a rate tells little of what the database could"
        " bear; CPU does.",
        "",
        "| store | workers | messages/s | relay, CPU-s per 1,000 | database, CPU-s per 1,000"
        " | database's share | log, KB a message | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (store, workers), all_runs in found.items():
        runs = [measured.run for measured in all_runs]
        relay = median(r.cpu_per_1000 for r in runs)
        database = median(m.database / m.run.messages * 1000 for m in all_runs)
        wal = median(m.wal / m.run.messages / 1000 for m in all_runs)
        lines.append(
            f"| {store} | {workers} | {median(r.rate for r in runs):,.0f} | {relay:.2f}"
            f" | {database:.2f} | {database / (relay + database):.0%} | {wal:.1f}"
            f" | {median(r.p50 for r in runs):.0f} | {median(r.p99 for r in runs):.0f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stores", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[Measured]] = {
        (store, workers): [] for store in ("SQLite", "PostgreSQL") for workers in _WORKERS
    }
    sink = Sink(PORTS.sink)
    try:
        with database() as server:
            for number in range(options.rounds):
                for (store, workers), runs in found.items():
                    runs.append(_measure(workers, sink, server if store != "SQLite" else None))
                    rate = runs[-1].run.rate
                    progress(f"round {number + 1}, {store}, {workers}: {rate:.0f} messages/s")
    finally:
        sink.stop()
    text = page(found, options.rounds)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
