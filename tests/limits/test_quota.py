"""Rolling 24-hour quotas through leased blocks of permits."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.limits.limits import Limit, Limits

KEY = "credential:app"
DAY_MS = 86_400_000


@pytest.fixture
def limits(permits, clock) -> Limits:
    return Limits(permits, clock.monotonic, clock.wall)


def quota(count: int) -> dict[str, Limit]:
    return {KEY: Limit(quota=count, strict=False)}


async def spend(limits: Limits, n: int = 1) -> bool:
    return (await limits.charge([KEY], n, queue=False)).charged


async def test_a_block_of_a_hundredth_is_leased_and_spent_without_asking_the_store(limits, permits):
    limits.configure(quota(10_000))
    assert all([await spend(limits) for _ in range(250)])
    assert [request.block for request in permits.requests] == [100, 100, 100]


async def test_a_small_quota_is_leased_to_the_last_permit(limits, permits):
    limits.configure(quota(7))
    assert [await spend(limits) for _ in range(9)] == [True] * 7 + [False] * 2
    assert permits.used(KEY, DAY_MS, permits.requests[-1].now) == 7


async def test_one_free_permit_lets_a_whole_message_through_and_it_is_paid_back(limits, clock):
    limits.configure(quota(10))
    assert await spend(limits, 9)
    assert await spend(limits, 5)
    assert not await spend(limits)
    (level,) = await limits.levels([KEY])
    assert level.used == 14


async def test_a_message_larger_than_what_is_left_of_the_block_is_charged_whole(limits, permits):
    limits.configure(quota(1_000))
    assert await spend(limits, 7)
    assert await spend(limits, 7)
    (level,) = await limits.levels([KEY])
    assert level.used == 14
    await limits.close()
    assert permits.used(KEY, DAY_MS, permits.requests[-1].now) == 14


async def test_permits_free_a_day_after_they_were_spent(limits, clock):
    limits.configure(quota(2))
    assert await spend(limits)
    clock.advance(3_600)
    assert await spend(limits)
    assert not await spend(limits)
    clock.advance(82_799)
    assert not await spend(limits)
    clock.advance(2)
    assert await spend(limits)
    assert not await spend(limits)


async def test_a_queued_message_is_charged_when_a_permit_frees(limits, clock):
    limits.configure(quota(2))
    await spend(limits)
    clock.advance(100)
    await spend(limits)
    first = await limits.charge([KEY], 1, queue=True)
    second = await limits.charge([KEY], 1, queue=True)
    assert (first.delay_s, second.delay_s) == (pytest.approx(86_300), pytest.approx(86_400))
    assert (first.charged, first.kind, first.limited_by) == (True, "quota", KEY)


async def test_the_quota_survives_a_restart(limits, permits, clock):
    limits.configure(quota(1_000))
    for _ in range(15):
        await spend(limits)
    await limits.close()
    again = Limits(permits, clock.monotonic, clock.wall)
    again.configure(quota(1_000))
    (level,) = await again.levels([KEY])
    assert level.used == 15
    assert await spend(again, 984)
    assert await spend(again)
    assert not await spend(again)


async def test_a_process_that_dies_forgets_one_block_at_most_and_never_exceeds_the_quota(
    permits, clock
):
    for _ in range(20):
        limits = Limits(permits, clock.monotonic, clock.wall)
        limits.configure(quota(1_000))
        sent = 0
        while await spend(limits) and sent < 37:
            sent += 1
    assert permits.used(KEY, DAY_MS, permits.requests[-1].now) <= 1_000


async def test_a_block_that_was_not_spent_within_a_minute_is_given_back(limits, permits, clock):
    limits.configure(quota(1_000))
    await spend(limits)
    first = permits.requests[0].now
    clock.advance(61)
    await spend(limits)
    assert permits.charges[KEY][:2] == [(first, 10), (first, -9)]


async def test_a_broken_store_lets_nothing_through_and_is_not_asked_by_everyone(
    limits, permits, clock
):
    limits.configure(quota(50))
    permits.broken = True
    decisions = [await limits.charge([KEY], 1, queue=True) for _ in range(20)]
    assert {(d.charged, d.kind) for d in decisions} == {(False, "store")}
    assert len(permits.requests) == 1
    assert 0 < decisions[0].delay_s <= 1
    permits.broken = False
    clock.advance(1)
    assert await spend(limits)


async def test_a_broken_store_does_not_stop_what_is_leased_already(limits, permits):
    limits.configure(quota(1_000))
    assert await spend(limits)
    permits.broken = True
    assert [await spend(limits) for _ in range(10)] == [True] * 9 + [False]


async def test_many_who_wait_share_one_question_to_the_store(limits, permits):
    limits.configure(quota(300))
    answers = await asyncio.gather(*(spend(limits) for _ in range(200)))
    assert all(answers)
    assert len(permits.requests) <= 2


async def test_a_used_up_quota_is_refused_without_asking_the_store_each_time(
    limits, permits, clock
):
    limits.configure(quota(1))
    await spend(limits)
    for _ in range(100):
        assert not await spend(limits)
    assert len(permits.requests) == 2
    clock.advance(1)
    assert not await spend(limits)
    assert len(permits.requests) == 3


async def test_a_client_that_leaves_while_the_store_is_asked_wastes_no_permits(permits, clock):
    class Slow(type(permits)):
        async def lease_permits(self, request):
            await answer.wait()
            return await super().lease_permits(request)

    answer = asyncio.Event()
    slow = Slow()
    limits = Limits(slow, clock.monotonic, clock.wall)
    limits.configure(quota(1_000))
    asking = asyncio.create_task(spend(limits))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    answer.set()
    assert await spend(limits)
    await limits.close()
    assert slow.used(KEY, DAY_MS, slow.requests[-1].now) == 1


@pytest.mark.parametrize("ahead_ms", [3, 90_000, -90_000])
async def test_a_store_whose_clock_is_another_one_lends_blocks_all_the_same(
    permits, clock, ahead_ms
):
    class Elsewhere(type(permits)):
        async def lease_permits(self, request):
            return await super().lease_permits(replace(request, now=request.now + ahead_ms))

    elsewhere = Elsewhere()
    limits = Limits(elsewhere, clock.monotonic, clock.wall)
    limits.configure(quota(10_000))
    assert all([await spend(limits) for _ in range(250)])
    assert [request.block for request in elsewhere.requests] == [100, 100, 100]
    await limits.close()
    assert elsewhere.used(KEY, DAY_MS, elsewhere.requests[-1].now) == 250


@pytest.mark.parametrize("jump_s", [86_400, -86_400, 7_200, -7_200])
async def test_a_jump_of_the_wall_clock_neither_frees_nor_freezes_a_quota(limits, clock, jump_s):
    limits.configure(quota(3))
    assert await spend(limits, 3)
    clock.wall_ms += jump_s * 1000
    assert not await spend(limits)
    clock.advance(80_000)
    assert not await spend(limits)
    clock.advance(8_000)
    assert await spend(limits)


@given(
    limit=st.integers(1, 400),
    steps=st.lists(st.tuples(st.integers(0, 7_200), st.integers(1, 40)), max_size=60),
)
def test_a_quota_holds_in_every_rolling_day_plus_one_message(
    clock_type, permits_type, limit: int, steps
):
    clock, permits = clock_type(), permits_type()
    limits = Limits(permits, clock.monotonic, clock.wall)
    limits.configure(quota(limit))
    gone = []

    async def run():
        for wait, n in steps:
            clock.advance(wait)
            if await spend(limits, n):
                gone.append((clock.wall_ms, n))

    asyncio.run(run())
    for i, (start, _) in enumerate(gone):
        inside = [n for at, n in gone[i:] if at < start + DAY_MS - 60_000]
        assert sum(inside[:-1]) < limit
