"""What happened is written with what made it so, and read in order until it is forgotten."""

from dataclasses import replace

from relay.store.attempted import Attempted, Verdict, Way
from relay.store.happenings import Complained, Rejected, Returned, Sent
from relay.store.interface import Store
from relay.store.values import NewMessage, Owner, Settlement, Suppressed, SuppressionEntry
from tests.contract.making import AUTHOR, NOW, make_new

BOUNCED = Verdict("b@x.test", True, "Permanent", "NoEmail", "m", "r", "5.1.1", "550 no", "mx")


async def test_an_insert_tells_of_the_message_and_of_who_is_suppressed(
    store: Store, owner: Owner
) -> None:
    await store.suppressions.put([SuppressionEntry("b@x.test", "bounce", "operator", NOW)], AUTHOR)
    new = make_new("a@x.test", "b@x.test")
    new = NewMessage(new.message, new.due_at, ("bounce",))
    await store.insert(new, owner)
    (entry,) = await store.outbox.read(0, 10)
    assert entry.message_id == new.message.id
    assert isinstance(entry.what, Sent)
    assert entry.what.message.envelope == new.message.envelope
    assert entry.what.message.header == new.message.header
    assert [s.address for s in entry.what.suppressed] == ["b@x.test"]


async def test_a_message_whose_recipients_are_all_suppressed_is_told_of(
    store: Store, owner: Owner
) -> None:
    await store.suppressions.put([SuppressionEntry("a@x.test", "bounce", "operator", NOW)], AUTHOR)
    new = make_new("a@x.test")
    await store.insert(NewMessage(new.message, new.due_at, ("bounce",)), owner)
    (entry,) = await store.outbox.read(0, 10)
    assert isinstance(entry.what, Sent)
    assert len(entry.what.suppressed) == 1


async def test_a_settlement_tells_what_happened_once_and_only_under_its_claim(
    store: Store, owner: Owner
) -> None:
    (delivery,) = (await store.insert(make_new("b@x.test"), owner)).deliveries
    happened = Attempted(NOW + 5, 1, verdicts=(BOUNCED,), way=Way("main"))
    settlement = Settlement(delivery, happened=happened)
    assert await store.settle(owner, settlement)
    assert not await store.settle(owner, settlement)
    assert list(await store.end([settlement])) == [False]
    _, entry = await store.outbox.read(0, 10)
    assert (entry.message_id, entry.at, entry.what) == (delivery.message.id, NOW + 5, happened)


async def test_deliveries_that_end_together_tell_each_of_its_own(
    store: Store, owner: Owner
) -> None:
    deliveries = [
        d for _ in range(3) for d in (await store.insert(make_new("a@x.test"), owner)).deliveries
    ]
    told = [Attempted(NOW + n, 1, delivered=("a@x.test",)) for n in range(3)]
    await store.end([Settlement(d, happened=h) for d, h in zip(deliveries, told, strict=True)])
    entries = (await store.outbox.read(0, 10))[3:]
    assert [(e.message_id, e.what) for e in entries] == [
        (d.message.id, h) for d, h in zip(deliveries, told, strict=True)
    ]


async def test_entries_are_read_from_where_one_was_and_are_gone_once_forgotten(
    store: Store, owner: Owner
) -> None:
    for _ in range(4):
        await store.insert(make_new("a@x.test"), owner)
    entries = await store.outbox.read(0, 3)
    rest = await store.outbox.read(entries[-1].id, 10)
    assert len(entries) == 3
    assert len(rest) == 1
    assert await store.outbox.depth() == (4, NOW)
    assert await store.outbox.forget(entries[-1].id) == 3
    assert await store.outbox.read(0, 10) == rest
    await store.outbox.forget(rest[-1].id)
    assert await store.outbox.depth() == (0, 0)
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    (entry,) = await store.outbox.read(0, 10)
    assert entry.id > rest[-1].id
    assert entry.message_id == delivery.message.id


async def test_a_report_that_is_handed_in_twice_is_told_once(store: Store) -> None:
    complained = Complained(0, user_agent="loop/1")
    assert await store.outbox.add("m", NOW, complained, once="m/0/complaint")
    assert not await store.outbox.add("m", NOW + 1, complained, once="m/0/complaint")
    assert [e.what for e in await store.outbox.read(0, 10)] == [complained]
    assert await store.outbox.prune_once(NOW + 1, 10) == 1
    assert await store.outbox.add("m", NOW + 2, complained, once="m/0/complaint")


async def test_reports_about_one_message_are_bounded_whoever_they_name(store: Store) -> None:
    told = [
        await store.outbox.add("m", NOW, Returned(None, who, "failed"), f"bounce-m-{who}", most=2)
        for who in ("a", "b", "c", "a")
    ]
    assert told == [True, True, False, False]
    other = Returned(None, "c", "failed")
    assert await store.outbox.add("n", NOW, other, "bounce-mm-c", most=2)
    assert len(await store.outbox.read(0, 10)) == 3


async def test_an_outbox_keeps_its_name_and_knows_how_far_its_ids_have_come(
    store: Store, owner: Owner
) -> None:
    name, before = await store.outbox.name()
    await store.insert(make_new("a@x.test"), owner)
    (entry,) = await store.outbox.read(0, 10)
    await store.outbox.forget(entry.id)
    same, after = await store.outbox.name()
    assert same == name
    assert before < entry.id <= after
    assert await store.outbox.rename() != name
    again = (await store.outbox.name())[1]
    await store.insert(make_new("b@x.test"), owner)
    (later,) = await store.outbox.read(entry.id, 10)
    assert entry.id <= again < later.id


async def test_a_rejected_message_is_told_of_twice_and_never_queued(
    store: Store, owner: Owner
) -> None:
    await store.suppressions.put([SuppressionEntry("b@x.test", "bounce", "import", NOW)], AUTHOR)
    new = make_new("a@x.test", "b@x.test")
    new = replace(new, suppression=("bounce",), rejected="Bad content")
    accepted = await store.insert(new, owner)
    sent, rejected = await store.outbox.read(0, 10)
    assert (accepted.deliveries, accepted.suppressed) == ((), ())
    assert isinstance(sent.what, Sent)
    assert sent.what.suppressed == ()
    assert (rejected.message_id, rejected.what) == (new.message.id, Rejected("Bad content"))
    assert await store.find_message(new.message.id) is None
    assert await store.next_due() is None


async def test_a_recipient_that_is_withheld_is_told_of_as_suppressed_and_is_on_no_list(
    store: Store, owner: Owner
) -> None:
    new = replace(make_new("a@x.test", "b@x.test"), withheld=frozenset({"b@x.test"}))
    accepted = await store.insert(new, owner)
    assert accepted.suppressed == (Suppressed("b@x.test", "bounce"),)
    (delivery,) = accepted.deliveries
    assert [recipient.address for recipient in delivery.recipients] == ["a@x.test"]
    (entry,) = await store.outbox.read(0, 10)
    assert isinstance(entry.what, Sent)
    assert entry.what.suppressed == accepted.suppressed
    assert await store.suppressions.find("b@x.test") is None
