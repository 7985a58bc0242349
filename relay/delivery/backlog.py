"""What waits in the memory of one worker, line by line, as operators are shown it. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from relay.delivery.lanes import Way
from relay.limits.specs import line_key

MOST_LINES = 50


@dataclass(frozen=True, slots=True)
class LineBacklog:
    """Mail that waits for one source and one line: a provider (`provider` names it), or the site of
    none. Over `connections` it goes now; `held_by` is a limit that holds some of it up, and
    `is_down` says that no connection could be had lately."""

    source: str
    line: str
    provider: str
    waiting: int
    connections: int
    held_by: str = ""
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """`lines` are those with the most mail; `sources` have what waits for each source in all.
    `unplaced` waits for DNS, or for its time, and has no source yet."""

    lines: tuple[LineBacklog, ...] = ()
    sources: tuple[tuple[str, int], ...] = ()
    unplaced: int = 0


def backlog_of(ways: Iterable[Way], unplaced: int, now: float) -> Backlog:
    """`now` in the loop's seconds."""
    sources: Counter[str] = Counter()
    lines: dict[str, LineBacklog] = {}
    for way in ways:
        source, site = way.path.source, way.path.site
        sources[source] += way.waiting
        if not way.waiting and not way.connections:
            continue
        known = lines.get(line_key(source, site.line))
        held = (lane.held_by for lane in way.lanes.values() if lane.waiting and lane.held_by)
        found = LineBacklog(
            source,
            site.line,
            site.provider,
            way.waiting,
            way.connections,
            next(held, ""),
            way.down_until > now,
        )
        lines[line_key(source, site.line)] = found if known is None else _together(known, found)
    most = sorted(lines.values(), key=lambda line: -line.waiting)[:MOST_LINES]
    waiting = tuple((source, count) for source, count in sources.items() if count)
    return Backlog(tuple(most), waiting, unplaced)


def merged(backlogs: Iterable[Backlog]) -> Backlog:
    """Those of several workers as one."""
    sources: Counter[str] = Counter()
    lines: dict[str, LineBacklog] = {}
    unplaced = 0
    for backlog in backlogs:
        unplaced += backlog.unplaced
        for source, count in backlog.sources:
            sources[source] += count
        for line in backlog.lines:
            key = line_key(line.source, line.line)
            lines[key] = _together(lines[key], line) if key in lines else line
    most = sorted(lines.values(), key=lambda line: -line.waiting)[:MOST_LINES]
    return Backlog(tuple(most), tuple(sources.most_common()), unplaced)


def _together(one: LineBacklog, other: LineBacklog) -> LineBacklog:
    return LineBacklog(
        one.source,
        one.line,
        one.provider,
        one.waiting + other.waiting,
        one.connections + other.connections,
        one.held_by or other.held_by,
        one.is_down or other.is_down,
    )
