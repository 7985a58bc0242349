"""Who may have a connection to a destination: so many in all, so many of each line, exactly.

A line is whom a receiver counts connections of: a source together with a provider, or with a site
of none (`relay.limits.specs.line_key`).

One `Slots` counts for all processes that deliver. Each has a seat: it asks for one slot for each
connection that it wants to open, is granted it when its turn has come, and gives it back when the
connection is closed. Whoever has the fewest connections to a line comes first, then whoever asked
first: nobody who has none waits behind those who have many.

Nothing is taken away. Those who hold slots that others wait for are told so, with how many those
others have: one connection that is due closes for each time that it is told. All holders are told,
so one that is stuck in a slow transaction does not keep others waiting where another could yield.
The slots of a process that died are free at once.

Pure counting: no clock, no waiting, no I/O. What is said goes between processes as plain values:
`WantSlot` and `ReturnSlot` one way, `SlotGranted` and `SlotWanted` the other.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

ANY = ""  # the queue of those who wait because all connections are in use
_NOBODY = -1

Bounds = Callable[[str], int]
"""How many connections a line may have, by its key."""

_FRONT = 32  # only so much of a long queue is compared


@dataclass(frozen=True, slots=True)
class WantSlot:
    """One connection to `line` is wanted."""

    line: str


@dataclass(frozen=True, slots=True)
class ReturnSlot:
    """One connection to `line` is closed, or not wanted any more."""

    line: str


@dataclass(frozen=True, slots=True)
class SlotGranted:
    """One connection to `line` may be opened."""

    line: str


@dataclass(frozen=True, slots=True)
class SlotWanted:
    """Someone with `theirs` connections waits for one to `line` (`ANY`: for any to be closed).

    `own` is the line for which this process itself waits, empty where another one does. Nobody
    waits any more where `theirs` is negative.
    """

    line: str
    theirs: int
    own: str = ""

    @property
    def is_over(self) -> bool:
        return self.theirs < 0


class Holder(Protocol):
    """Who is told. Either may be called within `want` and `give_back`."""

    def granted(self, line: str) -> None: ...

    def wanted(self, notice: SlotWanted) -> None: ...


class Seat(Protocol):
    """What one process asks of the slots."""

    def want(self, line: str) -> None:
        """Ask for one slot; the holder is told when it is granted. Not to be taken back: a slot
        that is of no use any more is returned when it comes."""

    def give_back(self, line: str) -> None:
        """Return one slot."""


class OwnSeat(Seat, Protocol):
    """A seat as the process that counts has it."""

    def leave(self) -> None:
        """The process that sat here has ended: it holds nothing and wants nothing any more."""


class SlotSource(Protocol):
    """Where a process gets its seat: from `Slots`, or from what speaks to them."""

    def seat(self, holder: Holder) -> Seat: ...


@dataclass(eq=False, slots=True)
class _Line:
    key: str
    used: int = 0
    queue: deque["_Wish"] = field(default_factory=deque)  # who waits because the line has its most
    wishes: int = 0  # in either queue


@dataclass(eq=False, slots=True)
class _Wish:
    seat: "_Seat"
    line: _Line


class _Seat:
    """One process: what it holds, and what it was told and has not answered by closing one."""

    __slots__ = ("_slots", "held", "holder", "told")

    def __init__(self, slots: "Slots", holder: Holder) -> None:
        self._slots = slots
        self.holder = holder
        self.held: Counter[str] = Counter()
        self.told: dict[str, SlotWanted] = {}

    def want(self, line: str) -> None:
        self._slots.want(self, line)

    def give_back(self, line: str) -> None:
        self._slots.give_back(self, line)

    def leave(self) -> None:
        """The process has ended: it holds nothing and wants nothing any more."""
        self._slots.leave(self)


class Slots:
    """`most` connections in all, and to each line as many as its bound says; none before
    `configure`."""

    def __init__(self) -> None:
        self._most = 0
        self._bounds: Bounds = _none
        self._restricted: dict[str, int] = {}
        self._share: Callable[[str, int], int] = _whole
        self._used = 0
        self._seats: list[_Seat] = []
        self._lines: dict[str, _Line] = {}
        self._queue: deque[_Wish] = deque()  # who waits because all connections are in use
        self._touched: dict[str, _Line] = {}  # whose queue or count has changed
        self._is_settling = False

    def __repr__(self) -> str:
        waiting = sum(line.wishes for line in self._lines.values())
        return f"<Slots {self._used} of {self._most} used, {waiting} wanted>"

    def seat(self, holder: Holder) -> _Seat:
        """A place for one process more."""
        seat = _Seat(self, holder)
        self._seats.append(seat)
        return seat

    def configure(self, most: int, bounds: Bounds) -> None:
        """Put new bounds in force. Slots above them are not taken away, but not granted again.
        Restrictions stay."""
        self._most, self._bounds = most, bounds
        for line in self._lines.values():
            self._touched[line.key] = line
        self._settle()

    def share(self, part: Callable[[str, int], int]) -> None:
        """Divide the bounds of lines with others: `part` says how many connections to a line may
        be open here, of its bound. Whoever has slots beyond that is told to make room."""
        self._share = part

    def refresh(self, key: str) -> None:
        """The part of a line has changed."""
        line = self._lines.get(key)
        if line is not None:
            self._touched[key] = line
            self._settle()

    def count(self, key: str) -> tuple[int, int]:
        """How many slots of a line are in use, and how many more are waited for."""
        line = self._lines.get(key)
        return (0, 0) if line is None else (line.used, line.wishes)

    def used(self, key: str) -> int:
        """How many slots of a line are in use."""
        line = self._lines.get(key)
        return 0 if line is None else line.used

    def restrict(self, key: str, most: int | None) -> None:
        """Let a line have `most` connections, where its bound is not lower; None: its bound again.

        Slots above that are not taken away, but not granted again. A line with 0 has none.
        """
        if most is None:
            self._restricted.pop(key, None)
        else:
            self._restricted[key] = max(0, most)
        self.refresh(key)

    def _bound(self, line: _Line) -> int:
        bound = self._bounds(line.key)
        return min(self._share(line.key, bound), self._restricted.get(line.key, bound))

    # What seats ask

    def want(self, seat: _Seat, key: str) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key)
        line.wishes += 1
        line.queue.append(_Wish(seat, line))
        self._touched[key] = line
        self._settle()

    def give_back(self, seat: _Seat, key: str) -> None:
        if not seat.held[key]:
            return  # of a seat that was left
        seat.held[key] -= 1
        if not seat.held[key]:
            del seat.held[key]
        self._free(self._lines[key], 1)
        # It has done what it was told to do; where more are wanted it is told again.
        seat.told.pop(key, None)
        seat.told.pop(ANY, None)
        self._settle()

    def leave(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        for queue in (self._queue, *(line.queue for line in self._lines.values())):
            for wish in [wish for wish in queue if wish.seat is seat]:
                queue.remove(wish)
                wish.line.wishes -= 1
                self._touched[wish.line.key] = wish.line
        for key, count in seat.held.items():
            self._free(self._lines[key], count)
        seat.held.clear()
        self._settle()

    def _free(self, line: _Line, count: int) -> None:
        line.used -= count
        self._used -= count
        self._touched[line.key] = line

    # Whose turn it is

    def _settle(self) -> None:
        """Grant what can be granted, then tell those who are in the way.

        Whoever is granted a slot may return it at once, or want another: that is settled here too.
        """
        if self._is_settling:
            return
        self._is_settling = True
        told: dict[str, _Line] = {}
        try:
            while self._touched:
                key, line = self._touched.popitem()
                told[key] = line
                self._advance(line)
                self._grant()
        finally:
            self._is_settling = False
        for line in told.values():
            self._tell(line.key, line.queue, is_above=self._is_above(line))
            if not line.used and not line.wishes:
                self._lines.pop(line.key, None)
        self._tell(ANY, self._queue)

    def _advance(self, line: _Line) -> None:
        """As many as the line has room for wait only for the bound of all connections now."""
        ahead = line.wishes - len(line.queue)
        for _ in range(min(len(line.queue), self._bound(line) - line.used - ahead)):
            self._queue.append(_take_first(line.queue))

    def _grant(self) -> None:
        while self._queue and self._used < self._most:
            wish = _take_first(self._queue)
            line = wish.line
            if line.used >= self._bound(line):  # the bound was lowered meanwhile
                line.queue.appendleft(wish)
                continue
            line.wishes -= 1
            line.used += 1
            self._used += 1
            wish.seat.held[line.key] += 1
            self._touched[line.key] = line
            wish.seat.holder.granted(line.key)

    # Who is in the way

    def _is_above(self, line: _Line) -> bool:
        """Whether more is open than this process may have of what it shares."""
        if self._share is _whole or not line.used:
            return False
        return line.used > self._share(line.key, self._bounds(line.key))

    def _tell(self, key: str, queue: deque[_Wish], *, is_above: bool = False) -> None:
        for seat in tuple(self._seats):
            notice = _notice(key, queue, seat)
            if is_above and seat.held[key]:
                notice = SlotWanted(key, 0)  # someone elsewhere waits, as if he had none
            known = seat.told.get(key)
            if notice is None:
                if known is not None:
                    del seat.told[key]
                    seat.holder.wanted(SlotWanted(key, _NOBODY))
            elif notice != known:
                seat.told[key] = notice
                seat.holder.wanted(notice)


def _none(_: str) -> int:
    return 0


def _whole(_: str, bound: int) -> int:
    return bound


def _notice(key: str, queue: deque[_Wish], seat: _Seat) -> SlotWanted | None:
    """Who waits first for what `seat` has; another one sooner than itself."""
    if not queue or not (seat.held if key == ANY else seat.held[key]):
        return None
    front = list(islice(queue, _FRONT))
    wish = _first([w for w in front if w.seat is not seat] or front)
    own = wish.line.key if wish.seat is seat else ""
    return SlotWanted(key, wish.seat.held[wish.line.key], own)


def _first(front: list[_Wish]) -> _Wish:
    return min(front, key=lambda wish: wish.seat.held[wish.line.key])


def _take_first(queue: deque[_Wish]) -> _Wish:
    wish = _first(list(islice(queue, _FRONT)))
    queue.remove(wish)
    return wish
