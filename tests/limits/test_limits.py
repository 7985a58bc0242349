"""Charging a message to several limits at once."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.limits.limits import Decision, Limit, Limits

DAY = 86_400.0


@pytest.fixture
def limits(permits, clock) -> Limits:
    return Limits(permits, clock.monotonic, clock.wall)


def lenient(rate: Rate | None = None, quota: int | None = None) -> Limit:
    return Limit(rate, quota, strict=False)


async def test_keys_without_limits_let_everything_through_at_once(limits):
    limits.configure({})
    assert await limits.charge(["credential:app", "account:account"], 50, queue=False) == Decision()
    assert await limits.admit(["pool:main"], 1) == Decision()


async def test_a_refusal_says_the_key_the_kind_and_the_delay(limits):
    limits.configure(
        {"credential:app": lenient(Rate(1, 1)), "account:account": lenient(Rate(9, 1))}
    )
    keys = ["account:account", "credential:app"]
    assert (await limits.charge(keys, 5, queue=False)).now
    decision = await limits.charge(keys, 1, queue=False)
    assert decision == Decision(pytest.approx(5.0), "credential:app", "rate", charged=False)


async def test_queueing_charges_at_the_time_when_the_message_may_go(limits, clock):
    limits.configure({"credential:app": lenient(Rate(2, 1))})
    decisions = [await limits.charge(["credential:app"], 1, queue=True) for _ in range(4)]
    assert [d.delay_s for d in decisions] == pytest.approx([0, 0.5, 1.0, 1.5], abs=1e-5)
    assert all(d.charged for d in decisions)
    assert decisions[3].limited_by == "credential:app"


async def test_queueing_beyond_ones_patience_is_refused_and_charges_nothing(limits):
    limits.configure({"credential:app": lenient(Rate(1, 1))})
    await limits.charge(["credential:app"], 10, queue=True)
    for _ in range(3):
        decision = await limits.charge(["credential:app"], 1, queue=True, patience=5.0)
        assert not decision.charged
        assert decision.delay_s == pytest.approx(10.0)
    assert (await limits.charge(["credential:app"], 1, queue=True, patience=11.0)).charged


async def test_a_key_that_refuses_wins_over_one_that_may_queue(limits):
    limits.configure(
        {"credential:app": lenient(Rate(1, 1)), "account:account": lenient(Rate(1, 1))}
    )
    await limits.charge(["account:account"], 3, queue=False)
    keys = ["account:account", "credential:app"]
    decision = await limits.charge(keys, 1, queue={"credential:app"})
    assert not decision.charged
    assert decision.limited_by == "account:account"
    # and the other way round the message waits for the account
    decision = await limits.charge(keys, 1, queue={"account:account"})
    assert decision.charged
    assert decision.delay_s == pytest.approx(3.0)


async def test_one_credential_with_a_long_queue_does_not_hold_up_the_account(limits):
    limits.configure(
        {"credential:slow": lenient(Rate(1, 1)), "account:account": lenient(Rate(1_000, 1))}
    )
    for _ in range(100):
        await limits.charge(["account:account", "credential:slow"], 1, queue=True)
    assert (await limits.charge(["account:account"], 1, queue=True)).delay_s < 0.2


async def test_nothing_is_charged_where_one_key_refuses(limits, permits, clock):
    limits.configure({"set:a": Limit(Rate(10, 1), 1_000), "pool:p": Limit(Rate(1, 1), 5_000)})
    clock.advance(2)
    assert (await limits.admit(["set:a", "pool:p"], 1)).now
    for _ in range(50):
        assert not (await limits.admit(["set:a", "pool:p"], 1)).charged
    levels = {(level.key, level.kind): level for level in await limits.levels()}
    assert levels["set:a", "rate"].used == 1
    assert levels["set:a", "quota"].used == 1
    assert levels["pool:p", "quota"].used == 1


async def test_a_quota_refused_by_the_second_key_returns_what_the_first_had_granted(
    limits, permits
):
    limits.configure({"set:a": Limit(quota=1_000), "pool:p": Limit(quota=1)})
    assert (await limits.admit(["set:a", "pool:p"], 1)).now
    decision = await limits.admit(["set:a", "pool:p"], 1)
    assert (decision.charged, decision.limited_by, decision.kind) == (False, "pool:p", "quota")
    assert decision.delay_s == pytest.approx(DAY, abs=1)
    assert (await limits.levels(["set:a"]))[0].used == 1


async def test_a_rate_refused_after_the_store_was_asked_returns_the_quota(permits, clock):
    class Slow(type(permits)):
        async def lease_permits(self, request):
            await rates_taken.wait()
            return await super().lease_permits(request)

    rates_taken = asyncio.Event()
    limits = Limits(Slow(), clock.monotonic, clock.wall)
    limits.configure({"a": lenient(Rate(1, 1), 1_000), "b": lenient(Rate(1, 1))})
    waiting = asyncio.create_task(limits.charge(["a", "b"], 1, queue=False))
    await asyncio.sleep(0)
    assert (await limits.charge(["b"], 1, queue=False)).now
    rates_taken.set()
    decision = await waiting
    assert (decision.charged, decision.limited_by) == (False, "b")
    assert [level.used for level in await limits.levels(["a"])] == [0, 0]


async def test_the_daily_quota_is_told_before_the_rate(limits):
    limits.configure({"credential:app": lenient(Rate(1, 1), 3)})
    await limits.charge(["credential:app"], 3, queue=False)
    clock_free = await limits.charge(["credential:app"], 1, queue=False)
    assert clock_free.kind == "rate"  # the store has not been asked yet
    limits._clock.__self__.advance(3)
    assert (await limits.charge(["credential:app"], 1, queue=False)).kind == "quota"
    await limits.charge(["credential:app"], 1, queue=False)
    assert (await limits.charge(["credential:app"], 1, queue=False)).kind == "quota"


async def test_reconfiguring_keeps_what_was_spent(limits, clock):
    limits.configure({"pool:p": Limit(Rate(1, 1), 100), "pool:q": Limit(Rate(1, 1))})
    clock.advance(2)
    await limits.admit(["pool:p"], 4)
    limits.configure({"pool:p": Limit(Rate(2, 1), 100)})
    decision = await limits.admit(["pool:p"], 1)
    assert not decision.charged
    assert decision.delay_s == pytest.approx(2.0)  # four permits at two a second
    assert [level.used for level in await limits.levels()] == [4, 4]


async def test_a_quota_that_was_removed_and_comes_back_keeps_its_block(limits, permits):
    limits.configure({"pool:p": Limit(quota=1_000)})
    await limits.admit(["pool:p"], 1)
    limits.configure({})
    limits.configure({"pool:p": Limit(quota=2_000)})
    await limits.admit(["pool:p"], 1)
    assert len(permits.requests) == 1
    limits.configure({})
    await limits.close()
    assert permits.used("pool:p", 86_400_000, limits._calendar.now()) == 2


async def test_levels_say_the_limit_what_is_used_and_when_it_frees(limits, clock):
    limits.configure({"set:a": Limit(Rate(60, 60), 2)})
    clock.advance(5)
    await limits.admit(["set:a"], 3)
    clock.advance(60)
    assert not (await limits.admit(["set:a"], 1)).charged
    rate, quota = await limits.levels(["set:a", "set:unknown"])
    assert (rate.kind, rate.limit, rate.seconds, rate.used) == ("rate", 60, 60, 0)
    assert rate.free_at == clock.wall_ms
    assert (quota.kind, quota.limit, quota.seconds, quota.used) == ("quota", 2, 86_400, 3)
    assert quota.free_at == pytest.approx(clock.wall_ms + 86_340_000, abs=2)


@given(
    quotas=st.lists(st.integers(1, 300), min_size=2, max_size=3),
    steps=st.lists(
        st.tuples(st.floats(0, 2), st.integers(1, 30), st.sets(st.integers(0, 2))), max_size=40
    ),
)
def test_what_is_used_of_each_quota_is_what_went_through_and_nothing_else(
    permits_type, clock_type, quotas, steps
):
    clock, permits = clock_type(), permits_type()
    limits = Limits(permits, clock.monotonic, clock.wall)
    limits.configure({f"k{i}": Limit(Rate(20, 1), quota) for i, quota in enumerate(quotas)})
    gone = dict.fromkeys(range(3), 0)

    async def run():
        for wait, n, which in steps:
            clock.advance(wait)
            if (await limits.admit([f"k{i}" for i in which], n)).charged:
                for i in which:
                    gone[i] += n
            for level in await limits.levels():
                if level.kind == "quota":
                    assert level.used == gone[int(level.key[1:])]
        await limits.close()

    asyncio.run(run())
    for i, _ in enumerate(quotas):
        assert permits.used(f"k{i}", 86_400_000, clock.wall_ms) == gone[i]


async def test_a_client_that_leaves_takes_nothing_with_it_from_the_other_limits(
    permits_type, clock
):
    class Slow(permits_type):
        async def lease_permits(self, request):
            if request.key == "b" and not answer.is_set():
                await answer.wait()
            return await super().lease_permits(request)

    answer = asyncio.Event()
    limits = Limits(Slow(), clock.monotonic, clock.wall)
    limits.configure({"a": lenient(quota=1_000), "b": lenient(quota=1_000)})
    asking = asyncio.create_task(limits.charge(["a", "b"], 1, queue=False))
    for _ in range(5):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    answer.set()
    assert (await limits.charge(["b"], 1, queue=False)).now
    assert {level.key: level.used for level in await limits.levels()} == {"a": 0, "b": 1}
