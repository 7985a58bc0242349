"""The pace of one limited thing: strict for what leaves the relay, lenient for what enters it.

Lenient, as Amazon SES accepts: an even flow with one second's worth of burst. Strict, as a
destination sees it: an even flow, at most N in any sliding window of the rate's length, and none
at all for a moment after a start, since nobody remembers what went just before it.

Permits may be lent to another process, which spends them until an agreed time. A strict pace counts
them as gone then, and so its window is wider by the time that they are kept; its flow is slower by
as much, so that it stays even. A lenient pace lends only what it has plenty of.
"""

from math import ceil

from relay.config.units import Rate
from relay.limits.gcra import Gcra
from relay.limits.window import SlidingWindow

_LATENESS = 0.05  # seconds that a timer may be late without slowing a strict pace down
LONGEST_PAUSE = 60.0  # seconds; a slow rate (24/day) must survive being restarted now and then
_STRICT_HOLD = 0.01  # of a window: what lending may cost of the rate
_LONGEST_HOLD = 0.05  # seconds; a strict flow is no less even than that
_LENIENT_HOLD = 0.1  # seconds
_ROUNDING = 1e-6  # of a permit: what floats may lose
_LENIENT_SHARE = 0.02  # of a second's worth: what one loan may be of a burst


def hold_of(rate: Rate, *, strict: bool) -> float:
    """For how many seconds permits of a rate may be kept unspent."""
    return min(_LONGEST_HOLD, _STRICT_HOLD * rate.seconds) if strict else _LENIENT_HOLD


class Pace:
    """One rate with its state, on the caller's monotonic clock (seconds)."""

    __slots__ = ("_began", "_flow", "_opens", "_window", "rate")

    def __init__(self, rate: Rate, *, strict: bool, now: float) -> None:
        self.rate = rate
        self._began = now
        self._opens = now + _pause_after_start(rate) if strict else now
        self._flow = Gcra(rate, _burst(rate, strict), now)
        self._window = SlidingWindow(rate) if strict else None

    def ready_at(self, now: float) -> float:
        """The earliest time, `now` or later, at which the next message may go."""
        at = max(self._opens, self._flow.ready_at(now))
        return at if self._window is None else max(at, self._window.ready_at(now))

    def take(self, n: int, now: float, until: float | None = None) -> float:
        """Charge `n` permits; the time from which they may go, `now` where one was free.

        A strict pace must be free: it counts what goes when it goes, at `until` at the latest
        (None: now). A lenient one counts it now.
        """
        if self._window is None:
            return self._flow.take(n, now)
        until = now if until is None else until
        self._window.take(n, until)
        return self._flow.take(n * self._cost(until - now), now)

    def spare(self, now: float, until: float) -> int:
        """How many permits may be lent until `until` without anyone else missing them."""
        per_second = self.rate.per_second
        if self._window is not None:
            share = int(per_second * min(_LONGEST_HOLD, until - now) + _ROUNDING)
            return max(0, min(share, self.rate.count - self._window.used(now)))
        plenty = per_second / 2 - max(self._flow.spent(now), per_second * (until - now))
        return max(0, int(min(per_second * _LENIENT_SHARE, plenty)))

    def lend(self, n: int, now: float, until: float) -> None:
        """Charge `n` permits, no more than can be spared, that go at `until` at the latest."""
        if self._window is None:
            self._flow.lend(n, until)
        else:
            self.take(n, now, until)

    def restore(self, n: int, now: float, until: float) -> None:
        """Permits that were lent until `until` come back unspent. Too late they stay spent, as do
        those of a lenient rate, which has plenty."""
        if self._window is not None and now <= until:
            self._window.restore(n, until)
            self._flow.restore(n * self._cost(hold_of(self.rate, strict=True)))

    def _cost(self, hold: float) -> float:
        """A permit that may be kept is in the window for longer."""
        return 1.0 + hold / self.rate.seconds

    def used(self, now: float) -> int:
        """Permits spent and not yet free again."""
        return int(self._flow.spent(now)) if self._window is None else self._window.used(now)

    def counted(self, now: float) -> int:
        """Permits that count still, a part of one as a whole one."""
        return self.used(now) if self._window is not None else ceil(self._flow.spent(now))

    def is_idle(self, now: float) -> bool:
        """Whether nothing that was spent counts any more."""
        return self.used(now) == 0 and self._flow.spent(now) == 0 and self._opens <= now

    def adapt(self, rate: Rate, *, now: float) -> None:
        """Change the rate; what was spent stays spent."""
        self.rate = rate
        if self._window is not None:  # a raised rate is not to wait for the pause of the old one
            self._opens = min(self._opens, self._began + _pause_after_start(rate))
        self._flow.adapt(rate, _burst(rate, strict=self._window is not None), now)
        if self._window is not None:
            self._window.adapt(rate)


def _burst(rate: Rate, strict: bool) -> int:
    return 1 + int(rate.per_second * _LATENESS) if strict else max(1, int(rate.per_second))


def _pause_after_start(rate: Rate) -> float:
    """For a rate per second the whole second: no window sees both the old and the new process.
    For a longer one, as long as it takes to make up for what both may have had ahead of the even
    flow."""
    ahead = 2 * (rate.seconds / rate.count + _LATENESS)
    return max(1.0, min(ahead, rate.seconds, LONGEST_PAUSE))
