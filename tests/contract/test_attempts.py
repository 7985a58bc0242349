"""How attempts went: written with what they led to, found when the message is gone, pruned."""

import asyncio

from relay.store.interface import Store
from relay.store.values import (
    Attempt,
    AttemptResult,
    Delivery,
    DialogueLine,
    Owner,
    Settlement,
)
from tests.contract.making import NOW, make_new

LINES = (DialogueLine(0, "us", "MAIL FROM:<a@b.test>"), DialogueLine(3, "peer", "250 Ök"))


def attempt_at(delivery: Delivery, at: int = NOW, number: int = 1) -> Attempt:
    result = AttemptResult("delivered", "delivered", "250 Ok", 1, ("a@x.test",))
    return Attempt(
        delivery.message.id, delivery.id, delivery.domain, at, number, 0.5, "main", "192.0.2.1",
        "mx.x.test[192.0.2.2]:25", "TLSv1.3", (result,), LINES,
    )  # fmt: skip


async def delivery_of(store: Store, owner: Owner) -> Delivery:
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    return delivery


async def test_an_attempt_is_told_as_it_was_written_though_its_message_is_gone(
    store: Store, owner: Owner
) -> None:
    delivery = await delivery_of(store, owner)
    await store.settle(owner, Settlement(delivery, attempt=attempt_at(delivery)))
    assert await store.find_message(delivery.message.id) is None
    assert await store.attempts.of(delivery.message.id, 10) == [attempt_at(delivery)]
    assert await store.attempts.of("another", 10) == []


async def test_attempts_that_end_together_are_all_kept(store: Store, owner: Owner) -> None:
    deliveries = [await delivery_of(store, owner) for _ in range(70)]
    assert all(await store.end([Settlement(d, attempt=attempt_at(d)) for d in deliveries]))
    found = await asyncio.gather(*(store.attempts.of(d.message.id, 10) for d in deliveries))
    assert found == [[attempt_at(d)] for d in deliveries]


async def test_the_last_attempts_come_in_order(store: Store, owner: Owner) -> None:
    delivery = await delivery_of(store, owner)
    for number in range(1, 6):
        await store.settle(
            owner,
            Settlement(
                delivery,
                remaining=delivery.recipients,
                due_at=NOW,
                keep_claim=True,
                attempt=attempt_at(delivery, NOW + number, number),
            ),
        )
    last = await store.attempts.of(delivery.message.id, 3)
    assert [attempt.number for attempt in last] == [3, 4, 5]


async def kept(store: Store, deliveries: list[Delivery]) -> list[int]:
    found = [await store.attempts.of(delivery.message.id, 1) for delivery in deliveries]
    return [attempt.at for some in found for attempt in some]


async def some_attempts(store: Store, owner: Owner, count: int) -> list[Delivery]:
    deliveries = [await delivery_of(store, owner) for _ in range(count)]
    for age, delivery in enumerate(deliveries):
        await store.end([Settlement(delivery, attempt=attempt_at(delivery, NOW + age))])
    return deliveries


async def test_what_is_old_is_pruned_in_steps(store: Store, owner: Owner) -> None:
    deliveries = await some_attempts(store, owner, 5)
    assert await store.attempts.prune(NOW + 3, 100, 2) == 2
    assert await kept(store, deliveries) == [NOW + 2, NOW + 3, NOW + 4]
    assert await store.attempts.prune(NOW + 3, 100, 2) == 1
    assert await store.attempts.prune(NOW + 3, 100, 2) == 0
    assert await kept(store, deliveries) == [NOW + 3, NOW + 4]


async def test_what_is_too_much_is_pruned_from_the_oldest_on(store: Store, owner: Owner) -> None:
    deliveries = await some_attempts(store, owner, 5)
    assert await store.attempts.prune(0, 2, 100) == 3
    assert await kept(store, deliveries) == [NOW + 3, NOW + 4]
    assert await store.attempts.prune(0, 0, 100) == 2
    assert await store.attempts.prune(0, 0, 100) == 0
    later = await some_attempts(store, owner, 1)
    assert await kept(store, later) == [NOW]
