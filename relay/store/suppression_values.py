"""The log of changes to the suppression list, and counts of what is on it."""

from dataclasses import dataclass
from typing import Literal

from relay.store.values import SuppressionReason, SuppressionSource

ChangeKind = Literal["added", "renewed", "replaced", "removed", "imported", "deleted"]
"""`renewed`: what was on the list was observed again; `imported` and `deleted` are of many
addresses at a time."""
BulkKind = Literal["imported", "deleted"]


@dataclass(frozen=True, slots=True)
class SuppressionChange:
    """One change: what, when and by whom (`""`: the relay itself).

    Of an import there is one, without an address: `entries` are how many it has brought so far,
    `changed` those that were new, or that were taken off, and `ended_at` when it was over (0: it
    goes on, or was cut off).
    """

    id: int
    at: int
    what: ChangeKind
    by: str
    address: str = ""
    reason: str = ""
    detail: str = ""
    entries: int = 1
    changed: int = 1
    ended_at: int = 0


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes the list, and when. Within an import, `bulk` is its id."""

    by: str
    at: int
    bulk: int = 0


@dataclass(frozen=True, slots=True)
class SuppressionCount:
    """How many entries have a reason and a source in common. `expired` of them hold no more, and
    are there for their count of bounces."""

    reason: SuppressionReason
    source: SuppressionSource
    number: int
    expired: int
