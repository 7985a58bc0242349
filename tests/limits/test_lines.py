"""Limits of lines: made on demand, forgotten after use, and those that come and go at run time."""

import asyncio

import pytest

from relay.config.units import Rate
from relay.limits import gates
from relay.limits.leased import LeasedLimits
from relay.limits.limits import Limit, Limits
from tests.limits.making import specs

A, B = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def limits(permits, clock) -> Limits:
    return Limits(permits, clock.monotonic, clock.wall)


def of_default(**shape):
    return specs(providers={"default": shape})


async def sent(limits, clock, key, seconds, step=0.01):
    """The times at which one recipient after the other may go."""
    end, times = clock.mono + seconds, []
    while clock.mono < end:
        if (await limits.admit([key], 1)).now:
            times.append(clock.mono)
        clock.advance(step)
    return times


async def test_each_line_is_limited_for_itself(limits, clock):
    limits.configure(of_default(rate="2/min"))
    clock.advance(60)
    for key in (f"path:{A}/mx.one.test", f"path:{A}/mx.two.test", f"path:{B}/mx.one.test"):
        assert (await limits.admit([key], 1)).now
        assert not (await limits.admit([key], 1)).now


async def test_a_rate_of_a_line_holds_in_every_window(limits, clock):
    limits.configure(of_default(rate="5/s"))
    times = await sent(limits, clock, f"path:{A}/mx.test", 20)
    assert len(times) > 90
    assert max(sum(t <= u < t + 1 for u in times) for t in times) <= 5


async def test_several_windows_hold_at_once_and_a_refusal_charges_none(limits, clock):
    limits.configure(of_default(rate=["5/s", "20/min"]))
    clock.advance(60)
    keys = [f"path:{A}/mx.test", f"path:{A}/mx.test#60"]
    went = 0
    for _ in range(300):
        went += (await limits.admit(keys, 1)).now
        clock.advance(0.1)
    assert went in (10, 11)  # an even flow: 20 in a minute are 10 in half of one
    short, long = await limits.levels(keys)
    assert (short.used, long.used) == (0, went)


async def test_a_limit_begins_closed_after_a_start_and_free_where_it_was_long_in_force(
    limits, clock
):
    limits.configure(of_default(rate="10/s"))
    assert not (await limits.admit([f"path:{A}/mx.one.test"], 1)).now
    clock.advance(5)
    assert (await limits.admit([f"path:{A}/mx.two.test"], 1)).now


async def test_what_is_not_in_use_is_forgotten_and_what_counts_is_not(limits, clock):
    limits.configure(of_default(rate="2/min"))
    clock.advance(60)
    for n in range(500):
        await limits.admit([f"path:{A}/mx{n}.test"], 1)
    clock.advance(59)
    await limits.admit([f"path:{A}/late.test"], 2)
    clock.advance(2)
    await limits.tidy()
    assert [level.key for level in await limits.levels()] == [f"path:{A}/late.test"]
    assert not (await limits.admit([f"path:{A}/late.test"], 1)).now


async def test_a_quota_of_a_line_is_kept_by_the_store_when_the_line_is_forgotten(
    limits, clock, permits
):
    limits.configure(of_default(quota=5))
    key = f"path:{A}/mx.test"
    assert (await limits.admit([key], 5)).now
    clock.advance(120)
    await limits.tidy()
    assert not await limits.levels()
    assert not (await limits.admit([key], 1)).now
    assert permits.used(key, 86_400_000, clock.wall()) == 5


async def test_a_block_that_nobody_spends_goes_back_after_a_minute(limits, clock, permits):
    limits.configure(of_default(quota=10_000))
    key = f"path:{A}/mx.test"
    await limits.admit([key], 1)
    assert permits.used(key, 86_400_000, clock.wall()) == 100
    clock.advance(61)
    await limits.tidy()
    assert permits.used(key, 86_400_000, clock.wall()) == 1


async def test_there_are_never_more_lines_than_there_is_room_for(limits, clock, monkeypatch):
    monkeypatch.setattr(gates, "MOST_LINES", 100)
    limits.configure(of_default(rate="2/h"))
    clock.advance(3600)
    for n in range(1_000):
        await limits.admit([f"path:{A}/mx{n}.test"], 1)
    assert len(await limits.levels()) <= 100


async def test_a_reload_keeps_what_lines_have_spent_and_drops_what_is_limited_no_more(
    limits, clock
):
    limits.configure(of_default(rate="10/min"))
    clock.advance(60)
    key = f"path:{A}/mx.test"
    await limits.admit([key], 10)
    limits.configure(of_default(rate="20/min"))
    assert not (await limits.admit([key], 1)).now
    limits.configure(specs())
    assert (await limits.admit([key], 1)).now


async def test_a_limit_comes_and_goes_at_run_time_and_outlives_a_reload(limits, clock):
    key = f"temper:{A}/google"
    limits.configure(specs())
    assert (await limits.admit([key], 1)).now
    limits.override(key, Limit(Rate(2, 1)))
    limits.configure(specs())
    times = await sent(limits, clock, key, 5)
    assert 6 <= len(times) <= 10
    limits.override(key, Limit(Rate(4, 1)))
    assert len(await sent(limits, clock, key, 5)) == pytest.approx(20, abs=1)
    limits.override(key, None)
    assert (await limits.admit([key], 1_000)).now
    assert not limits.overrides


class Lessor:
    """The authority at hand; counts what it is asked."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.asked = 0

    async def lease(self, request):
        self.asked += 1
        return await self.limits.lease(request)

    def give_back(self, returned):
        self.limits.give_back(returned)


async def test_a_worker_asks_for_a_limit_as_soon_as_it_is_told_and_no_longer_than_that(
    limits, clock
):
    lessor = Lessor(limits)
    worker = LeasedLimits(lessor, clock.monotonic)
    limits.configure(specs())
    worker.configure(specs())
    keys = ("set:news", f"temper:{A}/google")
    assert (await worker.admit(keys, 1)).now
    assert not lessor.asked
    for process in (limits, worker):
        process.override(keys[1], Limit(Rate(1, 1)))
    assert not (await worker.admit(keys, 1)).now
    assert lessor.asked == 1
    for process in (limits, worker):
        process.override(keys[1], None)
    assert (await worker.admit(keys, 1)).now
    assert lessor.asked == 1
    await worker.close()


async def test_a_worker_forgets_lines_that_it_does_not_use(limits, clock, monkeypatch):
    monkeypatch.setattr("relay.limits.leased._MOST_KNOWN", 50)
    worker = LeasedLimits(Lessor(limits), clock.monotonic)
    for process in (limits, worker):
        process.configure(of_default(rate="2/min"))
    clock.advance(60)
    for n in range(500):
        assert (await worker.admit((f"path:{A}/mx{n}.test",), 1)).now
    assert len(worker._known) <= 50
    assert len(worker._bundles) <= 50
    await worker.close()
    await asyncio.sleep(0)
