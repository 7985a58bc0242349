"""What a new address may send on each day, and when a day is over."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.limits import warmup
from relay.limits.specs import Limit
from relay.limits.warmup import DAY_MS, STANDARD_SCHEDULE, Schedule
from relay.store.values import WarmupProgress

NOW = 1_800_000_000_000
ADDRESS = "192.0.2.1"

allowances = st.integers(1, 10_000_000)
lengths = st.integers(2, 366)


def began(day: int = 1, **fields: object) -> WarmupProgress:
    return replace(warmup.begin(ADDRESS, NOW), day=day, **fields)  # type: ignore[arg-type]


# Schedules


@given(allowances, allowances, lengths)
def test_a_curve_runs_from_first_to_target_and_never_falls(first, target, days):
    curve = warmup.curve(first, target, days)

    assert len(curve) == days
    assert curve[0] == min(first, target)
    assert curve[-1] == target
    assert list(curve) == sorted(curve)


@given(st.integers(20, 1_000), st.integers(1_000, 1_000_000), lengths)
def test_a_curve_grows_by_the_same_factor_each_day(first, target, days):
    curve = warmup.curve(first, target, days)

    factor = (target / first) ** (1 / (days - 1))
    for yesterday, today in pairwise(curve):
        assert yesterday * factor == pytest.approx(today, abs=factor)


def test_the_built_in_schedule_goes_to_50_000_a_day_in_45_days():
    schedule = STANDARD_SCHEDULE
    assert schedule.days == 45
    assert [schedule.allowance(day) for day in (1, 2, 8, 15, 22, 30, 38, 45)] == [
        50,
        58,
        150,
        450,
        1_351,
        4_745,
        16_661,
        50_000,
    ]


def test_a_provider_without_allowances_of_its_own_has_none():
    schedule = Schedule((10, 20, 30), {"google": (1, 2)})
    assert schedule.allowance(1, "google") == 1
    assert schedule.allowance(3, "google") == 2
    assert schedule.allowance(3, "yahoo") is None
    assert schedule.allowance(9) == 30


# Limits


@given(allowances)
def test_an_allowance_is_a_quota_that_takes_at_least_eight_hours(allowance):
    limit = warmup.allowance_limit(allowance)

    assert limit.quota == allowance
    assert limit.strict
    assert limit.rate is not None
    assert limit.rate.seconds == 3600
    assert allowance / 8 <= limit.rate.count < allowance / 8 + 1


def test_an_address_has_the_limits_of_its_day():
    scheduled = {ADDRESS: Schedule((80, 160), {"google": (8,)})}

    assert warmup.warmup_limits(scheduled, {ADDRESS: began(2)}) == {
        "warmup:192.0.2.1": Limit(Rate(20, 3600), 160),
        "warmup:192.0.2.1/google": Limit(Rate(1, 3600), 8),
    }


def test_an_address_whose_progress_is_not_known_is_at_its_first_day():
    scheduled = {ADDRESS: Schedule((80, 160))}
    assert warmup.warmup_limits(scheduled, {})["warmup:192.0.2.1"].quota == 80


def test_a_paused_warm_up_keeps_its_allowance_and_a_completed_one_has_none():
    scheduled = {ADDRESS: Schedule((80, 160))}
    limits = warmup.warmup_limits(scheduled, {ADDRESS: warmup.paused(began(2))})
    assert limits["warmup:192.0.2.1"].quota == 160
    assert warmup.warmup_limits(scheduled, {ADDRESS: warmup.completed(began(2))}) == {}


# Progress


def test_a_day_lasts_for_24_hours_however_much_is_sent():
    schedule = Schedule((100, 200, 300))
    assert warmup.turn(began(), schedule, 100, NOW + DAY_MS - 1) == began()
    assert warmup.turn(began(), schedule, 100, NOW + DAY_MS) == began(2, day_began_at=NOW + DAY_MS)


def test_a_day_goes_on_until_a_tenth_of_its_allowance_was_used():
    schedule = Schedule((100, 200, 300))
    later = NOW + 3 * DAY_MS
    assert warmup.turn(began(), schedule, 9, later) == began()
    assert warmup.turn(began(), schedule, 10, later) == began(2, day_began_at=later)


def test_a_week_off_is_at_most_one_day_of_the_warm_up():
    schedule = Schedule((100, 200, 300))
    after = warmup.turn(began(), schedule, 100, NOW + 7 * DAY_MS)
    assert after.day == 2
    assert warmup.turn(after, schedule, 100, NOW + 7 * DAY_MS) == after


def test_the_last_day_completes_the_warm_up():
    after = warmup.turn(began(2), Schedule((100, 200)), 100, NOW + DAY_MS)
    assert after.state == "completed"


def test_a_schedule_that_was_shortened_behind_the_day_is_completed():
    after = warmup.turn(began(40), Schedule((100, 200)), 0, NOW)
    assert (after.state, after.day) == ("completed", 2)


def test_a_clock_that_was_set_back_begins_the_day_anew():
    ahead = began(day_began_at=NOW + 30 * DAY_MS)
    assert warmup.turn(ahead, Schedule((100, 200)), 0, NOW) == began()


@pytest.mark.parametrize("end", [warmup.paused, warmup.completed])
def test_what_is_paused_or_completed_does_not_turn(end):
    progress = end(began())
    assert warmup.turn(progress, Schedule((100, 200)), 100, NOW + 9 * DAY_MS) == progress


def test_a_day_that_is_resumed_has_24_hours_again():
    later = NOW + 9 * DAY_MS
    again = warmup.resumed(warmup.paused(began(2)), later)
    assert again == began(2, day_began_at=later)


def test_a_day_may_be_set_and_begins_then():
    later = NOW + 1_000
    assert warmup.at_day(began(3), 9, later) == began(9, day_began_at=later)
    assert warmup.at_day(warmup.completed(began(3)), 9, later).state == "warming"
    assert warmup.at_day(warmup.paused(began(3)), 9, later).state == "paused"


@given(
    st.lists(st.tuples(st.integers(-2 * DAY_MS, 3 * DAY_MS), st.integers(0, 1_000)), max_size=60)
)
def test_whatever_the_clock_does_no_day_is_skipped_and_none_comes_again(steps):
    schedule = Schedule(tuple(range(100, 1_000, 100)))
    progress, now = warmup.begin(ADDRESS, NOW), NOW
    for step, used in steps:
        now += step
        after = warmup.turn(progress, schedule, used, now)
        assert after.day - progress.day in (0, 1)
        if after.day > progress.day:
            assert now - progress.day_began_at >= DAY_MS
        progress = after
    assert 1 <= progress.day <= schedule.days
