"""What was measured, as values that are kept in one JSON file: the tables are made from it.

Each part of the benchmark (`matrix`, `scale`) is kept with its own machine and time, so that one of
them can be run again without the other.
"""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.machine import Machine
from bench.run import Run


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one row on one system."""

    system: str
    row: str
    run: Run


@dataclass(frozen=True, slots=True)
class Work:
    """What a system did of the same work, counted at a sink that keeps every message.

    `copies` are (message, recipient) pairs: `sent` must have arrived, each once. `signed` messages
    carry a signature, `verified` of `sample` verify. `synced` of `traced` messages were synced
    between the final dot and the reply; -1 where that could not be traced.
    """

    system: str
    sent: int
    copies: int
    distinct: int
    messages: int
    signs: bool
    signed: int
    sample: int
    verified: int
    traced: int
    synced: int
    synced_how: str = ""

    def problems(self) -> list[str]:
        """What is wrong; empty when nothing is."""
        found = []
        if not self.sent == self.copies == self.distinct:
            found.append(
                f"{self.sent} copies sent, {self.copies} arrived, {self.distinct} distinct"
            )
        if self.signs and self.signed < self.messages:
            found.append(f"{self.messages - self.signed} of {self.messages} are not signed")
        if self.signs and self.verified < self.sample:
            found.append(f"{self.sample - self.verified} of {self.sample} do not verify")
        if 0 <= self.synced < self.traced:
            found.append(f"{self.traced - self.synced} of {self.traced} not synced before 250")
        return found


@dataclass(frozen=True, slots=True)
class Matrix:
    """All systems under all rows of load."""

    made: str
    machine: Machine
    versions: dict[str, str]
    left_out: dict[str, str]
    measured: list[Measured]
    work: list[Work]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of something that grows, and the runs at it."""

    label: str
    runs: list[Run]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Large:
    """One system with large messages: the octets of all, and the memory before them."""

    system: str
    octets: int
    idle_memory: int
    run: Run


@dataclass(frozen=True, slots=True)
class Held:
    """What holding `connections` costs: memory of each worker (the largest) before and while."""

    connections: int
    workers: int
    before: int
    during: int
    seconds: float
    without: list[Run]
    while_held: list[Run]


@dataclass(frozen=True, slots=True)
class Scale:
    """Large messages, many connections, many sets, many suppressed addresses."""

    made: str
    machine: Machine
    large: list[Large] = field(default_factory=list)
    held: Held | None = None
    sets: list[Level] = field(default_factory=list)
    suppressed: list[Level] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that RESULTS.md is made from."""

    matrix: Matrix | None = None
    scale: Scale | None = None


def load(path: Path) -> Results:
    """The results that are kept in `path`; none where there is no such file."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(results: Results, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
