"""What waits, line by line, as operators are shown it."""

from relay.delivery.backlog import MOST_LINES, Backlog, LineBacklog, backlog_of, merged
from relay.delivery.lanes import Lane, Line, Way
from relay.delivery.path import Path
from relay.limits.shapes import Shape
from relay.routing.mx import Exchange
from relay.routing.plan import Destination
from relay.routing.sites import Site


def way_to(
    name: str, source: str = "192.0.2.1", provider: str = "", waiting: int = 0, connections: int = 0
) -> Way:
    site = Site("mx", name, (Exchange(10, name),), provider=provider)
    way = Way(Path(source, 4, "relay.test", Destination("mx"), site), Line("key"), Shape(20, 100))
    way.waiting, way.connections = waiting, connections
    return way


def test_ways_of_one_source_and_provider_are_one_line():
    ways = [
        way_to("mx1.google.test", provider="google", waiting=3, connections=1),
        way_to("mx2.google.test", provider="google", waiting=4, connections=2),
        way_to("mx1.google.test", "192.0.2.2", "google", waiting=1),
        way_to("mx.example.test", waiting=2),
        way_to("mx.idle.test"),
    ]
    assert backlog_of(ways, unplaced=6, now=0.0) == Backlog(
        lines=(
            LineBacklog("192.0.2.1", "google", "google", 7, 3),
            LineBacklog("192.0.2.1", "mx.example.test", "", 2, 0),
            LineBacklog("192.0.2.2", "google", "google", 1, 0),
        ),
        sources=(("192.0.2.1", 9), ("192.0.2.2", 1)),
        unplaced=6,
    )


def test_what_holds_mail_up_is_told():
    way = way_to("mx.example.test", waiting=2)
    lane = Lane("news", "main", way, ("set:news",), held_by="set:news")
    lane.waiting.append(object())  # type: ignore[arg-type]  # nothing of it is looked at
    way.lanes["key"] = lane  # type: ignore[index]
    way.down_until = 10.0
    (line,) = backlog_of([way], 0, now=5.0).lines
    assert (line.held_by, line.is_down) == ("set:news", True)
    assert not backlog_of([way], 0, now=11.0).lines[0].is_down


def test_the_backlogs_of_workers_add_up():
    one = Backlog((LineBacklog("a", "x", "", 3, 1, "set:news"),), (("a", 3),), 1)
    other = Backlog(
        (LineBacklog("a", "x", "", 2, 1), LineBacklog("a", "y", "", 9, 0)), (("a", 11), ("b", 1)), 2
    )
    assert merged([one, other]) == Backlog(
        (LineBacklog("a", "y", "", 9, 0), LineBacklog("a", "x", "", 5, 2, "set:news")),
        (("a", 14), ("b", 1)),
        3,
    )


def test_only_the_longest_lines_are_told_but_every_source():
    ways = [way_to(f"mx{n}.test", f"192.0.2.{n % 7}", waiting=n + 1) for n in range(200)]
    backlog = backlog_of(ways, 0, 0.0)
    assert len(backlog.lines) == MOST_LINES
    assert backlog.lines[0].waiting == 200
    assert sum(count for _, count in backlog.sources) == sum(range(201))
