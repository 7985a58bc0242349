"""Wall-clock time for rolling windows that no clock jump can tear.

Windows are kept in UTC milliseconds because they outlive the process. Within it, this calendar
runs on the monotonic clock and follows the wall by at most one part in a hundred: a clock set
forward a day does not hand out a fresh quota, one set back a day does not freeze it, and an
ordinary correction is absorbed within minutes.
"""

from collections.abc import Callable

_SLEW = 0.01


class Calendar:
    """`clock` gives monotonic seconds, `wall` UTC milliseconds (read once, then only followed)."""

    __slots__ = ("_clock", "_mono", "_ms", "_wall")

    def __init__(self, clock: Callable[[], float], wall: Callable[[], int]) -> None:
        self._clock = clock
        self._wall = wall
        self._mono = clock()
        self._ms = float(wall())

    def now(self) -> int:
        """UTC milliseconds; never earlier than an earlier answer."""
        mono = self._clock()
        elapsed = max(0.0, mono - self._mono) * 1000
        expected = self._ms + elapsed
        most = elapsed * _SLEW
        self._ms = expected + max(-most, min(most, self._wall() - expected))
        self._mono = mono
        return int(self._ms)
