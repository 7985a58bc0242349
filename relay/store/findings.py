"""What a look at a store finds, for people who run it, and for what watches over it."""

from dataclasses import dataclass
from typing import Literal

Weight = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `bad`: mail is not safe or cannot be taken."""

    about: str
    found: str
    weight: Weight = "good"
    advice: str = ""


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table or a file: its size on disk in octets, and about how many rows it has."""

    name: str
    octets: int
    rows: int


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was found, and what takes room."""

    store: str
    findings: tuple[Finding, ...]
    sizes: tuple[TableSize, ...] = ()

    @property
    def is_good(self) -> bool:
        return not any(finding.weight == "bad" for finding in self.findings)
