"""What an insert stores, and what it gives back."""

import asyncio

import pytest

from relay.mail.envelope import Envelope, Recipient
from relay.store.interface import Store, StoreError
from relay.store.values import Owner, Suppressed, SuppressionEntry
from tests.contract.making import AUTHOR, NOW, Kind, make_message, make_new, read, write_body


async def test_a_message_comes_back_as_it_was_stored(store: Store, owner: Owner) -> None:
    envelope = Envelope(
        "",
        (Recipient("Ä@destination.test", ("FAILURE", "DELAY"), "rfc822;a+2Bb@x.test"),),
        "8BITMIME",
        smtputf8=True,
        ret="HDRS",
        envid="QQ+2B1",
    )
    new = make_new(envelope=envelope, header=b"Subject: \xff\xfe\r\n")
    await store.insert(new, None)
    (delivery,) = await store.claim(owner, NOW, 10)
    found = await store.find_message(new.message.id)
    assert found == delivery.message
    assert delivery.message.envelope == envelope
    assert delivery.message.header == new.message.header
    assert delivery.message.tags == new.message.tags
    assert delivery.message.body.size == new.message.body.size
    assert delivery.message.body.relaxed_digest == new.message.body.relaxed_digest
    assert delivery.message.expires_at == new.message.expires_at
    assert await read(store, delivery) == new.message.body.inline


async def test_it_is_there_after_the_store_was_opened_anew(kind: Kind) -> None:
    first = await kind.open()
    new = make_new()
    await first.insert(new, None)
    await first.close()
    second = await kind.open()
    (delivery,) = await second.claim(await second.register("worker", 1_000), NOW, 10)
    assert delivery.message.id == new.message.id
    assert await read(second, delivery) == b"A line.\r\n"


async def test_recipients_of_one_domain_share_a_delivery(store: Store) -> None:
    accepted = await store.insert(make_new("a@x.test", "b@y.test", "c@x.test"), None)
    assert [(d.domain, [r.address for r in d.recipients]) for d in accepted.deliveries] == [
        ("x.test", ["a@x.test", "c@x.test"]),
        ("y.test", ["b@y.test"]),
    ]


async def test_an_insert_with_an_owner_is_claimed_and_keeps_the_body_in_memory(
    store: Store, owner: Owner
) -> None:
    accepted = await store.insert(make_new(), owner)
    assert [d.epoch for d in accepted.deliveries] == [owner.epoch]
    assert accepted.deliveries[0].message.body.inline == b"A line.\r\n"
    assert await store.claim(owner, NOW, 10) == []


async def test_what_a_dead_owner_inserts_is_free_for_others(store: Store, owner: Owner) -> None:
    await store.resign(owner)
    accepted = await store.insert(make_new(), owner)
    assert [d.epoch for d in accepted.deliveries] == [0]
    other = await store.register("other", 30_000)
    assert len(await store.claim(other, NOW, 10)) == 1


async def test_suppressed_recipients_are_recorded_and_not_queued(store: Store) -> None:
    await store.suppressions.put([SuppressionEntry("No@X.test", "bounce", "operator", NOW)], AUTHOR)
    accepted = await store.insert(
        make_new("nO@x.test", "yes@x.test", suppression=["bounce", "manual"]), None
    )
    assert accepted.suppressed == (Suppressed("nO@x.test", "bounce"),)
    assert [[r.address for r in d.recipients] for d in accepted.deliveries] == [["yes@x.test"]]


async def test_only_the_reasons_that_the_message_names_suppress(store: Store) -> None:
    await store.suppressions.put([SuppressionEntry("a@x.test", "manual", "operator", NOW)], AUTHOR)
    accepted = await store.insert(make_new("a@x.test", suppression=["bounce"]), None)
    assert accepted.suppressed == ()
    assert len(accepted.deliveries) == 1


async def test_an_expired_entry_does_not_suppress(store: Store) -> None:
    await store.suppressions.put(
        [SuppressionEntry("a@x.test", "bounce", "operator", 0, expires_at=NOW)], AUTHOR
    )
    accepted = await store.insert(make_new("a@x.test", suppression=["bounce"]), None)
    assert len(accepted.deliveries) == 1


async def test_a_message_to_nobody_but_suppressed_recipients_is_not_kept(
    store: Store, owner: Owner
) -> None:
    await store.suppressions.put([SuppressionEntry("a@x.test", "bounce", "operator", NOW)], AUTHOR)
    body = await write_body(store, b"x" * 5_000)
    new = make_new("a@x.test", suppression=["bounce"], body=body)
    accepted = await store.insert(new, owner)
    assert accepted.deliveries == ()
    assert len(accepted.suppressed) == 1
    assert await store.find_message(new.message.id) is None


async def test_concurrent_inserts_get_each_their_own_answer(store: Store, owner: Owner) -> None:
    await store.suppressions.put([SuppressionEntry("a3@x.test", "bounce", "operator", NOW)], AUTHOR)
    news = [
        make_new(f"a{n}@x.test", *(f"b@y{m}.test" for m in range(n % 4)), suppression=["bounce"])
        for n in range(200)
    ]
    accepted = await asyncio.gather(*(store.insert(new, owner) for new in news))
    for number, (new, answer) in enumerate(zip(news, accepted, strict=True)):
        assert {d.message.id for d in answer.deliveries} == {new.message.id}
        assert len(answer.deliveries) == 1 + number % 4 - (number == 3)
        assert len(answer.suppressed) == (number == 3)
    assert len({d.id for answer in accepted for d in answer.deliveries}) == sum(
        len(answer.deliveries) for answer in accepted
    )


async def test_a_message_id_is_stored_once_and_only_the_second_insert_fails(store: Store) -> None:
    twice = make_message()
    news = [make_new() for _ in range(5)]
    news.insert(2, make_new(id=twice.id))
    news.insert(4, make_new(id=twice.id))
    answers = await asyncio.gather(
        *(store.insert(new, None) for new in news), return_exceptions=True
    )
    assert [isinstance(answer, StoreError) for answer in answers] == [
        False, False, False, False, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 1_000, 1_001, 262_144, 700_000])
async def test_bodies_of_any_size_come_back_in_bounded_chunks(
    store: Store, owner: Owner, size: int
) -> None:
    content = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    body = await write_body(store, *(content[i : i + 40_000] for i in range(0, size, 40_000)))
    assert body.size == size
    assert (body.inline is None) == (size > 1_000)
    await store.insert(make_new(body=body), None)
    (delivery,) = await store.claim(owner, NOW, 1)
    chunks = [chunk async for chunk in store.read_body(delivery.message)]
    assert b"".join(chunks) == content
    assert all(len(chunk) <= 256 * 1024 for chunk in chunks)


async def test_the_memory_of_a_body_that_arrives_is_bounded(store: Store) -> None:
    writer = store.new_body()
    for _ in range(100):
        await writer.write(b"x" * 65_536)
        assert writer.in_memory <= 512 * 1024
    await writer.discard()
    assert writer.in_memory == 0


async def test_a_discarded_body_cannot_be_finished(store: Store) -> None:
    writer = store.new_body()
    await writer.write(b"x" * 5_000)
    await writer.discard()
    with pytest.raises(StoreError):
        await writer.finish(simple_digest=b"", relaxed_digest=None, eight_bit=False)


async def test_discarding_after_the_insert_does_not_hurt_the_message(
    store: Store, owner: Owner
) -> None:
    writer = store.new_body()
    await writer.write(b"x" * 5_000)
    body = await writer.finish(simple_digest=b"", relaxed_digest=None, eight_bit=False)
    accepted = await store.insert(make_new(body=body), owner)
    await writer.discard()
    assert await read(store, accepted.deliveries[0]) == b"x" * 5_000


async def test_free_space_is_that_of_the_medium_or_not_known(store: Store) -> None:
    free = await store.free_space()
    assert free is None if store.is_shared else free
