"""Replies that no rule knew: counted over all who write, bounded, and kept."""

from dataclasses import replace

from relay.store.interface import Store
from relay.store.values import UnclassifiedReply
from tests.contract.making import NOW, Kind

ONE = UnclassifiedReply("550 wibble #", "rcpt", "", 2, NOW, NOW + 5, "550 wibble 7")
OTHER = UnclassifiedReply("550 wobble", "final", "google", 9, NOW, NOW, "550 wobble")


async def test_they_are_listed_most_frequent_first(store: Store) -> None:
    assert await store.unclassified.all(10) == []
    await store.unclassified.add([ONE, OTHER], 10)
    assert await store.unclassified.all(10) == [OTHER, ONE]
    assert await store.unclassified.all(1) == [OTHER]


async def test_what_several_write_is_added_up(store: Store) -> None:
    await store.unclassified.add([ONE], 10)
    again = replace(ONE, count=3, first_seen=NOW - 9, last_seen=NOW + 3, example="550 wibble 8")
    await store.unclassified.add([again], 10)
    summed = replace(ONE, count=5, first_seen=NOW - 9)
    assert await store.unclassified.all(10) == [summed]


async def test_the_same_words_of_another_phase_or_provider_are_another_reply(store: Store) -> None:
    kinds = [ONE, replace(ONE, phase="final"), replace(ONE, provider="google")]
    await store.unclassified.add(kinds, 10)
    assert len(await store.unclassified.all(10)) == 3


async def test_beyond_the_most_those_seen_longest_ago_are_forgotten(store: Store) -> None:
    replies = [replace(ONE, reply=f"550 {n}", last_seen=NOW + n) for n in range(5)]
    await store.unclassified.add(replies, 3)
    kept = {reply.reply for reply in await store.unclassified.all(10)}
    assert kept == {"550 2", "550 3", "550 4"}


async def test_they_can_be_forgotten(store: Store) -> None:
    await store.unclassified.add([ONE, OTHER], 10)
    assert await store.unclassified.clear() == 2
    assert await store.unclassified.all(10) == []


async def test_they_outlive_the_process(kind: Kind) -> None:
    store = await kind.open()
    await store.unclassified.add([ONE], 10)
    await store.close()
    store = await kind.open()
    assert await store.unclassified.all(10) == [ONE]
