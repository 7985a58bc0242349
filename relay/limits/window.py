"""An exact ceiling over any sliding window, in bounded memory.

A GCRA that forgives a late timer lets a few permits more than N into some windows. This count
does not: N in any window of the rate's length, wherever it begins, plus what the last message
overdrew. Permits close together share one entry, which leaves the window when its youngest
does: memory is bounded by `_ENTRIES`, and the error is always on the side of fewer.

A permit that is spent elsewhere, at a time that nobody tells, counts as spent at the last moment at
which it may be: wherever in between it goes, no window holds more than the limit.
"""

from collections import deque

from relay.config.units import Rate

_ENTRIES = 1_000  # so that merging costs at most a thousandth of the rate


class SlidingWindow:
    """Counts the permits of the last `rate.seconds` seconds."""

    __slots__ = ("_entries", "_rate", "_used")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._entries: deque[tuple[float, float, int]] = deque()  # first, last, permits
        self._used = 0

    def ready_at(self, now: float) -> float:
        """The earliest time, `now` or later, at which a permit is free."""
        self._forget(now)
        left = self._used
        if left < self._rate.count:
            return now
        for _, last, permits in self._entries:
            left -= permits
            if left < self._rate.count:
                return last + self._rate.seconds
        return now

    def take(self, n: int, until: float) -> None:
        """Count `n` permits, which go at `until` at the latest."""
        entries = self._entries
        place = self._place(until)
        self._used += n
        if place and until - entries[place - 1][0] < self._rate.seconds / _ENTRIES:
            first, last, permits = entries[place - 1]
            entries[place - 1] = (first, max(last, until), permits + n)
        else:
            entries.insert(place, (until, until, n))

    def restore(self, n: int, until: float) -> None:
        """Uncount permits that were taken with `until` and have not gone."""
        place = self._place(until) - 1
        if place >= 0 and until <= self._entries[place][1]:
            first, last, permits = self._entries[place]
            n = min(n, permits)
            self._entries[place] = (first, last, permits - n)
            self._used -= n

    def _place(self, until: float) -> int:
        """How many entries begin at `until` or earlier; nearly always all of them."""
        place = len(self._entries)
        while place and self._entries[place - 1][0] > until:
            place -= 1
        return place

    def used(self, now: float) -> int:
        """Permits gone within the window that ends at `now`."""
        self._forget(now)
        return self._used

    def adapt(self, rate: Rate) -> None:
        """Change the rate and keep the count."""
        self._rate = rate

    def _forget(self, now: float) -> None:
        entries = self._entries
        while entries and entries[0][1] + self._rate.seconds <= now:
            self._used -= entries.popleft()[2]
