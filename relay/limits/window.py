"""An exact ceiling over any sliding window, in bounded memory.

A GCRA that forgives a late timer lets a few permits more than N into some windows. This count
does not: N in any window of the rate's length, wherever it begins, plus what the last message
overdrew. Permits close together share one entry, which leaves the window when its youngest
does: memory is bounded by `_ENTRIES`, and the error is always on the side of fewer.
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

    def take(self, n: int, now: float) -> None:
        """Count `n` permits as gone at `now`."""
        entries = self._entries
        first = now
        if entries and now - entries[-1][0] < self._rate.seconds / _ENTRIES:
            first, _, permits = entries.pop()
            entries.append((first, now, permits + n))
        else:
            entries.append((now, now, n))
        self._used += n

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
