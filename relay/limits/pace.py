"""The pace of one limited thing: strict for what leaves the relay, lenient for what enters it.

Lenient, as Amazon SES accepts: an even flow with one second's worth of burst. Strict, as a
destination sees it: an even flow, at most N in any sliding window of the rate's length, and none
at all for a moment after a start, since nobody remembers what went just before it.
"""

from relay.config.units import Rate
from relay.limits.gcra import Gcra
from relay.limits.window import SlidingWindow

_LATENESS = 0.05  # seconds that a timer may be late without slowing a strict pace down
_LONGEST_HOLD = 60.0  # seconds; a slow rate (24/day) must survive being restarted now and then


class Pace:
    """One rate with its state, on the caller's monotonic clock (seconds)."""

    __slots__ = ("_flow", "_opens", "_window", "rate")

    def __init__(self, rate: Rate, *, strict: bool, now: float) -> None:
        self.rate = rate
        self._opens = now + _hold_after_start(rate) if strict else now
        self._flow = Gcra(rate, _burst(rate, strict), now)
        self._window = SlidingWindow(rate) if strict else None

    def ready_at(self, now: float) -> float:
        """The earliest time, `now` or later, at which the next message may go."""
        at = max(self._opens, self._flow.ready_at(now))
        return at if self._window is None else max(at, self._window.ready_at(now))

    def take(self, n: int, now: float) -> float:
        """Charge `n` permits; the time from which they may go, `now` where one was free.

        A strict pace must be free: it counts what goes when it goes.
        """
        if self._window is not None:
            self._window.take(n, now)
        return self._flow.take(n, now)

    def used(self, now: float) -> int:
        """Permits spent and not yet free again."""
        return int(self._flow.spent(now)) if self._window is None else self._window.used(now)

    def adapt(self, rate: Rate, *, now: float) -> None:
        """Change the rate; what was spent stays spent."""
        self.rate = rate
        self._flow.adapt(rate, _burst(rate, strict=self._window is not None), now)
        if self._window is not None:
            self._window.adapt(rate)


def _burst(rate: Rate, strict: bool) -> int:
    return 1 + int(rate.per_second * _LATENESS) if strict else max(1, int(rate.per_second))


def _hold_after_start(rate: Rate) -> float:
    """For a rate per second the whole second: no window sees both the old and the new process.
    For a longer one, as long as it takes to make up for what both may have had ahead of the even
    flow."""
    ahead = 2 * (rate.seconds / rate.count + _LATENESS)
    return max(1.0, min(ahead, rate.seconds, _LONGEST_HOLD))
