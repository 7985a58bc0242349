"""Rates: what leaves is strict in every sliding window, what enters may burst for a second."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.limits.gcra import Gcra
from relay.limits.pace import Pace
from relay.limits.window import SlidingWindow

RATES = st.builds(Rate, st.integers(1, 2_000), st.sampled_from([1, 60, 3600]))
PER_SECOND = st.builds(Rate, st.integers(1, 2_000), st.just(1))
# A schedule: waits (seconds, some exactly until ready) before a message of so many recipients.
STEPS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(0, 3, allow_nan=False), st.just(0.0)), st.integers(1, 60)
    ),
    max_size=120,
)


def run(pace: Pace, steps, now: float) -> tuple[list[tuple[float, int]], float]:
    """Everything that `pace` let go at once, as (time, recipients)."""
    gone = []
    for wait, n in steps:
        now = pace.ready_at(now) if wait is None else now + wait
        if pace.ready_at(now) <= now:
            assert pace.take(n, now) == now
            gone.append((now, n))
    return gone, now


@given(rate=RATES, steps=STEPS)
def test_a_strict_rate_holds_in_every_sliding_window_of_any_schedule(rate: Rate, steps):
    gone, _ = run(Pace(rate, strict=True, now=50.0), steps, 50.0)
    for i, (start, _) in enumerate(gone):
        inside = [n for t, n in gone[i:] if t < start + rate.seconds]
        assert sum(inside[:-1]) < rate.count


@given(rate=PER_SECOND, before=STEPS, after=STEPS, down=st.floats(0, 2))
def test_a_strict_rate_per_second_holds_across_a_restart(rate: Rate, before, after, down: float):
    gone, now = run(Pace(rate, strict=True, now=50.0), before, 50.0)
    more, _ = run(Pace(rate, strict=True, now=now + down), after, now + down)
    gone += more
    for i, (start, _) in enumerate(gone):
        inside = [n for t, n in gone[i:] if t < start + 1]
        assert sum(inside[:-1]) < rate.count


@given(
    rate=st.builds(Rate, st.integers(1, 600), st.sampled_from([60, 600])),
    before=st.lists(st.just((None, 1)), max_size=700),
    after=st.lists(st.just((None, 1)), max_size=700),
    down=st.floats(0, 20),
)
def test_a_strict_rate_per_minute_holds_across_a_restart(rate: Rate, before, after, down: float):
    if rate.seconds / rate.count > 25:
        return  # a slower rate is held for a minute at most
    gone, now = run(Pace(rate, strict=True, now=50.0), before, 50.0)
    more, _ = run(Pace(rate, strict=True, now=now + down), after, now + down)
    gone += more
    first = 0
    for last, (end, _) in enumerate(gone):
        while gone[first][0] + rate.seconds <= end:
            first += 1
        assert last - first + 1 <= rate.count


@given(rate=RATES, old=RATES, steps=STEPS, more=STEPS)
def test_a_strict_rate_holds_in_every_window_after_it_was_changed(rate, old, steps, more):
    pace = Pace(Rate(old.count, rate.seconds), strict=True, now=50.0)
    _, now = run(pace, steps, 50.0)
    pace.adapt(rate, now=now)
    gone, _ = run(pace, more, now)
    for i, (start, _) in enumerate(gone):
        inside = [n for t, n in gone[i:] if t < start + rate.seconds]
        assert sum(inside[:-1]) < rate.count


# A schedule of loans, in phases: an idle time, then so many messages as soon as they may go. Their
# permits may be kept for so long; so many are lent besides; they go after such a part of the time.
LOANS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.06, 0.4, 1.0]),
        st.integers(1, 200),
        st.sampled_from([0.01, 0.05, 0.4]),
        st.integers(0, 30),
        st.sampled_from([0.0, 1.0, 0.5]),
    ),
    max_size=5,
)


def run_loans(pace: Pace, loans, *, strict: bool, back: int = 0) -> list[float]:
    """When each permit went, the messages charged to a lenient pace at once. Of each loan `back`
    come back in the end."""
    gone, now = [], 60.0
    for idle, messages, hold, wanted, part in loans:
        now += idle
        for _ in range(messages):
            now = pace.ready_at(now)
            until = now + hold
            at = now + part * hold
            pace.take(1, now, until)
            gone.append(at if strict else now)
            lent = min(wanted, pace.spare(now, until))
            if lent:
                pace.lend(lent, now, until)
                gone += [at] * max(0, lent - back)
            if lent and back:
                pace.restore(min(lent, back), at, until)
                now = at
    return sorted(gone)


@given(
    rate=st.builds(Rate, st.integers(1, 300), st.sampled_from([1, 60])),
    loans=LOANS,
    back=st.integers(0, 30),
)
def test_a_strict_rate_holds_in_every_window_whenever_what_is_lent_is_spent(rate, loans, back):
    gone = run_loans(Pace(rate, strict=True, now=50.0), loans, strict=True, back=back)
    starts_and_ends = zip(gone, gone[rate.count :], strict=False)
    assert all(end >= start + rate.seconds for start, end in starts_and_ends)


@given(rate=st.builds(Rate, st.integers(1, 300), st.just(1)), loans=LOANS)
def test_a_lenient_rate_lends_nothing_that_could_exceed_its_flow_and_burst(rate: Rate, loans):
    ahead = last = 0.0
    for at in run_loans(Pace(rate, strict=False, now=0.0), loans, strict=False):
        ahead = max(0.0, ahead - (at - last) * rate.count) + 1
        assert ahead <= max(1, rate.count) + 1e-3
        last = at


def test_what_comes_back_in_time_is_free_again_and_too_late_it_is_not():
    pace = Pace(Rate(100, 1), strict=True, now=0.0)
    pace.take(1, 10.0, 10.05)
    pace.lend(5, 10.0, 10.05)
    assert pace.used(10.0) == 6
    pace.restore(3, 10.04, 10.05)
    assert pace.used(10.04) == 3
    pace.restore(2, 10.06, 10.05)
    assert pace.used(10.06) == 3


@pytest.mark.parametrize("late", [0.0, 0.0015, 0.004])
@pytest.mark.parametrize("count", [1, 20, 500])
def test_a_strict_rate_is_reached_although_timers_are_late(count: int, late: float):
    pace = Pace(Rate(count, 1), strict=True, now=0.0)
    now, sent = 1.0, 0
    while now < 11.0:
        ready = pace.ready_at(now)
        if ready > now:
            now = ready + late
        else:
            pace.take(1, now)
            sent += 1
    assert 10 * count * 0.99 - 1 <= sent <= 10 * count + 1


def test_a_strict_rate_flows_evenly_and_does_not_empty_its_second_at_once():
    pace = Pace(Rate(100, 1), strict=True, now=0.0)
    gone, _ = run(pace, [(10.0, 1), *[(0.0, 1)] * 99], 0.0)
    assert len(gone) <= 7


def test_an_overdraft_is_paid_back_by_those_that_follow():
    pace = Pace(Rate(1, 1), strict=True, now=0.0)
    assert pace.take(5, 10.0) == 10.0
    assert pace.ready_at(10.0) == pytest.approx(15.0)


def test_a_lenient_rate_lets_one_seconds_worth_burst_and_no_more():
    pace = Pace(Rate(50, 1), strict=False, now=0.0)
    gone, _ = run(pace, [(60.0, 1), *[(0.0, 1)] * 99], 0.0)
    assert len(gone) == 50


def test_a_lenient_rate_starts_with_one_permit_and_no_burst():
    pace = Pace(Rate(50, 1), strict=False, now=0.0)
    gone, _ = run(pace, [(0.0, 1)] * 50, 0.0)
    assert len(gone) == 1


@given(rate=RATES, steps=STEPS)
def test_a_lenient_rate_exceeds_its_flow_by_one_burst_and_one_message_at_most(rate: Rate, steps):
    gone, _ = run(Pace(rate, strict=False, now=0.0), steps, 0.0)
    burst = max(1, rate.count // rate.seconds)
    for i, (start, _) in enumerate(gone):
        total = 0
        for at, n in gone[i:]:
            assert total < burst + (at - start) * rate.per_second + 1e-6
            total += n


def test_a_queued_charge_is_told_when_it_may_go_and_the_next_one_later():
    flow = Gcra(Rate(2, 1), 1, now=0.0)
    assert [flow.take(1, 0.0) for _ in range(4)] == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=1e-5)
    assert flow.take(10, 0.0) == pytest.approx(2.0)
    assert flow.take(1, 0.0) == pytest.approx(7.0)


@given(
    count=st.integers(1, 1000),
    n=st.integers(1, 100),
    other=st.integers(1, 1000),
    wait=st.floats(0, 3),
)
def test_changing_a_rate_gives_no_credit_and_keeps_the_debt(count, n, other, wait):
    flow = Gcra(Rate(count, 1), count, now=0.0)
    flow.take(n, 0.0)
    before = count - flow.spent(wait)
    flow.adapt(Rate(other, 1), other, wait)
    assert other - flow.spent(wait) <= before + 1e-6
    flow.adapt(Rate(other, 1), other, wait)
    assert other - flow.spent(wait) <= before + 1e-6


@given(
    rate=st.builds(Rate, st.integers(1, 100_000), st.sampled_from([1, 3600])),
    steps=st.lists(st.tuples(st.floats(0, 0.01), st.integers(1, 50)), max_size=50),
)
def test_a_window_never_counts_less_than_went_through_it(rate: Rate, steps):
    window, now, gone = SlidingWindow(rate), 0.0, []
    for wait, n in steps:
        now += wait
        window.take(n, now)
        gone.append((now, n))
    for late in (0.0, 0.2, 0.7, 1.0):
        at = now + late * rate.seconds
        assert window.used(at) >= sum(n for t, n in gone if t + rate.seconds > at)


def test_a_window_holds_a_bounded_number_of_entries():
    window = SlidingWindow(Rate(1_000_000, 3600))
    for i in range(20_000):
        window.take(1, i * 0.1)
    assert len(window._entries) <= 1_001
    assert window.used(1999.9) == 20_000
    assert window.used(1999.9 + 3600) == 0


def test_a_full_window_says_when_it_frees():
    window = SlidingWindow(Rate(3, 1))
    for at in (0.0, 0.25, 0.5):
        window.take(1, at)
    assert window.ready_at(0.6) == 1.0
    assert window.ready_at(1.0) == 1.0
    window.take(2, 1.0)
    assert window.ready_at(1.0) == ceil(1.25 * 4) / 4 + 0.25


def test_a_raised_rate_does_not_wait_for_the_pause_of_the_old_one() -> None:
    pace = Pace(Rate(2, 3600), strict=True, now=100.0)
    assert pace.ready_at(105.0) == 160.0
    pace.adapt(Rate(1000, 1), now=105.0)
    assert pace.ready_at(105.0) == 105.0
    lowered = Pace(Rate(1000, 1), strict=True, now=100.0)
    lowered.adapt(Rate(2, 3600), now=100.5)
    assert lowered.ready_at(100.5) == 101.0
