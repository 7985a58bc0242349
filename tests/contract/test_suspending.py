"""What operators have ordered to wait, and the deliveries that were set aside for it."""

from dataclasses import replace

from relay.store.interface import Store
from relay.store.values import Owner, QueueFilter, Suspension
from tests.contract.making import LEASE, NOW, Kind, make_new

DOMAIN = Suspension("domain", "x.test", "they asked us to wait", "root", NOW)


async def state_of(store: Store) -> list[str]:
    return [entry.state for entry in await store.queue(QueueFilter())]


async def test_a_suspension_is_kept_until_it_is_lifted(store: Store) -> None:
    ends = Suspension("source", "192.0.2.1", "blocklisted", "ann", NOW, NOW + 5)
    assert await store.suspensions.put(DOMAIN)
    assert await store.suspensions.put(ends)
    assert await store.suspensions.all() == [DOMAIN, ends]
    assert await store.suspensions.lift("domain", "x.test")
    assert not await store.suspensions.lift("domain", "x.test")
    assert await store.suspensions.all() == [ends]


async def test_a_suspension_outlives_the_process(kind: Kind) -> None:
    first = await kind.open()
    await first.suspensions.put(DOMAIN)
    await first.close()
    assert await (await kind.open()).suspensions.all() == [DOMAIN]


async def test_a_second_order_of_the_same_name_takes_the_place_of_the_first(store: Store) -> None:
    await store.suspensions.put(DOMAIN)
    later = replace(DOMAIN, reason="another one", until=NOW + 9)
    assert not await store.suspensions.put(later)
    assert await store.suspensions.all() == [later]


async def test_what_is_set_aside_is_not_claimed_and_keeps_its_due_time(
    store: Store, owner: Owner
) -> None:
    await store.suspensions.put(DOMAIN)
    (delivery,) = (await store.insert(make_new("a@x.test", due_at=NOW - 7), owner)).deliveries
    await store.suspensions.set_aside(owner, [(delivery.id, DOMAIN.key)])
    assert await store.claim(owner, NOW, 10) == []
    assert await store.next_due() is None
    (entry,) = await store.queue(QueueFilter(state="suspended"))
    assert (entry.due_at, entry.attempts, entry.claimed) == (NOW - 7, 0, False)


async def test_only_what_was_lifted_is_freed(store: Store, owner: Owner) -> None:
    other = replace(DOMAIN, name="y.test")
    for suspension in (DOMAIN, other):
        await store.suspensions.put(suspension)
    accepted = await store.insert(make_new("a@x.test", "b@y.test"), owner)
    await store.suspensions.set_aside(
        owner, [(d.id, f"domain:{d.domain}") for d in accepted.deliveries]
    )
    assert await store.suspensions.free(10) == 0
    await store.suspensions.lift("domain", "y.test")
    assert await store.suspensions.free(10) == 1
    assert await store.suspensions.free(10) == 0
    assert [d.domain for d in await store.claim(owner, NOW, 10)] == ["y.test"]


async def test_what_is_freed_comes_in_parts(store: Store, owner: Owner) -> None:
    await store.suspensions.put(DOMAIN)
    for _ in range(5):
        accepted = await store.insert(make_new("a@x.test"), owner)
        await store.suspensions.set_aside(owner, [(accepted.deliveries[0].id, DOMAIN.key)])
    await store.suspensions.lift("domain", "x.test")
    assert [await store.suspensions.free(2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_worker_that_has_not_heard_of_the_end_sets_nothing_aside(
    store: Store, owner: Owner
) -> None:
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    await store.suspensions.set_aside(owner, [(delivery.id, DOMAIN.key)])
    assert [d.id for d in await store.claim(owner, NOW, 10)] == [delivery.id]


async def test_a_claim_that_was_taken_over_is_not_set_aside(store: Store, owner: Owner) -> None:
    await store.suspensions.put(DOMAIN)
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    await store.register("worker", LEASE)  # a new epoch frees what the old one had
    await store.suspensions.set_aside(owner, [(delivery.id, DOMAIN.key)])
    assert await state_of(store) == ["queued"]


async def test_what_an_operator_holds_stays_held(store: Store, owner: Owner) -> None:
    await store.suspensions.put(DOMAIN)
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    await store.set_state(QueueFilter(), "held")
    await store.suspensions.set_aside(owner, [(delivery.id, DOMAIN.key)])
    assert await state_of(store) == ["held"]
    await store.suspensions.lift("domain", "x.test")
    assert await store.suspensions.free(10) == 0
    assert await state_of(store) == ["held"]


async def test_a_retry_and_a_hold_reach_what_was_set_aside(store: Store, owner: Owner) -> None:
    await store.suspensions.put(DOMAIN)
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    await store.suspensions.set_aside(owner, [(delivery.id, DOMAIN.key)])
    assert await store.set_state(QueueFilter(), "held") == 1
    assert await state_of(store) == ["held"]


async def test_mail_that_waits_for_several_sources_goes_when_one_of_them_is_back(
    store: Store, owner: Owner
) -> None:
    orders = [replace(DOMAIN, kind="source", name=f"192.0.2.{n}") for n in (1, 2)]
    for order in orders:
        await store.suspensions.put(order)
    (delivery,) = (await store.insert(make_new("a@x.test"), owner)).deliveries
    mark = " ".join(order.key for order in orders)
    await store.suspensions.set_aside(owner, [(delivery.id, mark)])
    assert await store.suspensions.free(10) == 0
    await store.suspensions.lift("source", "192.0.2.2")
    assert await store.suspensions.free(10) == 1


async def test_what_waits_for_sources_can_be_looked_at_again_once_each(
    store: Store, owner: Owner
) -> None:
    order = replace(DOMAIN, kind="source", name="192.0.2.1")
    await store.suspensions.put(order)
    await store.suspensions.put(DOMAIN)
    accepted = await store.insert(make_new("a@x.test", "b@y.test", "c@z.test"), owner)
    first, other, last = accepted.deliveries
    marks = [(first.id, order.key), (other.id, DOMAIN.key), (last.id, order.key)]
    await store.suspensions.set_aside(owner, marks)
    assert await store.suspensions.free_of_sources(0, 1) == first.id
    assert await store.suspensions.free_of_sources(first.id, 1) == last.id
    assert await store.suspensions.free_of_sources(last.id, 1) == 0
    assert sorted(await state_of(store)) == ["queued", "queued", "suspended"]
