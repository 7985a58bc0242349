"""Where mail waits in memory, and for what: lanes, the ways they use, the lines ways belong to.

A *lane* is the FIFO of one configuration set and pool on one path; a limit holds up a lane and no
other. A *way* is a path (a source address to a site) in use: its lanes take turns, its connections
serve them all. A *line* is a source and a provider (or the site of none) with all ways between
them; receivers count its connections. Plain state, and the decisions on it; no I/O, no clock but
the caller's.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from relay.delivery.failures import ConnectFailure
from relay.delivery.path import Path
from relay.limits.flow import Flow
from relay.limits.shapes import Shape
from relay.routing.sites import Site
from relay.store.values import Delivery, Message, QueueFilter

INITIAL_WINDOW = 5.0  # connections to a way that has not proved itself, as Postfix does
QUANTUM = 20  # messages that a connection carries before it makes room for a way that has none
FIRST_BACK_OFF = 30.0
LONGEST_BACK_OFF = 900.0
_FRONT = 32

NOTHING_PAID: frozenset[int] = frozenset()

Load = tuple[Delivery, ...]
"""Deliveries of one message that go in one transaction."""

LaneKey = tuple[str, str, str, Site, str]
"""Configuration set, pool, source, site, and the route that leads there."""


@dataclass(eq=False, slots=True)
class Line:
    """A source to a provider or a site, and the ways that wait for one of its connections."""

    key: str
    connections: int = 0
    flow: Flow = field(default_factory=Flow)
    wanting: deque["Way"] = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class Lane:
    """Deliveries of one configuration set and pool on one way. `keys` are those of its limits;
    empty where it has none."""

    configuration_set: str
    pool: str
    way: "Way"
    keys: tuple[str, ...]
    waiting: deque[Delivery] = field(default_factory=deque)
    asking: bool = False
    in_turn: bool = False
    held_by: str = ""
    held_kind: str = ""
    held_until: float = 0.0
    timer: asyncio.TimerHandle | None = None
    paid: frozenset[int] = (
        NOTHING_PAID  # whose permits are spent already, though they have not gone
    )
    is_short: bool = False  # of room: mail was kept out, and waits in the store

    @property
    def is_ready(self) -> bool:
        return bool(self.waiting) and not self.asking and not self.held_by

    @property
    def labels(self) -> tuple[str, str, str]:
        """Pool, source and provider as metrics name them."""
        path = self.way.path
        return self.pool, path.source, path.site.label

    def put(self, delivery: Delivery) -> None:
        """Add a delivery at the end, and take a turn where the lane is ready."""
        self.waiting.append(delivery)
        self.way.waiting += 1
        self.take_turn()

    def put_first(self, delivery: Delivery) -> None:
        self.waiting.appendleft(delivery)
        self.way.waiting += 1

    def take(self) -> Delivery:
        """The head of the lane. Raises `IndexError` where nothing waits."""
        delivery = self.waiting.popleft()
        self.way.waiting -= 1
        return delivery

    def ends_with(self, message: Message) -> bool:
        """Whether the last that waits is of this message."""
        return bool(self.waiting) and self.waiting[-1].message.id == message.id

    def take_load(self) -> Load:
        """The head of the lane, and those behind it that may go in the same transaction: of the
        same message, and no more recipients than a transaction may have. What was paid for together
        goes together. Raises `IndexError` where nothing waits."""
        first = self.take()
        if not self.waiting or self.waiting[0].message.id != first.message.id:
            return (first,)
        load = [first]
        room = self.way.shape.recipients - len(first.recipients)
        while self.waiting and self._may_join(self.waiting[0], first):
            room -= len(self.waiting[0].recipients)
            if room < 0:
                break
            load.append(self.take())
        return tuple(load)

    def _may_join(self, delivery: Delivery, first: Delivery) -> bool:
        """Whether it may share a transaction. An address in UTF-8 keeps to itself: a peer that does
        not take it refuses the whole transaction."""
        return (
            delivery.message.id == first.message.id
            and (delivery.id in self.paid) == (first.id in self.paid)
            and _is_ascii(delivery)
            and _is_ascii(first)
        )

    def put_load_first(self, load: Load) -> None:
        """What was taken together comes first again."""
        for delivery in reversed(load):
            self.put_first(delivery)

    def take_last(self, count: int) -> list[Delivery]:
        """Up to `count` deliveries from the end, in their order."""
        taken = [self.waiting.pop() for _ in range(min(count, len(self.waiting)))]
        self.way.waiting -= len(taken)
        taken.reverse()
        return taken

    def take_matching(self, which: QueueFilter) -> list[Delivery]:
        """Whatever `which` names, from anywhere in the lane, in order."""
        if which.configuration_set not in ("", self.configuration_set):
            return []
        taken = [delivery for delivery in self.waiting if names(which, delivery)]
        if taken:
            gone = {delivery.id for delivery in taken}
            self.waiting = deque(d for d in self.waiting if d.id not in gone)
            self.way.waiting -= len(taken)
        return taken

    def take_turn(self) -> None:
        """Stand in the way's line, once, where the lane is ready."""
        if not self.in_turn and self.is_ready:
            self.in_turn = True
            self.way.turns.append(self)


@dataclass(eq=False, slots=True)
class Way:
    """A path in use: lanes in turn, connections, and how it fares.

    The window is how many connections it may have. It grows with success and shrinks with failure.
    `failed_cohorts` sums up failures, each as a share of the window, since the last success: at one
    whole cohort the way is down, and all that waits on it is deferred together.
    """

    path: Path
    line: Line
    shape: Shape
    turns: deque[Lane] = field(default_factory=deque)
    parked: list["asyncio.Future[bool]"] = field(default_factory=list)
    lanes: dict[LaneKey, Lane] = field(default_factory=dict)
    waiting: int = 0
    connections: int = 0
    opening: int = 0
    wanting: bool = False
    window: float = INITIAL_WINDOW
    failed_cohorts: float = 0.0
    back_off: float = 0.0
    down_until: float = 0.0
    may_not_open: asyncio.TimerHandle | None = None  # until then: so many were opened lately
    failure: ConnectFailure | None = None  # the last one, for mail that meets a way that is down
    carried: int = 0
    carried_before: int = 0  # when the working set was last looked at
    most: int = 0  # of waiting mail, where it is slower than its share of the working set
    most_until: float = 0.0
    retired: bool = False  # a reload has planned its mail anew: nothing waits here any more

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is open: it may be forgotten, once its back-off is over."""
        return not (self.connections or self.waiting)

    @property
    def a_domain(self) -> str:
        """A recipient domain that something waits for; `""` where nothing waits."""
        return next((lane.waiting[0].domain for lane in self.lanes.values() if lane.waiting), "")

    def next_lane(self) -> Lane | None:
        """The lane whose turn it is, out of the line; None where none is ready."""
        while self.turns:
            lane = self.turns.popleft()
            lane.in_turn = False
            if lane.is_ready:
                return lane
        return None

    def take_all(self) -> list[Delivery]:
        """Everything that waits on this way."""
        return [d for lane in self.lanes.values() for d in lane.take_last(len(lane.waiting))]

    def succeeded(self) -> None:
        """A transaction was done, of any outcome: one connection more may be had."""
        self.carried += 1
        self.failed_cohorts = 0.0
        self.back_off = 0.0
        self.failure = None
        if self.window < self.shape.connections:
            self.window = min(float(self.shape.connections), self.window + 1.0)

    def failed(self, now: float) -> bool:
        """A connection could not be had. True when that makes a whole cohort: the way is down."""
        self.failed_cohorts += 1.0 / max(1.0, self.window)
        self.window = max(1.0, self.window - 1.0)
        if self.failed_cohorts < 0.999:
            return False
        self.fail(now)
        return True

    def fail(self, now: float) -> None:
        """The way is down from `now` on, for longer each time until something succeeds."""
        self.back_off = min(LONGEST_BACK_OFF, self.back_off * 2.0 or FIRST_BACK_OFF)
        self.down_until = now + self.back_off
        # One connection at a time tries, when the time is over; its failure is a cohort of its own.
        self.window = 1.0

    def is_crowded(self, now: float) -> bool:
        """Whether more mail would only wait here for long, and keep other mail out of memory."""
        return self.most_until > now and self.waiting >= self.most

    def is_in_the_way(self) -> bool:
        """Whether a connection that is not used now keeps another way from having one."""
        return any(way is not self for way in self.line.wanting)

    def should_yield(self, carried: int) -> bool:
        """Whether a connection that has just carried its message makes room for another way of the
        same line that has fewer; one that has none waits for a quantum at most."""
        for other in self.line.wanting:
            if other is not self:
                return is_due(self.connections, other.connections, carried)
        return False


def recipients_of(load: Load) -> int:
    """How many recipients a load has."""
    return sum([len(delivery.recipients) for delivery in load])


def _is_ascii(delivery: Delivery) -> bool:
    return all(recipient.address.isascii() for recipient in delivery.recipients)


def names(which: QueueFilter, delivery: Delivery) -> bool:
    """Whether an operator means this delivery, whatever its state."""
    message = delivery.message
    return (
        which.message_id in ("", message.id)
        and which.domain.lower() in ("", delivery.domain)
        and which.configuration_set in ("", message.configuration_set)
        and which.credential in ("", message.credential)
        and which.sender.lower() in ("", message.envelope.reverse_path.lower())
        and _goes_through(which, delivery)
        and (not which.recipient or _goes_to(which.recipient.lower(), delivery))
    )


def _goes_through(which: QueueFilter, delivery: Delivery) -> bool:
    if not which.pool:
        return True
    if delivery.pool:
        return delivery.pool == which.pool
    return delivery.message.configuration_set in which.pool_sets


def _goes_to(address: str, delivery: Delivery) -> bool:
    return any(recipient.address.lower() == address for recipient in delivery.recipients)


def next_in_line(line: deque[Way]) -> Way:
    """Take out of a line the way that has the fewest connections; the first of equals.

    Only the front of a long line is looked at. Raises `ValueError` where nobody stands in it.
    """
    way = min(islice(line, _FRONT), key=lambda way: way.connections)
    line.remove(way)
    way.wanting = False
    return way


def is_due(ours: int, theirs: int, carried: int) -> bool:
    """Whether those who have `ours` connections make room for those who have `theirs`, with one
    that has carried so many messages."""
    return ours > theirs + 1 or (theirs == 0 and carried >= QUANTUM)
