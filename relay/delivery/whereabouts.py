"""Where the deliveries of one message are in the memory of a worker, and what holds them there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from relay.delivery.lanes import Lane, Way
from relay.store.values import Delivery

Doing = Literal[
    "attempted", "in line", "limited", "no connection", "asking DNS", "not due", "stored"
]
MOST_FOUND = 100


@dataclass(frozen=True, slots=True)
class Found:
    """One delivery in memory.

    `doing` is what becomes of it: it is being attempted; it stands in its lane (at `position`, from
    1), for a connection, for the limit `held_by`, or since no connection to its line could be had
    (`why`); it waits for DNS, or for its time; or its outcome is being stored. `seconds` is for how
    long it has been attempted, else until something happens, 0 where nobody knows.
    """

    delivery_id: int
    doing: Doing
    source: str = ""
    line: str = ""
    position: int = 0
    held_by: str = ""
    why: str = ""
    seconds: float = 0.0
    connections: int = 0


def in_lanes(lanes: Iterable[Lane], message_id: str, now: float) -> Iterator[Found]:
    """Those that stand in lanes; `now` in the loop's seconds."""
    for lane in lanes:
        for position, delivery in enumerate(lane.waiting, 1):
            if delivery.message.id == message_id:
                yield _in_lane(lane, lane.way, delivery, position, now)


def _in_lane(lane: Lane, way: Way, delivery: Delivery, position: int, now: float) -> Found:
    doing: Doing = "in line"
    seconds, why = 0.0, ""
    if lane.held_by:
        doing, seconds = "limited", max(0.0, lane.held_until - now)
    elif way.failure is not None:
        doing, why = "no connection", str(way.failure.reply)
        seconds = max(0.0, way.down_until - now)
    return Found(
        delivery.id,
        doing,
        way.path.source,
        way.path.site.line,
        position,
        lane.held_by,
        why,
        round(seconds, 3),
        way.connections,
    )
