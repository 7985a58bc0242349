"""When mail that a limit holds up is to ask again, so that a thousand lanes do not ask at once.

The limits (`relay.limits`) decide what goes; this only plans. For each limited key it keeps the
next moment at which the head of a lane asks; the heads that wait under one key are spaced by its
rate, so that about one question is asked for each message that goes.

Pure arithmetic on the caller's monotonic seconds. A plan that proves too early costs one more
question, one too late a short delay; neither breaks a limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.limits.specs import Limit

KEEP_SECONDS = 30.0  # what may go within this time waits in memory
_QUOTA_SECONDS = 3600.0  # a quota that frees again is spent over an hour, not at once
_UNKNOWN_RATE = 50.0  # per second: for a limit that cannot be told (the store is down)


@dataclass(slots=True)
class _Horizon:
    near: float = 0.0  # when the next head may ask, for the sake of the rate
    turn: float = 0.0  # when the last one of them asks, and which one that is
    last: object = None
    closed: float = 0.0  # until then the quota is known to be used up


class Pacing:
    """The horizons of all limited keys of one configuration."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = limits
        self._horizons: dict[str, _Horizon] = {}

    def rate(self, key: str, kind: str) -> float:
        """Recipients per second that the limit lets through in the long run."""
        limit = self._limits.get(key)
        if limit is not None and kind == "rate" and limit.rate is not None:
            return limit.rate.per_second
        if limit is not None and kind == "quota" and limit.quota is not None:
            return max(limit.quota / _QUOTA_SECONDS, 0.001)
        return _UNKNOWN_RATE

    def ask_at(
        self, key: str, kind: str, n: int, earliest: float, head: object = None, *, now: float
    ) -> float:
        """When the head of a lane, of `n` recipients, is to ask again: the limit has just refused
        it until `earliest`. One that was the last in line and had no luck (another process was
        faster) has not used its turn, and does not take a second one for it.

        One that cannot wait in memory for so long has no turn: it comes again from the store, as
        one of many, and would find itself at the end of the line each time.
        """
        horizon = self._horizons.setdefault(key, _Horizon())
        if kind == "quota":  # the store says when; spacing would only be a guess
            horizon.closed = earliest
            return earliest
        free = horizon.turn if head is not None and horizon.last is head else horizon.near
        at = max(free, earliest)
        if at - now > KEEP_SECONDS:
            return at
        horizon.turn, horizon.last = at, head
        horizon.near = at + n / self.rate(key, kind)
        return at

    def line_at(self, keys: Sequence[str], n: int, now: float) -> tuple[str, str, float] | None:
        """The limit that others wait for already, with its kind, and when it is the turn of a new
        head; None where nobody waits, so that it may ask at once."""
        if not self._horizons:
            return None
        for key in keys:
            horizon = self._horizons.get(key)
            if horizon is None:
                continue
            if horizon.closed > now:
                return key, "quota", horizon.closed
            if horizon.near > now:
                return key, "rate", self.ask_at(key, "rate", n, now, now=now)
        return None

    def capacity(self, key: str, kind: str, most: int) -> int:
        """How many deliveries one lane may hold in memory while `key` limits it."""
        return max(10, min(most, int(self.rate(key, kind) * KEEP_SECONDS)))
