"""Mail that was put off without an attempt, and what it waits for."""

from relay.store.interface import Store
from relay.store.values import Owner, PutOff, QueueFilter
from tests.contract.making import NOW, make_new

REST = "rest:acme"


async def put_off(store: Store, owner: Owner, word: str, count: int = 1) -> list[int]:
    ids = []
    for _ in range(count):
        (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
        await store.delays.put_off(owner, [PutOff(delivery.id, NOW + 60_000, word)])
        ids.append(delivery.id)
    return ids


async def seen(store: Store) -> list[tuple[str, int, bool]]:
    entries = await store.queue(QueueFilter())
    return [(entry.waits_for, entry.due_at - NOW, entry.claimed) for entry in entries]


async def test_what_was_put_off_says_what_it_waits_for_and_keeps_its_time(
    store: Store, owner: Owner
) -> None:
    await put_off(store, owner, REST)
    assert await seen(store) == [(REST, 60_000, False)]
    assert await store.claim(owner, NOW, 10) == []
    assert await store.next_due() == NOW + 60_000


async def test_it_comes_forward_by_its_word_and_no_other_does(store: Store, owner: Owner) -> None:
    first, second = await put_off(store, owner, REST, 2)
    await put_off(store, owner, "rest:acmeplus")
    assert await store.delays.words("rest") == [REST, "rest:acmeplus"]
    assert await store.delays.words("warmup") == []
    assert list(await store.delays.bring_forward(REST, 0, NOW, 1)) == [first]
    assert list(await store.delays.bring_forward(REST, first, NOW, 1)) == [second]
    assert list(await store.delays.bring_forward(REST, second, NOW, 1)) == []
    assert await seen(store) == [("", 0, False), ("", 0, False), ("rest:acmeplus", 60_000, False)]
    assert await store.delays.words("rest") == ["rest:acmeplus"]


async def test_what_is_due_already_is_made_no_younger(store: Store, owner: Owner) -> None:
    await put_off(store, owner, REST)
    await store.delays.bring_forward(REST, 0, NOW + 90_000, 10)
    assert await seen(store) == [("", 60_000, False)]


async def test_a_claim_takes_the_word_off(store: Store, owner: Owner) -> None:
    """Or it would tell of a wait that is past."""
    await put_off(store, owner, REST)
    (claimed,) = await store.claim(owner, NOW + 60_000, 10)
    assert await seen(store) == [("", 60_000, True)]
    await store.release(owner, [(claimed.id, NOW + 70_000)])
    assert await seen(store) == [("", 70_000, False)]
    assert list(await store.delays.bring_forward(REST, 0, NOW, 10)) == []


async def test_only_the_claimant_puts_off(store: Store, owner: Owner) -> None:
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    other = await store.register("other", 60_000)
    await store.delays.put_off(other, [PutOff(delivery.id, NOW + 5, REST)])
    assert await seen(store) == [("", 0, True)]


async def test_an_operators_retry_and_another_pool_end_the_wait(store: Store, owner: Owner) -> None:
    await put_off(store, owner, REST, 2)
    first, second = [entry.message_id for entry in await store.queue(QueueFilter())]
    await store.retry_now(QueueFilter(message_id=first), NOW)
    await store.move(QueueFilter(message_id=second), "other")
    waits = await seen(store)
    assert [word for word, _, _ in waits] == ["", ""]
    assert all(due <= 0 for _, due, _ in waits)
