"""What went wrong at a peer, remembered for a while and for so many peers: a bounded set."""

from collections.abc import Callable, Hashable


class Remembered:
    """A set whose entries leave after `seconds`; beyond `limit` the oldest leave first."""

    def __init__(self, seconds: float, limit: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, key: Hashable) -> bool:
        return self._until.get(key, 0.0) > self._clock()

    def add(self, key: Hashable) -> None:
        self._until.pop(key, None)
        while len(self._until) >= self._limit:
            self._until.pop(next(iter(self._until)))
        self._until[key] = self._clock() + self._seconds

    def discard(self, key: Hashable) -> None:
        self._until.pop(key, None)
