"""The generic cell rate algorithm: an even flow with a bounded burst, in one float of state.

Owns the arithmetic of one rate, on a clock that the caller reads (seconds, monotonic). It never
sleeps, never reads a clock and never fails: it says from when on something may go.

The state is the theoretical arrival time of the next permit. Each permit moves it by one interval;
a permit may go when the clock is within `burst - 1` intervals of it. A message goes as one: where
one permit is free all of its recipients go, and what they overdrew is paid back by those that
follow, as Amazon SES counts.
"""

from relay.config.units import Rate

_ROUNDING = 1e-6  # of an interval: what floats may lose without costing a permit


class Gcra:
    """One rate. `burst` is how many permits an idle limiter has at once, at least 1.

    It starts at `now` without credit: one permit is free, the burst has yet to be earned.
    """

    __slots__ = ("_arrival", "_burst", "_interval")

    def __init__(self, rate: Rate, burst: int, now: float = 0.0) -> None:
        self._interval = rate.seconds / rate.count
        self._burst = max(1, burst)
        self._arrival = now + (self._burst - 1) * self._interval

    def ready_at(self, now: float) -> float:
        """The earliest time, `now` or later, at which the next message may go."""
        return max(now, self._arrival - (self._burst - 1 + _ROUNDING) * self._interval)

    def take(self, n: float, now: float) -> float:
        """Charge `n` permits; the time from which they may go (`now` where one was free)."""
        at = self.ready_at(now)
        self._arrival = max(self._arrival, now) + n * self._interval
        return at

    def lend(self, n: int, until: float) -> None:
        """Charge `n` permits that go at `until` at the latest, as if they went then."""
        self._arrival = max(self._arrival, until) + n * self._interval

    def restore(self, n: float) -> None:
        """Uncharge `n` permits that were charged a moment ago and have not gone."""
        self._arrival -= n * self._interval

    def spent(self, now: float) -> float:
        """Permits charged and not yet earned back; above the burst while overdrawn."""
        return max(0.0, self._arrival - now) / self._interval

    def adapt(self, rate: Rate, burst: int, now: float) -> None:
        """Change the rate; credit and debt are kept, counted in permits. No credit is given."""
        free = min(self._burst - self.spent(now), max(1, burst))
        self._interval = rate.seconds / rate.count
        self._burst = max(1, burst)
        self._arrival = now + (self._burst - free) * self._interval
