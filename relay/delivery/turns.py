"""Whose turn it is to open a connection, and who makes room for others.

Connections are counted for all processes together (`relay.limits.slots`); here is what one of them
knows: the ways that wait for a connection of their line, and what it was told of others that wait.
A slot that comes goes to the way of the line that has the fewest connections. Never more slots are
asked for than ways stand in line, and one that nobody has a use for is returned at once.
"""

from collections.abc import Callable

from relay.delivery.lanes import Line, Way, is_due, next_in_line
from relay.limits.slots import ANY, Bounds, Slots, SlotSource, SlotWanted


class Turns:
    """`start` opens a connection for a way, or says that it has no use for one. `make_room` is
    called when a connection that is not in use should close. `slots` are None where no other
    process delivers."""

    def __init__(
        self,
        slots: SlotSource | None,
        start: Callable[[Way], bool],
        make_room: Callable[[], None],
    ) -> None:
        self._alone: Slots | None = None
        if slots is None:
            slots = self._alone = Slots()
        self._start = start
        self._make_room = make_room
        self._lines: dict[str, Line] = {}  # those with ways that wait
        self._others: dict[str, SlotWanted] = {}  # what we were told and have done nothing about
        self._seat = slots.seat(self)

    def configure(self, most: int, bounds: Bounds) -> None:
        """Put bounds in force, where nobody else does."""
        if self._alone is not None:
            self._alone.configure(most, bounds)

    def stand_in_line(self, way: Way) -> None:
        """Wait for a connection; it may be granted at once."""
        if not way.wanting:
            way.wanting = True
            way.line.wanting.append(way)
            self._lines[way.line.key] = way.line
            self._seat.want(way.line.key)

    def ended(self, way: Way) -> None:
        """A connection is closed: somebody else may have one."""
        self._others.pop(way.line.key, None)
        self._others.pop(ANY, None)
        self._seat.give_back(way.line.key)

    def is_in_the_way(self, way: Way) -> bool:
        """Whether a connection of `way` that is not in use is to be closed: others wait for it."""
        return way.is_in_the_way() or self._answers(way, lambda _: True)

    def should_yield(self, way: Way, carried: int) -> bool:
        """Whether a connection that has just carried its message is to be closed for others."""
        return way.should_yield(carried) or self._answers(
            way, lambda other: is_due(way.line.connections, other.theirs, carried)
        )

    def _answers(self, way: Way, is_due: Callable[[SlotWanted], bool]) -> bool:
        """Each time that we are told of others, one connection makes room for them."""
        for key in (way.line.key, ANY):
            other = self._others.get(key)
            if other is not None and other.own != way.line.key and is_due(other):
                del self._others[key]
                return True
        return False

    # What the slots tell

    def granted(self, key: str) -> None:
        """A slot has come."""
        line = self._lines.get(key)
        while line is not None and line.wanting:
            if self._start(next_in_line(line.wanting)):
                return
        self._lines.pop(key, None)
        self._seat.give_back(key)

    def wanted(self, notice: SlotWanted) -> None:
        """Others wait for what we have, or do so no more."""
        if notice.is_over:
            self._others.pop(notice.line, None)
        else:
            self._others[notice.line] = notice
            self._make_room()
