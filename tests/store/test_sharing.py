"""How a limit is divided among nodes: never more than there is, and something for everyone."""

from hypothesis import given
from hypothesis import strategies as st

from relay.store.fleet_values import Share, ShareWish
from relay.store.sharing import Cooling, Holding, fair, settle

NOW = 1_800_000_000_000
DEMANDS = st.lists(st.integers(0, 200), min_size=1, max_size=8)


def wish(keep: int = 0, demand: int = 10, *, limit: int = 10, cooling: int = 0) -> ShareWish:
    return ShareWish("pool:main", limit, 1_000, keep, cooling, demand)


def holding(epoch: int, held: int, demand: int, *, limit: int = 10, since: int = 0) -> Holding:
    return Holding(epoch, limit, 1_000, held, demand, since)


@given(st.integers(0, 300), DEMANDS)
def test_what_is_divided_is_the_limit_or_what_is_asked_for(limit, demands):
    parts = fair(limit, demands)

    assert sum(parts) == min(limit, sum(demands))
    assert all(part <= demand for part, demand in zip(parts, demands, strict=True))


@given(st.integers(0, 300), DEMANDS)
def test_nobody_has_more_than_one_permit_more_than_someone_who_is_not_satisfied(limit, demands):
    parts = fair(limit, demands)
    unsatisfied = [p for p, demand in zip(parts, demands, strict=True) if p < demand]

    assert max(parts) <= min(unsatisfied, default=max(parts)) + 1


def test_who_is_alone_gets_all_that_he_asks_for():
    settlement = settle(1, wish(demand=10), NOW, [], [])

    assert settlement.share == Share("pool:main", 10, limit=10)
    assert settlement.holding == holding(1, 10, 10, since=NOW)


def test_who_comes_second_gets_what_is_free_and_hears_of_the_first():
    settlement = settle(2, wish(demand=8), NOW, [holding(1, 7, 7)], [])

    assert settlement.share == Share("pool:main", 3, (7,), limit=10)


def test_what_was_used_and_is_given_up_cools_for_a_window():
    given_up = settle(1, wish(keep=4, cooling=2, demand=4), NOW, [holding(1, 10, 10)], [])

    assert given_up.share.held == 4
    assert given_up.cooling == Cooling(2, NOW + 1_000)


def test_what_cools_is_nobodys_until_it_has_cooled():
    others = [holding(1, 4, 10)]
    cooling = [Cooling(2, NOW + 300)]

    assert settle(2, wish(), NOW, others, cooling).share == Share("pool:main", 3, (10,), 300, 10)
    assert settle(2, wish(), NOW + 300, others, cooling).share.held == 5


def test_what_another_one_is_due_is_left_to_it():
    others = [holding(1, 0, 10)]

    assert settle(2, wish(keep=4), NOW, [*others, holding(2, 4, 10)], []).share.held == 5


def test_a_node_of_which_the_store_knows_nothing_keeps_nothing():
    others = [holding(1, 10, 10)]

    assert settle(2, wish(keep=6), NOW, others, []).share.held == 0


def test_where_limits_differ_the_lowest_holds():
    settlement = settle(2, wish(demand=20, limit=20), NOW, [holding(1, 0, 6, limit=8)], [])

    assert settlement.share.held == 4
    assert settlement.share.limit == 8


def test_what_a_dead_node_held_counts_and_asks_for_nothing():
    settlement = settle(2, wish(), NOW, [holding(1, 6, 0)], [])

    assert settlement.share == Share("pool:main", 4, limit=10)


def test_who_wants_nothing_and_holds_nothing_has_no_row():
    assert settle(1, wish(demand=0), NOW, [holding(1, 3, 3)], []).holding is None


def test_where_there_is_not_one_for_each_whoever_waited_longest_is_next():
    waiting = [holding(2, 0, 1, limit=1, since=NOW - 10), holding(3, 0, 1, limit=1, since=NOW - 20)]
    asks = wish(demand=1, limit=1)

    given_up = settle(1, asks, NOW, [holding(1, 1, 1, limit=1), *waiting], [])
    assert given_up.share.held == 0
    assert settle(2, asks, NOW, waiting, []).share.held == 0
    assert settle(3, asks, NOW, waiting, []).share.held == 1
