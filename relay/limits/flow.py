"""How much went lately: recipients per second in the busiest ten seconds of the last minute.

What a provider complains of is a rate that nobody may have configured; then what flowed is what is
cut. A burst counts by its own rate, and not by that of the minute it came in. Pure; the caller's
monotonic seconds. Counting costs a comparison and an addition.
"""

_SPAN = 10.0
_SPANS = 6


class Flow:
    """Counts recipients by the ten seconds in which they went."""

    __slots__ = ("_before", "_count", "_span")

    def __init__(self) -> None:
        self._span = 0
        self._count = 0
        self._before: tuple[tuple[int, int], ...] = ()

    def add(self, count: int, now: float) -> None:
        """`count` recipients have gone now."""
        span = int(now / _SPAN)
        if span != self._span:
            self._before = (*self._recent(span), (self._span, self._count))[-_SPANS:]
            self._span, self._count = span, 0
        self._count += count

    def rate(self, now: float) -> float:
        """Recipients per second; 0 where nothing went in the last minute."""
        span = int(now / _SPAN)
        counts = [count for _, count in self._recent(span)]
        if span - self._span < _SPANS:
            counts.append(self._count)
        return max(counts, default=0) / _SPAN

    def total(self, now: float) -> int:
        """How many in the last minute, of which up to ten seconds may be missing."""
        span = int(now / _SPAN)
        count = self._count if span - self._span < _SPANS else 0
        return count + sum(count for _, count in self._recent(span))

    def _recent(self, span: int) -> tuple[tuple[int, int], ...]:
        return tuple(one for one in self._before if span - one[0] < _SPANS)
