"""Progress of warm-ups: durable, and changed only by who knows what stands there."""

from dataclasses import replace

from relay.store.interface import Store
from relay.store.values import WarmupProgress
from tests.contract.making import NOW, Kind

ONE = WarmupProgress("192.0.2.1", 3, NOW, NOW)
OTHER = WarmupProgress("2001:db8::1", 1, NOW, NOW, "paused")


async def test_progress_is_kept_in_order_of_address(store: Store) -> None:
    assert await store.warmups.all() == []
    assert await store.warmups.replace(None, OTHER)
    assert await store.warmups.replace(None, ONE)
    assert await store.warmups.all() == [ONE, OTHER]


async def test_progress_outlives_the_process(kind: Kind) -> None:
    store = await kind.open()
    await store.warmups.replace(None, ONE)
    await store.close()
    store = await kind.open()
    assert await store.warmups.all() == [ONE]


async def test_a_change_counts_where_its_maker_knows_what_stands_there(store: Store) -> None:
    await store.warmups.replace(None, ONE)
    assert await store.warmups.replace(ONE, replace(ONE, day=4))
    assert await store.warmups.all() == [replace(ONE, day=4)]


async def test_a_change_of_what_is_not_there_any_more_is_none(store: Store) -> None:
    await store.warmups.replace(None, ONE)
    assert not await store.warmups.replace(None, replace(ONE, day=1))
    assert not await store.warmups.replace(replace(ONE, day=2), replace(ONE, day=3))
    assert not await store.warmups.replace(OTHER, replace(OTHER, day=3))
    assert await store.warmups.all() == [ONE]


async def test_progress_is_forgotten_where_it_is_as_it_was_known(store: Store) -> None:
    await store.warmups.replace(None, ONE)
    assert not await store.warmups.forget(replace(ONE, day=9))
    assert await store.warmups.forget(ONE)
    assert await store.warmups.all() == []
