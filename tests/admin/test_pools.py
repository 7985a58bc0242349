"""What operators see of warm-ups and change of them."""

from dataclasses import replace

import pytest

from relay.admin.control import Refused
from relay.admin.pools import Allowance, PoolSource, WarmupRequest
from relay.store.values import PermitRequest, WarmupProgress
from tests.admin.stored import HOUR, NOW, operations_over

ADDRESS = "127.0.0.8"
DAY = 24 * HOUR


@pytest.fixture
async def operations(tmp_path):
    async with operations_over(tmp_path / "data") as operations:
        yield operations


async def change(operations, what: str, day: int = 0) -> PoolSource:
    return await operations.pools.change(WarmupRequest(ADDRESS, what, day))


async def use(operations, key: str, count: int) -> None:
    await operations.store.lease_permits(PermitRequest(key, 1_000, DAY, count, count, NOW))


async def test_every_source_of_every_pool_is_listed_with_its_day(operations):
    await use(operations, f"warmup:{ADDRESS}", 4)
    await use(operations, f"warmup:{ADDRESS}/google", 3)
    assert await operations.pools.list() == [
        PoolSource("main", "127.0.0.2", 1, "warm"),
        PoolSource(
            pool="fresh",
            address=ADDRESS,
            weight=1,
            state="warming",
            warmup="slow",
            day=1,
            days=3,
            allowances=(Allowance("", 100, 4), Allowance("google", 10, 3)),
            next_at=NOW + DAY,
            missing=6,
        ),
    ]


async def test_a_running_relay_says_which_source_it_cannot_use(tmp_path):
    faults = {ADDRESS: "not on this host"}
    async with operations_over(tmp_path / "data", source_faults=lambda: faults) as operations:
        assert [each.fault for each in await operations.pools.list()] == ["", "not on this host"]


async def test_a_day_is_set_and_begins_now(operations):
    assert (await change(operations, "set", 2)).day == 2
    assert await operations.store.warmups.all() == [WarmupProgress(ADDRESS, 2, NOW, NOW)]


async def test_a_warm_up_is_paused_and_resumed(operations):
    paused = await change(operations, "pause")
    assert (paused.state, paused.day, paused.next_at) == ("paused", 1, 0)
    resumed = await change(operations, "resume")
    assert (resumed.state, resumed.next_at) == ("warming", NOW + DAY)


async def test_a_warm_up_is_completed_and_may_begin_again(operations):
    await change(operations, "set", 3)
    completed = await change(operations, "complete")
    assert (completed.state, completed.allowances) == ("warm", ())
    again = await change(operations, "restart")
    assert (again.state, again.day) == ("warming", 1)


@pytest.mark.parametrize(
    ("before", "what", "day", "says"),
    [
        ("", "set", 0, "its schedule has the days 1 to 3, not 0"),
        ("", "set", 4, "its schedule has the days 1 to 3, not 4"),
        ("", "resume", 0, "the warm-up of 127.0.0.8 is not paused"),
        ("complete", "pause", 0, "127.0.0.8 is warm already"),
        ("complete", "resume", 0, "127.0.0.8 is warm already"),
    ],
)
async def test_what_makes_no_sense_is_refused(operations, before, what, day, says):
    if before:
        await change(operations, before)
    with pytest.raises(Refused, match=says):
        await change(operations, what, day)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.2", "has no warm-up in the configuration: give it `warmup: standard`"),
        ("127.0.0.77", r"no source 127.0.0.77 is in the configuration .*127\.0\.0\.8"),
        ("localhost", "'localhost' is not an IP address"),
    ],
)
async def test_a_source_without_a_warm_up_has_none_to_change(operations, address, says):
    with pytest.raises(Refused, match=says):
        await operations.pools.change(WarmupRequest(address, "pause"))


async def test_a_change_at_the_same_moment_is_told(operations, monkeypatch):
    await change(operations, "set", 2)
    stored = await operations.store.warmups.all()

    async def as_it_was() -> list[WarmupProgress]:
        return [replace(stored[0], day=1)]

    monkeypatch.setattr(operations.store.warmups, "all", as_it_was)
    with pytest.raises(Refused, match="changed meanwhile"):
        await change(operations, "pause")


async def test_the_relay_is_told_of_a_change_and_of_none_that_was_refused(tmp_path):
    told = []

    async def tell() -> None:
        told.append(1)

    async with operations_over(tmp_path / "data", warmups_changed=tell) as operations:
        await change(operations, "pause")
        with pytest.raises(Refused):
            await change(operations, "set", 9)
    assert told == [1]


async def test_what_was_left_alone_for_long_begins_anew(operations):
    long_ago = NOW - 40 * DAY
    await operations.store.warmups.replace(
        None, WarmupProgress(ADDRESS, 3, long_ago, long_ago, "completed")
    )
    assert (await change(operations, "pause")).day == 1
