"""Large messages, many connections, many configuration sets, many suppressed addresses.

    python -m bench.scale --only held        large, held, sets, suppressed
    python -m bench.scale --quick            small numbers, to see that it works

Where levels are compared, one relay for each level runs at the same time, and they are loaded in
turn, so that a slow minute of the machine hits all of them.
"""

import argparse
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cases import BASE, Case
from bench.machine import this_machine
from bench.measure import memory_of, tree, usage
from bench.results import Held, Large, Level, Scale
from bench.run import PORTS, Run, load_command, progress, run
from bench.scale_report import scale_section
from bench.sink import Sink
from bench.systems.postfix import Postfix
from bench.systems.relay import Relay
from bench.systems.system import Ports, System

PARTS = ("large", "held", "sets", "suppressed")
_LARGE = Case(size=39_990_000, connections=2, per_connection=6, messages=12)
_HELD = 5_000
_SETS = (1, 100, 10_000)
_SUPPRESSED = (0, 100_000, 1_000_000, 10_000_000)
_IMPORTED = 100_000  # up to here by `relay suppression import`
_LEVEL = replace(BASE, messages=1000)
_ROUNDS = 5
_WARM_UP = replace(BASE, messages=100)
_INSERT = (
    "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
    " INSERT INTO suppression (key, address, reason, source, created_at, evidence, expires_at,"
    " message_id, remote_host, seen_at, made_by, note, bounces)"
    " SELECT printf('%08xs@dest.test', i * :step), '', 'bounce', 'import', :now, '', NULL,"
    " '', '', :now, 'benchmark', '', 1 FROM n"
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One level: a relay on its own ports."""

    label: str
    system: Relay
    ports: Ports
    case: Case
    note: str = ""


def measure(only: Sequence[str] = PARTS, quick: bool = False) -> Scale:
    """Measure the parts that are named."""
    sets = _sets_variants(_SETS[: 2 if quick else 3])
    suppressed = _suppressed_variants(_SUPPRESSED[: 2 if quick else 4])
    return Scale(
        made=time.strftime("%d %B %Y, %H:%M UTC", time.gmtime()),
        machine=this_machine(),
        large=_large(2 if quick else _LARGE.messages) if "large" in only else [],
        held=_held(200 if quick else _HELD, quick) if "held" in only else None,
        sets=_levels(sets, quick) if "sets" in only else [],
        suppressed=_levels(suppressed, quick) if "suppressed" in only else [],
    )


def _large(messages: int) -> list[Large]:
    """40 MB messages through relay and, where it is installed, Postfix."""
    systems: list[System] = [Relay()]
    systems += [Postfix(signing) for signing in (True, False) if not Postfix.missing(signing)]
    found = []
    for system in systems:
        progress(f"large messages: {system.name}")
        with _started(system, PORTS) as _, _sink() as sink:
            run(system, sink, _WARM_UP)
            idle = usage(system.roots()).memory
            case = replace(_LARGE, messages=messages)
            found.append(Large(system.name, case.size, idle, run(system, sink, case)))
    return found


def _held(connections: int, quick: bool) -> Held:
    """The base load without and with many connections that are logged in and idle."""
    progress(f"{connections} idle connections")
    bounds = {
        "connections": connections + 1000,
        "connections_per_client": connections + 1000,
        "connections_per_credential": connections + 1000,
    }
    relay = Relay(changes={"bounds": bounds})
    rounds = 1 if quick else _ROUNDS
    with _started(relay, PORTS), _sink() as sink:
        run(relay, sink, _WARM_UP)
        without = [run(relay, sink, _LEVEL) for _ in range(rounds)]
        before = _workers(relay)
        started = time.monotonic()
        with _holding(relay, connections):
            seconds = time.monotonic() - started
            during = _workers(relay)
            held = [run(relay, sink, _LEVEL) for _ in range(rounds)]
    return Held(
        connections, len(during), max(before), max(during), seconds, without, while_held=held
    )


def _workers(relay: Relay) -> list[int]:
    """Memory of each process that does the work: those below the supervisor, or the only one."""
    (root,) = relay.roots()
    workers = [pid for pid in tree((root,)) if pid != root] or [root]
    return [memory_of(pid) for pid in workers]


@contextmanager
def _holding(relay: Relay, connections: int) -> Iterator[None]:
    case = Case(size=0, connections=connections, per_connection=1, messages=0)
    holder = subprocess.Popen(
        load_command(relay, case, "--hold"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != b"held\n":
            raise SystemExit("the connections could not be held")
        yield
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def _levels(variants: Sequence[Variant], quick: bool) -> list[Level]:
    """Load the variants in turn, several rounds."""
    rounds = 1 if quick else _ROUNDS
    runs: dict[str, list[Run]] = {variant.label: [] for variant in variants}
    with ExitStack() as stack:
        sink = stack.enter_context(_sink())
        for variant in variants:
            progress(f"starting: {variant.label}")
            stack.enter_context(_started(variant.system, variant.ports))
            run(variant.system, sink, _WARM_UP, variant.ports)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for variant in variants:
                case = variant.case.scaled(0.2 if quick else 1.0)
                runs[variant.label].append(run(variant.system, sink, case, variant.ports))
    return [Level(variant.label, runs[variant.label], variant.note) for variant in variants]


def _sets_variants(levels: Sequence[int]) -> list[Variant]:
    """One relay for each number of configuration sets; the mail of each is spread over them."""
    variants = []
    for count in levels:
        sets = {f"set{n}": {"pool": "default"} for n in range(count)}
        relay = Relay(changes={"configuration_sets": sets})
        case = replace(_LEVEL, sets=count)
        variants.append(Variant(f"{count:,} set{'s' if count > 1 else ''}", relay, _ports(), case))
    return variants


class Suppressing(Relay):
    """A relay that starts with so many addresses on its suppression list. None is sent to."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._step = 2**32 // max(1, count)

    def start(self, directory: Path, ports: Ports) -> None:
        super().start(directory, ports)
        if 0 < self._count <= _IMPORTED:
            self._import(directory / "suppressed.csv")
        elif self._count:
            super().stop()
            self._insert(next((directory / "relay/data").glob("*.db")))
            self.serve(ports)
        if self._count:
            last = (self._count - 1) * self._step
            self.command("suppression", "why", f"{last:08x}s@dest.test")  # fails where it is not

    def _import(self, path: Path) -> None:
        with path.open("w") as file:
            file.writelines(f"{n * self._step:08x}s@dest.test,bounce\n" for n in range(self._count))
        self.command("suppression", "import", str(path), "--format", "csv")

    def _insert(self, path: Path) -> None:
        """Rows as the store keeps them, in the order of their key; the command would take long."""
        values = {"count": self._count, "step": self._step, "now": int(time.time() * 1e3)}
        with sqlite3.connect(path) as database:
            database.execute(_INSERT, values)
            database.execute("UPDATE suppression_count SET number = :count", values)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()


def _suppressed_variants(levels: Sequence[int]) -> list[Variant]:
    variants = []
    for count in levels:
        way = "imported" if count <= _IMPORTED else "put into the database"
        case = replace(_LEVEL, spread_recipients=True)
        label = f"{count:,} suppressed"
        variants.append(Variant(label, Suppressing(count), _ports(), case, way if count else ""))
    return variants


def _ports() -> Ports:
    """Free ports, with the sink that all share."""
    return replace(Ports.free(), sink=PORTS.sink)


@contextmanager
def _sink() -> Iterator[Sink]:
    sink = Sink(PORTS.sink)
    try:
        yield sink
    finally:
        sink.stop()


@contextmanager
def _started(system: System, ports: Ports) -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        system.start(Path(name) / "system", ports)
        try:
            yield system
        finally:
            system.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Large messages, and many of everything.")
    parser.add_argument("--only", help=f"of {', '.join(PARTS)}; commas between")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    scale = measure(options.only.split(",") if options.only else PARTS, options.quick)
    print("\n".join(scale_section(scale)))


if __name__ == "__main__":
    main()
