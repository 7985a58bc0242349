"""Lanes take turns, ways count failures by cohorts, and those with many connections make room."""

from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.attempt import apart, together
from relay.delivery.failures import ConnectFailure
from relay.delivery.lanes import (
    FIRST_BACK_OFF,
    INITIAL_WINDOW,
    LONGEST_BACK_OFF,
    QUANTUM,
    Lane,
    Line,
    Way,
    recipients_of,
)
from relay.delivery.path import Path
from relay.feedback.settle import results_for_all
from relay.limits.shapes import Shape
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply
from relay.routing.plan import Destination
from relay.routing.sites import Site
from relay.store.values import Delivery
from tests.delivery.outgoing import make_message

MOST = 20


def _way(line: Line | None = None, source: str = "127.0.0.2") -> Way:
    path = Path(source, 4, "relay.test", Destination("mx"), Site("mx", "mx.x.test", ()))
    return Way(path, line or Line(path.line), Shape(MOST, 100))


def _lane(way: Way, name: str) -> Lane:
    lane = Lane(name, "main", way, ())
    way.lanes[(name,)] = lane
    return lane


def _delivery(number: int) -> Delivery:
    message = make_message("b@x.test")
    return Delivery(number, message, "x.test", message.envelope.recipients, 0)


def _next(way: Way) -> tuple[str, int] | None:
    lane = way.next_lane()
    if lane is None:
        return None
    delivery = lane.take()
    lane.take_turn()
    return lane.configuration_set, delivery.id


def test_lanes_of_a_way_take_turns_and_each_is_first_in_first_out() -> None:
    way = _way()
    long, short = _lane(way, "long"), _lane(way, "short")
    for number in range(4):
        long.put(_delivery(number))
    short.put(_delivery(10))
    order = [_next(way) for _ in range(6)]
    assert order == [("long", 0), ("short", 10), ("long", 1), ("long", 2), ("long", 3), None]
    assert way.waiting == 0


def test_a_held_lane_does_not_stand_in_the_way_of_others() -> None:
    way = _way()
    held, free = _lane(way, "held"), _lane(way, "free")
    held.put(_delivery(1))
    held.held_by = "set:held"
    free.put(_delivery(2))
    assert _next(way) == ("free", 2)
    assert _next(way) is None
    held.held_by = ""
    held.take_turn()
    assert _next(way) == ("held", 1)


def test_a_lane_stands_in_line_once() -> None:
    way = _way()
    lane = _lane(way, "a")
    for number in range(3):
        lane.put(_delivery(number))
    assert len(way.turns) == 1


def test_what_is_taken_from_the_end_keeps_its_order() -> None:
    way = _way()
    lane = _lane(way, "a")
    for number in range(5):
        lane.put(_delivery(number))
    assert [d.id for d in lane.take_last(2)] == [3, 4]
    assert way.waiting == 3
    assert [d.id for d in way.take_all()] == [0, 1, 2]
    assert way.is_idle


def test_one_failure_does_not_take_a_way_down_but_a_cohort_does() -> None:
    way = _way()
    verdicts = [way.failed(now) for now in range(4)]
    assert verdicts == [False, False, False, True]
    assert way.down_until == 3 + FIRST_BACK_OFF
    assert way.window == 1


def test_a_success_in_between_begins_a_new_cohort() -> None:
    way = _way()
    for now in range(30):
        assert not way.failed(float(now))
        way.succeeded()


def test_after_the_back_off_one_failure_is_a_cohort_and_the_time_doubles_to_a_bound() -> None:
    way = _way()
    while not way.failed(0.0):
        pass
    times = []
    for _ in range(8):
        assert way.failed(1000.0)
        times.append(way.down_until - 1000.0)
    assert times[:3] == [60.0, 120.0, 240.0]
    assert times[-1] == LONGEST_BACK_OFF
    way.failure = ConnectFailure("connect", Reply(451, "4.4.1", "x"), "", "refused")
    way.succeeded()
    assert way.back_off == 0.0
    assert way.failure is None


def test_the_window_grows_with_success_up_to_what_the_destination_may_have() -> None:
    way = _way()
    assert way.window == INITIAL_WINDOW
    for _ in range(50):
        way.succeeded()
    assert way.window == MOST


def test_a_way_with_more_connections_makes_room_for_one_with_fewer() -> None:
    line = Line("127.0.0.2/mx.x.test")
    many, few = _way(line), _way(line, "127.0.0.3")
    many.connections, few.connections = 5, 2
    assert not many.should_yield(1)
    line.wanting.append(few)
    assert many.should_yield(1)
    many.connections = 3
    assert not many.should_yield(1)


def test_the_last_connection_is_handed_over_after_a_quantum_not_after_each_message() -> None:
    line = Line("127.0.0.2/mx.x.test")
    ours, theirs = _way(line), _way(line, "127.0.0.3")
    ours.connections = 1
    line.wanting.append(theirs)
    assert not ours.should_yield(QUANTUM - 1)
    assert ours.should_yield(QUANTUM)


# What goes in one transaction


def _siblings(*recipients: tuple[str, ...], first: int = 1) -> list[Delivery]:
    """Deliveries of one message, one for each group of recipients."""
    message = make_message(*(one for group in recipients for one in group))
    return [
        Delivery(first + n, message, group[0].partition("@")[2], tuple(map(Recipient, group)), 0)
        for n, group in enumerate(recipients)
    ]


def test_deliveries_of_one_message_that_stand_together_are_one_load() -> None:
    lane = _lane(_way(), "a")
    ours, others = _siblings(("a@x.test",), ("b@y.test",)), _siblings(("c@x.test",), first=9)
    for delivery in [*ours, *others]:
        lane.put(delivery)
    assert lane.take_load() == tuple(ours)
    assert lane.take_load() == tuple(others)
    assert lane.way.waiting == 0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 100))
def test_a_load_is_in_order_and_no_larger_than_a_transaction_unless_one_alone_is(
    sizes: list[int], most: int
) -> None:
    way = _way()
    way.shape = Shape(MOST, 100, recipients=most)
    lane = _lane(way, "a")
    groups = [tuple(f"r{m}@d{n}.test" for m in range(size)) for n, size in enumerate(sizes)]
    deliveries = _siblings(*groups)
    for delivery in deliveries:
        lane.put(delivery)
    taken = []
    while lane.waiting:
        load = lane.take_load()
        assert recipients_of(load) <= most or len(load) == 1
        taken += load
    assert taken == deliveries


def test_what_was_paid_for_together_goes_together_and_nothing_joins_it() -> None:
    lane = _lane(_way(), "a")
    deliveries = _siblings(("a@x.test",), ("b@y.test",), ("c@z.test",))
    lane.put_load_first(tuple(deliveries))
    lane.paid = frozenset({1, 2})
    assert [delivery.id for delivery in lane.take_load()] == [1, 2]
    assert [delivery.id for delivery in lane.take_load()] == [3]


def test_an_address_in_utf8_shares_no_transaction() -> None:
    lane = _lane(_way(), "a")
    for delivery in _siblings(("ü@x.test",), ("b@y.test",), ("c@z.test",)):
        lane.put(delivery)
    assert [len(lane.take_load()) for _ in range(2)] == [1, 2]


def test_results_are_told_apart_again_by_delivery() -> None:
    load = tuple(_siblings(("a@x.test", "b@x.test"), ("c@y.test",)))
    whole = together(load)
    assert [one.address for one in whole.recipients] == ["a@x.test", "b@x.test", "c@y.test"]
    results = results_for_all(whole, Reply(250, "2.0.0", "ok"), "end")
    parts = [(d.id, [r.recipient.address for r in own]) for d, own in apart(load, results)]
    assert parts == [(1, ["a@x.test", "b@x.test"]), (2, ["c@y.test"])]
