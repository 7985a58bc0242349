"""How one destination goes through the events of the log: what may be told next, what is done, and
how far it has come. Pure.

Events are offered in the order of their numbers. Of one *line* (a message) an event is handed out
once the one before it is done, so that a destination hears of a message in order; other lines do
not wait for it. The cursor never passes an event that is not done: what was handed out when the
process died is handed out again.
"""

from collections import deque
from collections.abc import Collection
from heapq import heapify, heappop, heappush


class Course:
    """`upto` and `ahead` are those of a stored cursor. `MOST_AHEAD` bounds what may be done beyond
    an event that takes long."""

    MOST_AHEAD = 10_000

    def __init__(self, upto: int, ahead: Collection[int] = ()) -> None:
        self._read = upto
        self._ahead = {number for number in ahead if number > upto}
        self._order: deque[int] = deque()  # wanted ones beyond the cursor, done or not
        self._open: dict[int, str] = {}
        self._lines: dict[str, deque[int]] = {}
        self._ready: list[int] = []  # a heap: the first of each line that is not taken
        self._taken: set[int] = set()

    @property
    def read(self) -> int:
        """The highest number that was offered; it goes on after it."""
        return self._read

    @property
    def upto(self) -> int:
        """All up to here are done."""
        while self._order and self._order[0] not in self._open:
            self._ahead.discard(self._order.popleft())
        return self._order[0] - 1 if self._order else self._read

    def ahead(self) -> tuple[int, ...]:
        """Those beyond `upto` that are done, in order."""
        upto = self.upto
        return tuple(sorted(number for number in self._ahead if number > upto))

    @property
    def open(self) -> int:
        """How many were offered and are not done."""
        return len(self._open)

    @property
    def taken(self) -> int:
        """How many of these are being told."""
        return len(self._taken)

    @property
    def is_wide(self) -> bool:
        """So much is done beyond an event that is not that nothing further is to be offered."""
        return len(self._ahead) >= self.MOST_AHEAD

    @property
    def has_ready(self) -> bool:
        """Whether something may be taken."""
        return bool(self._ready)

    def oldest(self) -> int | None:
        """The lowest number that is not done."""
        self.upto  # noqa: B018 - forgets what is done
        return self._order[0] if self._order else None

    def offer(self, number: int, line: str, *, wanted: bool) -> bool:
        """The next event; whether it is to be told. `ValueError` where it is not beyond the last
        one. A gap in the numbers is what the log has no more."""
        if number <= self._read:
            raise ValueError(f"event {number} comes after {self._read}")
        self._read = number
        if not wanted:
            self._ahead.discard(number)
            return False
        self._order.append(number)
        if number in self._ahead:
            return False
        self._open[number] = line
        queue = self._lines.setdefault(line, deque())
        queue.append(number)
        if len(queue) == 1:
            heappush(self._ready, number)
        return True

    def take(self) -> int | None:
        """The lowest that may be told now; None where there is none."""
        if not self._ready:
            return None
        number = heappop(self._ready)
        self._taken.add(number)
        return number

    def again(self, number: int) -> None:
        """It was taken and is not done: it may be taken again, before all others of its line."""
        self._taken.remove(number)
        heappush(self._ready, number)

    def done(self, number: int) -> None:
        """It was taken; it was told, or is a dead letter now. The next of its line is ready."""
        self._taken.remove(number)
        self._forget(number)
        self._ahead.add(number)

    def drop_upto(self, last: int) -> tuple[int, ...]:
        """Give up those up to `last` that are open and not taken; which they were."""
        waiting = [n for n in self._open if n <= last and n not in self._taken]
        for number in waiting:
            self._forget(number)
        self._ready = [n for n in self._ready if n in self._open]
        heapify(self._ready)
        return tuple(waiting)

    def _forget(self, number: int) -> None:
        line = self._open.pop(number)
        queue = self._lines[line]
        was_first = queue[0] == number
        queue.remove(number)
        if not queue:
            del self._lines[line]
        elif was_first and queue[0] not in self._taken:
            heappush(self._ready, queue[0])
