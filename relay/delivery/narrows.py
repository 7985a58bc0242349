"""Where mail waits in the store for want of room: sets and lines that claims pass over.

A *narrow* is noted when mail had to be kept out of a lane: because the lane has as much as may go
soon, or because nothing may go there before a known time. Mail behind a narrow keeps its due time
and is not touched: no claim, no give-back, no question again and again. It is claimed when there is
room. What is noted here is only a guess of where it is not worth looking; forgetting it costs a
look. Bounded: what was noted first is forgotten first.

Times are the loop's monotonic seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from relay.delivery.lanes import Lane
from relay.store.values import Delivery
from relay.store.values import Line as MailLine

V = TypeVar("V")

MOST_LINES = 20_000
_GENTLE_SECONDS = 60.0  # after it has opened a narrow is wide enough for a few, who try it
_GENTLE = 10


def _not_yet() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing goes before `until`, or `is_over`; `why` is a clause for people."""

    until: float
    why: str
    is_over: Callable[[], bool] = _not_yet

    def holds(self, now: float) -> bool:
        return self.until > now and not self.is_over()


class Narrows:
    """`room` says how many more deliveries a lane can use."""

    def __init__(self, room: Callable[[Lane], int]) -> None:
        self._room = room
        self._sets: dict[str, Closed] = {}
        self._lines: dict[MailLine, Closed] = {}
        self._lanes: dict[MailLine, Lane] = {}

    def __len__(self) -> int:
        return len(self._sets) + len(self._lines) + len(self._lanes)

    @property
    def is_crowded(self) -> bool:
        """Whether so many lines are closed that some may be forgotten before they open."""
        return len(self._lines) > MOST_LINES // 2

    def keep_out(self, delivery: Delivery, lane: Lane) -> None:
        """There is no room in `lane` for mail of this line."""
        lane.is_short = True
        _put(self._lanes, _line_of(delivery), lane)

    def close_line(self, delivery: Delivery, until: float, why: str) -> None:
        """Nothing of this line goes before `until`."""
        _put(self._lines, _line_of(delivery), Closed(until, why))

    def close_set(
        self, name: str, until: float, why: str, is_over: Callable[[], bool] = _not_yet
    ) -> None:
        """Nothing of this set goes before `until`, or `is_over`."""
        self._sets[name] = Closed(until, why, is_over)

    def is_closed(self, name: str, now: float) -> bool:
        """Whether nothing of a set may go for a while."""
        closed = self._sets.get(name)
        return closed is not None and closed.holds(now)

    def clear(self) -> None:
        """Everything may have changed: look everywhere again."""
        self._sets.clear()
        self._lines.clear()
        for lane in self._lanes.values():
            lane.is_short = False
        self._lanes.clear()

    def forget_past(self, now: float) -> None:
        """What has opened a while ago is a narrow no more, nor is a lane that nothing waits in."""
        past = now - _GENTLE_SECONDS
        self._sets = {name: c for name, c in self._sets.items() if c.until > past}
        self._lines = {line: c for line, c in self._lines.items() if c.until > past}
        idle = [line for line, lane in self._lanes.items() if _is_over(lane)]
        for line in idle:
            del self._lanes[line]

    def rooms(self, now: float) -> dict[str, int]:
        """How many deliveries of each set that is closed, or was until lately, can be used."""
        self._sets = {name: closed for name, closed in self._sets.items() if not closed.is_over()}
        return {name: 0 if c.until > now else _GENTLE for name, c in self._sets.items()}

    def lines(self, now: float) -> tuple[dict[MailLine, int], tuple[int, ...]]:
        """The lines that are short of room, each with the number of its bottleneck, and how many
        deliveries each bottleneck can use."""
        numbers: dict[int, int] = {}
        widths = [0, _GENTLE]
        narrow = {line: int(c.until <= now) for line, c in self._lines.items()}
        for line, lane in self._lanes.items():
            number = numbers.get(id(lane))
            if number is None:
                number = numbers[id(lane)] = len(widths)
                widths.append(max(0, self._room(lane)))
            narrow.setdefault(line, number)
        return narrow, tuple(widths)

    def why_now(self, line: MailLine, now: float) -> str:
        """What mail of a line that is in the store waits for now, as a clause; `""` where it is
        only its turn, as far as is known here."""
        for closed in (self._sets.get(line[0]), self._lines.get(line)):
            if closed is not None and closed.holds(now):
                return closed.why
        lane = self._lanes.get(line)
        return "" if lane is None or _is_over(lane) else what_is_waited_for(lane)

    def why(self, delivery: Delivery) -> str:
        """What mail of this line waits for, as a clause; `""` where that is not known."""
        line = _line_of(delivery)
        closed = self._sets.get(line[0]) or self._lines.get(line)
        if closed is not None:
            return closed.why
        lane = self._lanes.get(line)
        return "" if lane is None else what_is_waited_for(lane)


def _line_of(delivery: Delivery) -> MailLine:
    return delivery.message.configuration_set, delivery.domain


def _put(known: dict[MailLine, V], line: MailLine, value: V) -> None:
    known.pop(line, None)
    known[line] = value
    if len(known) > MOST_LINES:
        del known[next(iter(known))]


def _is_over(lane: Lane) -> bool:
    return not lane.waiting and not lane.held_by


def level(key: str) -> str:
    """Of a limit's key, as `set`."""
    return key.partition(":")[0]


_OWNERS = {
    "set": "of its configuration set",
    "pool": "of its pool",
    "source": "of its source address",
    "warmup": "of a source address that is warming up",
    "path": "for its destination",
    "temper": "for its destination, which has asked us to slow down",
}


def what_is_waited_for(lane: Lane) -> str:
    """A clause for people, without figures: senders read it when their mail has grown too old."""
    if not lane.held_by:
        return "it waited behind other mail to its destination"
    kind = "quota" if lane.held_kind == "quota" else "rate limit"
    return f"it waited for the {kind} {_OWNERS.get(level(lane.held_by), 'that holds for it')}"
