"""What went wrong at a peer, remembered for a while and for so many peers: a bounded map."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key that leave after `seconds`; beyond `limit` the oldest leave first."""

    def __init__(self, seconds: float, limit: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._known: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def get(self, key: K) -> V | None:
        """What is remembered of `key`; None where nothing is."""
        known = self._known.get(key)
        return known[1] if known is not None and known[0] > self._clock() else None

    def put(self, key: K, value: V) -> None:
        self._known.pop(key, None)
        while len(self._known) >= self._limit:
            self._known.pop(next(iter(self._known)))
        self._known[key] = self._clock() + self._seconds, value

    def discard(self, key: K) -> None:
        self._known.pop(key, None)

    def in_force(self, most: int) -> list[tuple[K, V, float]]:
        """What is remembered, newest first, with the seconds for which it will be."""
        now = self._clock()
        newest = reversed(self._known.items())
        found = ((key, value, until - now) for key, (until, value) in newest if until > now)
        return [each for each, _ in zip(found, range(most), strict=False)]
