"""One limited key with its state, and what a message or a lease does to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from relay.limits.pace import Pace
from relay.limits.quota import Grant, QuotaLedger
from relay.limits.shares import RateShare
from relay.limits.specs import Limit


@dataclass(slots=True)
class Gate:
    """One limited key. Where other nodes share its rate, `pace` is that of this node's `share`."""

    key: str
    limit: Limit
    pace: Pace | None = None
    quota: QuotaLedger | None = None
    share: RateShare | None = None

    def is_idle(self, now: float) -> bool:
        """Whether it says the same as one that was never used."""
        return (self.pace is None or self.pace.is_idle(now)) and (
            self.quota is None or self.quota.is_idle
        )


class Spent(NamedTuple):
    """What a message has taken of a quota, to be undone where another limit refuses it."""

    ledger: QuotaLedger
    grant: Grant
    block: int


@dataclass(slots=True)
class Terms:
    """Of one lease: permits are spent `hold` seconds after they were granted at the latest, all of
    them by `until`; `ahead` recipients are yet to be asked for."""

    hold: float = 0.0
    until: float = inf
    ahead: int = 0

    def agree(self, now: float) -> None:
        """Permits are granted at `now`."""
        self.until = min(self.until, now + self.hold)


def lend(gates: Sequence[Gate], wanted: int, now: float, until: float) -> int:
    """Charge up to `wanted` permits that go at `until` at the latest, if all of `gates` can spare
    them; how many that are."""
    for gate in gates:
        if gate.pace is not None:
            wanted = min(wanted, gate.pace.spare(now, until))
        if gate.quota is not None:
            wanted = min(wanted, gate.quota.spare())
    if wanted <= 0:
        return 0
    for gate in gates:
        if gate.pace is not None:
            gate.pace.lend(wanted, now, until)
            if gate.share is not None:
                gate.share.spent += wanted
        if gate.quota is not None:
            gate.quota.lend(wanted)
    return wanted
