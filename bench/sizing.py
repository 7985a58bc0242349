"""How many relays, and how much of a database, so many messages a second take: arithmetic.

`python -m bench.sizing` prints the tables of docs/sizing.md, which says where `Costs` come from.
Everything is a pure function of them and of the machines: put your own figures in, and see what is
reached first.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

RATES = (100, 1_000, 3_000, 10_000, 30_000)
_SECONDS_OF_DAY = 86_400
_OPERATIONS = 3  # of a message: insert, note, settlement


@dataclass(frozen=True, slots=True)
class Costs:
    """What one message of `octets` to one recipient costs. CPU in ms, logs in octets."""

    octets: int = 4_000
    worker_cpu: float = 2.3
    node_cpu: float = 0.5  # supervisor and scribe, with the message log, no destinations
    database_cpu: float = 1.0
    wal: int = 12_300
    scribe_cpu: float = 0.12  # of `node_cpu`: reads the outbox, makes events, files; one process
    log_row: int = 2_500  # of the message log, for as long as it is kept


@dataclass(frozen=True, slots=True)
class Machines:
    """What there is to work with. `busy` is how much of a core may be used at the peak, `disk` the
    octets of log a second that a database writes and ships to its standby, `commits` the group
    commits a second that its disk and its standby confirm."""

    relay_cores: int = 8
    database_cores: int = 32
    busy: float = 0.6
    disk: int = 250_000_000
    commits: int = 4_000
    spare: int = 1  # relays that may be missing at the peak
    sessions: int = 400  # of a database, before they cost more than they bring
    # Operations that share a commit under load: relay_store_commit_operations.
    group: float = 50


@dataclass(frozen=True, slots=True)
class Size:
    """What a rate takes. `cells` are databases, each with relays of its own."""

    rate: int
    cells: int
    relays: int
    workers: int
    database_cores: float
    wal: float  # octets a second, of each database
    sessions: int
    commits: float
    first: str  # of the bounds of a cell, the lowest

    @property
    def log_of_a_month(self) -> float:
        """Octets of the message log of 30 days at a tenth of the peak, over all cells."""
        return self.rate / 10 * _SECONDS_OF_DAY * 30 * Costs().log_row


def sessions_of(relays: int, workers: int) -> int:
    """Sessions of a database with so many relays, at most: see docs/fleet.md."""
    return relays * (6 * workers + 21)


def bounds_of_a_cell(costs: Costs, machines: Machines) -> dict[str, float]:
    """Up to which rate (messages a second) each resource of one database carries a cell."""
    cpu = machines.database_cores * machines.busy * 1000 / costs.database_cpu
    log = machines.disk * machines.busy / costs.wal
    per_worker = machines.busy * 1000 / costs.worker_cpu
    workers = machines.relay_cores - 1
    relays = machines.sessions // sessions_of(1, workers)
    return {
        "the database's CPU": cpu,
        "its write-ahead log": log,
        "its sessions": max(0, relays - machines.spare) * workers * per_worker,
        "the scribe": machines.busy * 1000 / costs.scribe_cpu,
        "its commits": machines.commits * machines.busy * machines.group / _OPERATIONS,
    }


def size(rate: int, costs: Costs, machines: Machines) -> Size:
    """What `rate` messages a second take."""
    bounds = bounds_of_a_cell(costs, machines)
    first = min(bounds, key=lambda name: bounds[name])
    cells = ceil(rate / bounds[first])
    share = rate / cells
    workers = machines.relay_cores - 1  # a core for supervisor, scribe and kernel
    per_relay = min(
        workers * machines.busy * 1000 / costs.worker_cpu,
        machines.relay_cores * machines.busy * 1000 / (costs.worker_cpu + costs.node_cpu),
    )
    relays = ceil(share / per_relay) + machines.spare
    return Size(
        rate,
        cells,
        relays * cells,
        workers,
        share * costs.database_cpu / 1000,
        share * costs.wal,
        sessions_of(relays, workers),
        share * _OPERATIONS / machines.group,
        first,
    )


def table(rates: Sequence[int], costs: Costs, machines: Machines) -> str:
    """As Markdown."""
    lines = [
        "| messages/s | cells | relays | cores of each database, busy | its WAL, MB/s"
        " | its sessions, at most | a month's message log | reached first |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rate in rates:
        found = size(rate, costs, machines)
        lines.append(
            f"| {rate:,} | {found.cells} | {found.relays} | {found.database_cores:.1f}"
            f" | {found.wal / 1e6:.0f} | {found.sessions} | {found.log_of_a_month / 1e12:.2f} TB"
            f" | {found.first} |"
        )
    return "\n".join(lines)


def bounds_table(costs: Costs, machines: Machines) -> str:
    """Where each limit of one database lies, lowest first."""
    lines = ["| of one database | messages/s |", "|---|---|"]
    bounds = bounds_of_a_cell(costs, machines)
    for name in sorted(bounds, key=lambda name: bounds[name]):
        lines.append(f"| {name} | {bounds[name]:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    usual, there = Costs(), Machines()
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument("--worker-cpu", type=float, default=usual.worker_cpu, help="ms a message")
    parser.add_argument("--database-cpu", type=float, default=usual.database_cpu, help="ms")
    parser.add_argument("--wal", type=int, default=usual.wal, help="octets a message")
    parser.add_argument("--relay-cores", type=int, default=there.relay_cores)
    parser.add_argument("--database-cores", type=int, default=there.database_cores)
    given = parser.parse_args()
    costs = Costs(worker_cpu=given.worker_cpu, database_cpu=given.database_cpu, wal=given.wal)
    machines = Machines(relay_cores=given.relay_cores, database_cores=given.database_cores)
    print(bounds_table(costs, machines), table(RATES, costs, machines), sep="\n\n")


if __name__ == "__main__":
    main()
