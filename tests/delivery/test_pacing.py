"""Throttled mail is spaced by its limit's rate, in memory and in the store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.delivery.pacing import KEEP_SECONDS, Pacing
from relay.limits.specs import Limit

_PACING = {"set:a": Limit(Rate(20, 1)), "pool:b": Limit(quota=3600)}


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 10)), min_size=2, max_size=50),
)
def test_heads_under_one_rate_never_ask_closer_than_it_lets_go(
    asks: list[tuple[float, int]],
) -> None:
    pacing = Pacing(_PACING)
    now = 100.0
    last, last_n = 0.0, 0
    for wait, n in asks:
        now += wait / 100
        at = pacing.ask_at("set:a", "rate", n, now, now=100.0)
        assert at >= now
        assert at - last >= last_n / 20 - 1e-9
        last, last_n = at, n


def test_a_lone_lane_asks_exactly_when_the_limit_says() -> None:
    pacing = Pacing(_PACING)
    times = [pacing.ask_at("set:a", "rate", 1, 100 + i * 0.05, now=100.0) for i in range(40)]
    assert times == [100 + i * 0.05 for i in range(40)]


def test_a_lone_lane_whose_permit_went_to_another_process_asks_when_the_next_is_free() -> None:
    pacing, lane = Pacing(_PACING), object()
    assert pacing.ask_at("set:a", "rate", 1, 100.0, lane, now=100.0) == 100.0
    assert pacing.ask_at("set:a", "rate", 1, 100.01, lane, now=100.0) == 100.01
    assert pacing.ask_at("set:a", "rate", 1, 100.02, lane, now=100.0) == 100.02
    # One that comes behind it waits for its turn, and so does the first one then.
    assert pacing.ask_at("set:a", "rate", 1, 100.02, object(), now=100.0) == pytest.approx(100.07)
    assert pacing.ask_at("set:a", "rate", 1, 100.03, lane, now=100.0) == pytest.approx(100.12)


def test_a_lane_keeps_what_may_go_soon() -> None:
    pacing = Pacing(_PACING)
    assert pacing.capacity("set:a", "rate", 5000) == 20 * KEEP_SECONDS
    assert pacing.capacity("set:a", "rate", 100) == 100
    assert pacing.capacity("pool:b", "quota", 5000) == 30


def test_a_quota_that_frees_at_a_time_is_asked_at_that_time() -> None:
    pacing = Pacing(_PACING)
    assert [pacing.ask_at("pool:b", "quota", 1, 500.0, now=100.0) for _ in range(3)] == [500.0] * 3


def test_one_that_waits_in_the_store_has_no_turn_that_others_would_wait_behind() -> None:
    """Each time that it came back it stood at the end of the line, and nothing ever went."""
    pacing = Pacing({"set:slow": Limit(Rate(1, 60))})
    assert pacing.ask_at("set:slow", "rate", 1, 160.0, object(), now=100.0) == 160.0
    assert pacing.line_at(["set:slow"], 1, 160.0) is None


def test_those_beyond_what_memory_keeps_all_come_again_when_the_line_before_them_is_gone() -> None:
    pacing = Pacing({"set:slow": Limit(Rate(1, 20))})
    assert pacing.ask_at("set:slow", "rate", 1, 120.0, object(), now=100.0) == 120.0
    for _ in range(3):
        assert pacing.line_at(["set:slow"], 1, 100.0) == ("set:slow", "rate", 140.0)
    assert pacing.line_at(["set:slow"], 1, 140.0) is None
