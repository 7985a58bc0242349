"""The end of an attempt, in one transaction, while the claim holds."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from relay.mail.envelope import Recipient
from relay.store.interface import Store
from relay.store.sqlite import SqliteStore
from relay.store.values import Delivery, Owner, Settlement, SuppressionEntry
from tests.contract.making import AUTHOR, LEASE, NOW, make_message, make_new


async def insert(store: Store, owner: Owner, *recipients: str) -> tuple[Delivery, ...]:
    return (await store.insert(make_new(*recipients), owner)).deliveries


def _over(deliveries: Sequence[Delivery]) -> list[Settlement]:
    return [Settlement(delivery) for delivery in deliveries]


async def test_the_message_goes_with_its_last_delivery(store: Store, owner: Owner) -> None:
    first, second = await insert(store, owner, "a@x.test", "b@y.test")
    assert await store.settle(owner, Settlement(first))
    assert await store.find_message(first.message.id) is not None
    assert await store.settle(owner, Settlement(second))
    assert await store.find_message(first.message.id) is None


async def test_a_settlement_counts_once(store: Store, owner: Owner) -> None:
    (delivery,) = await insert(store, owner)
    answers = await asyncio.gather(*(store.settle(owner, Settlement(delivery)) for _ in range(3)))
    assert sorted(answers) == [False, False, True]


async def test_many_settlements_at_once_end_each_its_own(store: Store, owner: Owner) -> None:
    deliveries = [d for _ in range(150) for d in await insert(store, owner, "a@x.test", "b@y.test")]
    lost = deliveries[7]
    await store.release(owner, [(lost.id, NOW)])
    answers = await asyncio.gather(*(store.settle(owner, Settlement(d)) for d in deliveries))
    assert answers == [d is not lost for d in deliveries]
    assert sum(depth.queued for depth in await store.depths()) == 1
    assert await store.find_message(lost.message.id) is not None
    assert await store.find_message(deliveries[9].message.id) is None


async def test_deliveries_that_end_together_end_each_its_own(store: Store, owner: Owner) -> None:
    deliveries = [d for _ in range(90) for d in await insert(store, owner, "a@x.test", "b@y.test")]
    lost = deliveries[7]
    await store.release(owner, [(lost.id, NOW)])
    first, second = deliveries[:60], deliveries[60:]
    answers = await asyncio.gather(store.end(_over(first)), store.end(_over(second)))
    assert [list(answer) for answer in answers] == [[d is not lost for d in first], [True] * 120]
    assert list(await store.end(_over(first))) == [False] * 60
    assert sum(depth.queued for depth in await store.depths()) == 1
    assert await store.find_message(lost.message.id) is not None
    assert await store.find_message(deliveries[9].message.id) is None


async def test_what_remains_is_tried_again_when_it_is_due(store: Store, owner: Owner) -> None:
    (delivery,) = await insert(store, owner, "a@x.test", "b@x.test")
    remaining = (Recipient("b@x.test"),)
    assert await store.settle(
        owner, Settlement(delivery, remaining, NOW + 60_000, last_reply="451 4.3.0 later")
    )
    assert await store.claim(owner, NOW + 59_999, 10) == []
    (again,) = await store.claim(owner, NOW + 60_000, 10)
    assert again.recipients == remaining
    assert again.attempts == 1
    assert again.last_reply == "451 4.3.0 later"
    assert again.message.envelope.recipients == delivery.message.envelope.recipients


async def test_a_delay_without_an_attempt_keeps_count_and_reply(store: Store, owner: Owner) -> None:
    (delivery,) = await insert(store, owner)
    await store.settle(owner, Settlement(delivery, delivery.recipients, NOW, last_reply="421 busy"))
    (delivery,) = await store.claim(owner, NOW, 10)
    await store.settle(owner, Settlement(delivery, delivery.recipients, NOW, attempted=False))
    (delivery,) = await store.claim(owner, NOW, 10)
    assert (delivery.attempts, delivery.last_reply) == (1, "421 busy")


async def test_a_kept_claim_stays_with_its_owner(store: Store, owner: Owner) -> None:
    (delivery,) = await insert(store, owner)
    kept = Settlement(delivery, delivery.recipients, NOW + 1, keep_claim=True)
    assert await store.settle(owner, kept)
    assert await store.claim(owner, NOW + 10, 10) == []
    assert await store.settle(owner, Settlement(delivery))


async def test_reports_and_suppressions_come_with_the_settlement(
    store: Store, owner: Owner
) -> None:
    (delivery,) = await insert(store, owner, "a@x.test")
    report = make_new("app@sender.test", due_at=NOW + 1)
    entry = SuppressionEntry("a@x.test", "bounce", "operator", NOW, "550 5.1.1 unknown")
    assert await store.settle(owner, Settlement(delivery, suppress=(entry,), reports=(report,)))
    assert await store.suppressions.find("A@X.test") == replace(entry, bounces=1, seen_at=NOW)
    (queued,) = await store.claim(owner, NOW + 1, 10)
    assert queued.message.id == report.message.id


async def test_a_report_to_a_suppressed_sender_is_told_of_and_not_queued(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    store = SqliteStore(
        tmp_path, on_suppressed=lambda report, who: told.append((report.id, who.address))
    )
    await store.open()
    try:
        owner = await store.register("worker", LEASE)
        await store.suppressions.put(
            [SuppressionEntry("app@sender.test", "bounce", "operator", NOW)], AUTHOR
        )
        (delivery,) = await insert(store, owner, "a@x.test")
        report = make_new("app@sender.test", suppression=("bounce",))
        assert await store.settle(owner, Settlement(delivery, reports=(report,)))
        assert told == [(report.message.id, "app@sender.test")]
        assert await store.depths() == []
    finally:
        await store.close()


async def test_a_settlement_without_its_claim_changes_nothing(store: Store, owner: Owner) -> None:
    (delivery,) = await insert(store, owner, "a@x.test")
    await store.release(owner, [(delivery.id, NOW)])
    entry = SuppressionEntry("a@x.test", "bounce", "operator", NOW)
    late = Settlement(delivery, suppress=(entry,), reports=(make_new(),))
    assert not await store.settle(owner, late)
    assert await store.suppressions.find("a@x.test") is None
    assert await store.suppressions.changes("", 10) == []
    assert sum(depth.queued for depth in await store.depths()) == 1


async def test_a_bounce_does_not_replace_what_an_operator_put_there(
    store: Store, owner: Owner
) -> None:
    manual = SuppressionEntry("a@x.test", "manual", "operator", NOW)
    await store.suppressions.put([manual], AUTHOR)
    (delivery,) = await insert(store, owner, "a@x.test")
    bounce = SuppressionEntry("a@x.test", "bounce", "bounce", NOW, expires_at=NOW + 1_000)
    await store.settle(owner, Settlement(delivery, suppress=(bounce,)))
    assert await store.suppressions.find("a@x.test") == manual


async def test_a_report_that_cannot_be_stored_undoes_its_settlement_alone(
    store: Store, owner: Owner
) -> None:
    (first,) = await insert(store, owner, "a@x.test")
    (second,) = await insert(store, owner, "b@x.test")
    clash = make_new(id=make_message().id)
    await store.insert(clash, owner)
    answers = await asyncio.gather(
        store.settle(owner, Settlement(first, reports=(clash,))),
        store.settle(owner, Settlement(second)),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Exception)
    assert answers[1] is True
    assert await store.settle(owner, Settlement(first))
