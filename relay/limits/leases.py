"""What a worker and the authority for limits say to each other. Plain values, and who answers them.

A worker asks for permits of one tuple of keys: for the messages that wait, and for some `extra` if
they can be spared, which it may spend until the lease is over and then gives back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from relay.limits.gatekeeper import Decision, Level
from relay.limits.pace import hold_of
from relay.limits.specs import Limit

_LONGEST_HOLD = 1.0  # seconds; for permits of a quota alone, whose window is a day


class LessorGone(Exception):
    """The authority cannot be asked: its process has ended, or the line to it is cut."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One message to so many recipients; `patience` is that of `Gatekeeper.charge`."""

    n: int
    patience: float


@dataclass(frozen=True, slots=True)
class Returned:
    """Permits of a lease that were not spent and never will be. `until` and `blocks` are those of
    the lease."""

    keys: tuple[str, ...]
    n: int
    until: float
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Charge each of `asks` to all of `keys`, in order; `queue` are those keys that may delay.

    Where they can be spared, up to `extra` permits more are welcome. What is granted for now is to
    be spent within `hold` seconds.
    """

    keys: tuple[str, ...]
    asks: tuple[Ask, ...]
    queue: tuple[str, ...] = ()
    extra: int = 0
    hold: float = 0.0
    returned: tuple[Returned, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """One decision for each message, and `extra` permits, not to be spent after `until` (on the
    monotonic clock that all processes of a machine share). `blocks` say where the quotas' permits
    come from, for when they are returned."""

    decisions: tuple[Decision, ...]
    extra: int = 0
    until: float = 0.0
    blocks: tuple[int, ...] = ()


class Lessor(Protocol):
    """The authority, as a worker reaches it. `lease` and `levels` raise `LessorGone`."""

    async def lease(self, request: LeaseRequest) -> Lease: ...

    def give_back(self, returned: Returned) -> None:
        """Never raises: what cannot be given back stays counted."""

    async def levels(self, keys: tuple[str, ...] | None) -> list[Level]: ...


def longest_hold(limits: Iterable[Limit]) -> float:
    """For how many seconds permits that are charged to all of `limits` may be kept."""
    holds = [hold_of(limit.rate, strict=limit.strict) for limit in limits if limit.rate]
    return min(holds, default=_LONGEST_HOLD)
