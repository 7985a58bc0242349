"""Halved by a complaint, grown back by steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.limits.temper import CONNECTIONS, RATE, ROUND_SECONDS, Bounds, Temper

_BASES = st.floats(0.001, 10_000)
_BOUNDS = st.sampled_from([RATE, CONNECTIONS])


def test_a_complaint_halves_what_was_allowed() -> None:
    assert Temper.begin(20.0, 0.0, 300, 0.0).value == 10.0


def test_where_less_flowed_than_was_allowed_that_is_halved() -> None:
    temper = Temper.begin(20.0, 4.0, 300, 0.0)
    assert (temper.value, temper.base) == (2.0, 20.0)


def test_a_burst_of_complaints_from_what_was_under_way_is_one_cut() -> None:
    temper = Temper.begin(20.0, 0.0, 300, 100.0)
    assert not any(temper.is_due(began, 100.0 + began / 10) for began in range(50, 100))
    assert temper.value == 10.0


def test_what_began_after_the_cut_cuts_again_once_the_round_is_over() -> None:
    temper = Temper.begin(20.0, 0.0, 300, 100.0)
    assert not temper.is_due(105.0, 100.0 + ROUND_SECONDS - 1)
    assert temper.is_due(105.0, 100.0 + ROUND_SECONDS)
    temper.cut(10.0, 300, 100.0 + ROUND_SECONDS)
    assert temper.value == 5.0


def test_it_grows_back_by_equal_steps_each_after_an_interval_without_complaint() -> None:
    temper = Temper.begin(20.0, 0.0, 300, 0.0)
    values = []
    for n in range(1, 6):
        assert not temper.recover(n * 300 - 1.0)
        assert temper.recover(n * 300.0)
        values.append(temper.value)
    assert values == [12.0, 14.0, 16.0, 18.0, 20.0]
    assert temper.is_over


def test_a_complaint_within_the_round_puts_recovery_off() -> None:
    temper = Temper.begin(20.0, 0.0, 300, 0.0)
    temper.is_due(5.0, 10.0)
    assert not temper.recover(305.0)
    assert temper.recover(310.0)


def test_after_a_deep_cut_it_does_not_jump_back_into_what_was_too_much() -> None:
    temper = Temper.begin(64.0, 0.0, 300, 0.0)
    now = 0.0
    for _ in range(5):
        now += ROUND_SECONDS
        assert temper.is_due(now - 1, now)
        temper.cut(temper.value, 300, now)
    assert temper.value == 1.0
    temper.recover(now + 300)
    assert temper.value <= 2.5


def test_connections_are_whole_steps_and_never_none() -> None:
    temper = Temper.begin(3.0, 3.0, 600, 0.0, CONNECTIONS)
    assert temper.value == 1.5
    temper.cut(1.0, 600, 100.0)
    assert int(temper.value) == 1
    temper.recover(700.0)
    assert temper.value >= 2.0


@given(_BASES, st.floats(0, 20_000), _BOUNDS)
def test_the_first_cut_leaves_something_and_at_most_half(
    base: float, flowed: float, bounds: Bounds
) -> None:
    temper = Temper.begin(base, flowed, 300, 0.0, bounds)
    assert 0 < temper.value <= base / 2


@given(
    _BASES,
    _BOUNDS,
    st.lists(st.tuples(st.floats(0, 900), st.booleans(), st.floats(0, 20_000)), max_size=60),
)
def test_whatever_happens_it_stays_above_nothing_and_below_the_base(
    base: float, bounds: Bounds, events: list[tuple[float, bool, float]]
) -> None:
    temper = Temper.begin(base, 0.0, 300, 0.0, bounds)
    now = last_cut = 0.0
    for passed, complained, flowed in events:
        now += passed
        before = temper.value
        temper.recover(now)
        assert temper.value >= before  # without a complaint it only grows
        if complained and temper.is_due(now - 0.5, now):
            assert now - last_cut >= ROUND_SECONDS  # one cut for each round
            before = temper.value
            temper.cut(flowed, 300, now)
            assert temper.value <= before
            last_cut = now
        assert min(base / 2, base / 64) <= temper.value <= base


@given(_BASES, _BOUNDS, st.integers(0, 40))
def test_however_deep_the_cut_it_is_over_after_fifty_steps(
    base: float, bounds: Bounds, cuts: int
) -> None:
    temper = Temper.begin(base, 0.0, 60, 0.0, bounds)
    for n in range(cuts):
        temper.cut(temper.value, 60, n * 30.0)
    assert temper.recover(cuts * 30.0 + 51 * 60)
    assert temper.value == pytest.approx(base)
