"""Pauses and fresh starts, and that they are told of."""

from dataclasses import replace

from relay.store.happenings import Paused
from relay.store.interface import Store
from relay.store.pauses import FreshStart, Pause
from tests.contract.making import NOW

PAUSE = Pause("set", "news", "11 % bounced", "relay", NOW)


async def test_a_pause_is_kept_and_told_of_once(store: Store) -> None:
    assert await store.pauses.put(PAUSE)
    assert not await store.pauses.put(replace(PAUSE, reason="again"))
    assert await store.pauses.all() == [PAUSE]
    (entry,) = await store.outbox.read(0, 10)
    assert (entry.message_id, entry.at) == ("", NOW)
    assert entry.what == Paused("set", "news", True, "11 % bounced")


async def test_a_pause_that_is_lifted_is_told_of_once(store: Store) -> None:
    await store.pauses.put(PAUSE)
    await store.pauses.put(replace(PAUSE, kind="credential"))
    assert await store.pauses.lift("set", "news", NOW + 5, "better")
    assert not await store.pauses.lift("set", "news", NOW + 6, "better")
    assert await store.pauses.all() == [replace(PAUSE, kind="credential")]
    entries = await store.outbox.read(0, 10)
    assert [e.what for e in entries[2:]] == [Paused("set", "news", False, "better")]


async def test_the_last_fresh_start_counts(store: Store) -> None:
    await store.pauses.start_afresh(FreshStart("set:a", NOW, 5, 4, 3))
    await store.pauses.start_afresh(FreshStart("account", NOW))
    await store.pauses.start_afresh(FreshStart("set:a", NOW + 1, 2))
    assert await store.pauses.fresh_starts() == [
        FreshStart("account", NOW), FreshStart("set:a", NOW + 1, 2),
    ]  # fmt: skip
