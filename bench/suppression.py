"""What a long suppression list costs, and a long import: `python -m bench.suppression`.

Two relays run side by side, one with an empty list and one with ten million addresses on it, and
are loaded in turn, so that both see the same hours of the machine. No recipient is on the list, and
each is another one: every look-up ends at another page of the index. Then a million addresses are
imported into a running relay, while single messages are timed. Into SUPPRESSION.md.
"""

import argparse
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.cases import BASE, Case
from bench.machine import this_machine
from bench.run import Run, progress, run
from bench.scale import Suppressing
from bench.sink import Sink
from bench.systems.relay import Relay
from bench.systems.system import Ports
from relay.store.sqlite.schema import connect
from relay.store.sqlite.suppression import entries_for

LISTED = 10_000_000
IMPORTED = 1_000_000
_WARM_UP = replace(BASE, messages=300)
_ONE = Case(size=4096, connections=1, per_connection=1, messages=1)
_SINGLES = 15
_LOOKED_UP = 20_000
_CASES = {
    "1 recipient": replace(BASE, messages=800, spread_recipients=True),
    "10 recipients": replace(BASE, messages=300, recipients=10, spread_recipients=True),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """One load, on the empty list and on the long one, round by round."""

    case: str
    empty: tuple[Run, ...]
    long: tuple[Run, ...]

    @property
    def cpu(self) -> float:
        """The median of what the long list takes in CPU, as a multiple of the empty one."""
        pairs = zip(self.empty, self.long, strict=True)
        return median(long.cpu_per_1000 / empty.cpu_per_1000 for empty, long in pairs)

    @property
    def rate(self) -> float:
        pairs = zip(self.empty, self.long, strict=True)
        return median(long.rate / empty.rate for empty, long in pairs)


@dataclass(frozen=True, slots=True)
class Import:
    """Seconds of an import, and of single messages before it and meanwhile."""

    addresses: int
    listed: int
    seconds: float
    before: tuple[float, ...]
    meanwhile: tuple[float, ...]


def measure(listed: int, rounds: int) -> tuple[list[Cost], dict[int, tuple[float, float]], int]:
    """What a list of so many costs, what its look-ups alone cost, and the octets that it takes."""
    with ExitStack() as stack:
        one_sink, other_sink = Ports.free(), Ports.free()
        empty, sink = stack.enter_context(started(Suppressing(0), one_sink))
        progress(f"{listed:,} addresses are put on the list")
        long, long_sink = stack.enter_context(started(Suppressing(listed), other_sink))
        size = sum(path.stat().st_size for path in long.data_dir().glob("relay.db*"))
        found: dict[str, tuple[list[Run], list[Run]]] = {name: ([], []) for name in _CASES}
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for name, case in _CASES.items():
                turns = [(0, empty, sink, one_sink), (1, long, long_sink, other_sink)]
                for which, relay, its_sink, ports in turns if number % 2 else reversed(turns):
                    found[name][which].append(run(relay, its_sink, case, ports))
        costs = [Cost(name, tuple(one), tuple(other)) for name, (one, other) in found.items()]
        look_ups = {
            count: (look_up(empty.data_dir(), count), look_up(long.data_dir(), count))
            for count in (1, 10)
        }
    return costs, look_ups, size


def look_up(data_dir: Path, together: int) -> float:
    """Microseconds of CPU to look one recipient up, so many in a transaction, each at random."""
    chance = random.Random(together)
    with closing(connect(data_dir / "relay.db")) as db:
        wanted = [
            [f"{chance.getrandbits(32):08x}@dest.test" for _ in range(together)]
            for _ in range(_LOOKED_UP // together)
        ]
        began = time.process_time()
        for keys in wanted:
            db.execute("BEGIN")
            entries_for(db, keys)
            db.execute("COMMIT")
        return (time.process_time() - began) / _LOOKED_UP * 1e6


def bring_in(count: int, listed: int) -> Import:
    """An import into a list of so many, beside single messages."""
    ports = Ports.free()
    with started(Suppressing(listed), ports) as (relay, sink), _file(count) as path:
        before = tuple(_single(relay, sink, ports) for _ in range(_SINGLES))
        progress(f"{count:,} addresses are imported")
        began = time.monotonic()
        command = subprocess.Popen(relay.command_line("suppression", "import", str(path)))
        meanwhile = []
        while command.poll() is None:
            meanwhile.append(_single(relay, sink, ports))
        seconds = time.monotonic() - began
        if command.returncode:
            raise SystemExit("the import failed")
    return Import(count, listed, seconds, before, tuple(meanwhile))


def _single(relay: Relay, sink: Sink, ports: Ports) -> float:
    """Milliseconds until one message was acknowledged, from its last octet on."""
    return run(relay, sink, _ONE, ports).p50


@contextmanager
def started(relay: Suppressing, ports: Ports) -> Iterator[tuple[Suppressing, Sink]]:
    """The relay and its sink, both warm."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        sink = Sink(ports.sink)
        relay.start(Path(name) / "system", ports)
        try:
            run(relay, sink, _WARM_UP, ports)
            yield relay, sink
        finally:
            relay.stop()
            sink.stop()


@contextmanager
def _file(count: int) -> Iterator[Path]:
    """Addresses as a customer's list has them: in no order, of thousands of domains."""
    chance = random.Random(1)
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        for number in range(count):
            name = f"{chance.getrandbits(40):010x}.{number}"
            file.write(f"{name}@example{chance.randrange(5_000)}.com,BOUNCE\n")
        file.flush()
        yield Path(file.name)


def document(
    costs: list[Cost],
    look_ups: dict[int, tuple[float, float]],
    size: int,
    imports: list[Import],
    listed: int,
) -> str:
    """The page."""
    made = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime())
    lines = [
        "# What a suppression list costs",
        "",
        f"Made by `python -m bench.suppression`, {made}.",
        f"{this_machine()}",
        "",
        f"**{listed:,} addresses** ({size / 1e9:.1f} GB on disk), against an empty list on the same"
        " machine at the same time,",
        "round by round. Each message goes to other recipients, none of them on the list.",
        "",
        "| load | CPU-s per 1,000, empty | long | times | messages/s, empty | long | times |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.case} | {median(r.cpu_per_1000 for r in one.empty):.2f} |"
        f" {median(r.cpu_per_1000 for r in one.long):.2f} | {one.cpu:.3f} |"
        f" {median(r.rate for r in one.empty):.0f} | {median(r.rate for r in one.long):.0f} |"
        f" {one.rate:.3f} |"
        for one in costs
    ]
    lines += [
        "",
        "`times` is the median of the quotients of neighbouring runs; which is first changes.",
        "",
        "**The look-up alone**, in a transaction of its own, in microseconds of CPU a recipient:",
        "",
        "| recipients together | empty | long |",
        "|---:|---:|---:|",
        *(f"| {n} | {empty:.1f} | {long:.1f} |" for n, (empty, long) in look_ups.items()),
        "",
        "**Imports** into a running relay, and how long a client waits for the 250 after its final",
        "dot, before and meanwhile, over a connection of its own each time:",
        "",
        "| imported | into a list of | seconds | a second | before, ms | meanwhile, ms | slowest |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.addresses:,} | {one.listed:,} | {one.seconds:.0f} |"
        f" {one.addresses / one.seconds:,.0f} | {median(one.before):.1f} |"
        f" {median(one.meanwhile):.1f} | {max(one.meanwhile):.1f} |"
        for one in imports
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.suppression", description=__doc__)
    parser.add_argument("--listed", type=int, default=LISTED)
    parser.add_argument("--imported", type=int, default=IMPORTED)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "SUPPRESSION.md")
    options = parser.parse_args()
    costs, look_ups, size = measure(options.listed, options.rounds)
    imports = [bring_in(options.imported, listed) for listed in (0, options.listed)]
    page = document(costs, look_ups, size, imports, options.listed)
    options.output.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
