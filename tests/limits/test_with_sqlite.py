"""Quotas over the embedded store: exact and persistent, also for several processes at once."""

import asyncio

from relay.limits.limits import Limit, Limits
from relay.store.sqlite import SqliteStore

KEY = "pool:main"
DAY = 86_400


async def test_a_quota_holds_over_processes_that_run_at_once_and_over_a_restart(tmp_path, clock):
    store = SqliteStore(tmp_path)
    await store.open()
    workers = [Limits(store, clock.monotonic, clock.wall) for _ in range(3)]
    for limits in workers:
        limits.configure({KEY: Limit(quota=1_000)})

    async def spend(limits: Limits) -> int:
        sent = 0
        while (await limits.admit([KEY], 1)).charged:
            sent += 1
            await asyncio.sleep(0)
        return sent

    sent = sum(await asyncio.gather(*(spend(limits) for limits in workers)))
    assert 1_000 - 20 <= sent <= 1_000  # the others may have unspent permits
    for limits in workers:
        await limits.close()
    await store.close()

    store = SqliteStore(tmp_path)
    await store.open()
    clock.advance(3_600)
    again = Limits(store, clock.monotonic, clock.wall)
    again.configure({KEY: Limit(quota=1_000)})
    assert sent + await spend(again) == 1_000
    (level,) = await again.levels([KEY])
    assert level.used == 1_000
    clock.advance(DAY - 3_600 + 61)
    assert (await again.admit([KEY], 1)).now
    await again.close()
    await store.close()


async def test_a_queued_message_is_told_when_a_permit_frees(tmp_path, clock):
    store = SqliteStore(tmp_path)
    await store.open()
    limits = Limits(store, clock.monotonic, clock.wall)
    limits.configure({KEY: Limit(quota=2, strict=False)})
    assert (await limits.charge([KEY], 2, queue=True)).now
    waits = [(await limits.charge([KEY], 1, queue=True)).delay_s for _ in range(3)]
    assert all(DAY <= wait <= 2 * DAY + 120 for wait in waits)
    assert waits == sorted(waits)
    assert waits[2] - waits[0] >= DAY - 60
    await limits.close()
    await store.close()
