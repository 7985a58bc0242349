"""Who may deliver what, and for how long."""

import asyncio

from relay.store.interface import Store
from relay.store.values import Owner, Settlement
from tests.contract.making import LEASE, NOW, Kind, make_new


async def test_the_longest_due_comes_first_and_the_future_waits(store: Store, owner: Owner) -> None:
    for due_at in (NOW - 1, NOW - 3, NOW + 1, NOW - 2):
        await store.insert(make_new(due_at=due_at), None)
    claimed = await store.claim(owner, NOW, 2)
    assert [d.due_at for d in claimed] == [NOW - 3, NOW - 2]
    assert [d.due_at for d in await store.claim(owner, NOW, 10)] == [NOW - 1]
    assert await store.next_due() == NOW + 1


async def test_nothing_is_due_in_an_empty_queue(store: Store, owner: Owner) -> None:
    assert await store.next_due() is None
    assert await store.claim(owner, NOW, 10) == []


async def test_no_delivery_is_claimed_twice(store: Store, owner: Owner) -> None:
    other = await store.register("other", LEASE)
    await asyncio.gather(*(store.insert(make_new(), None) for _ in range(50)))
    claims = await asyncio.gather(
        *(store.claim(who, NOW, 10) for who in (owner, other, owner, other, owner, other))
    )
    identifiers = [d.id for claim in claims for d in claim]
    assert len(identifiers) == len(set(identifiers)) == 50


async def test_a_silent_worker_is_declared_dead_after_its_lease(
    kind: Kind, store: Store, owner: Owner
) -> None:
    accepted = await store.insert(make_new(), owner)
    other = await store.register("other", LEASE)
    assert await store.claim(other, NOW, 10) == []
    await _live(kind, store, other, LEASE - 5_000)
    assert await store.claim(other, NOW, 10) == []
    await _live(kind, store, other, 5_001)
    (taken_over,) = await store.claim(other, NOW, 10)
    assert taken_over.id == accepted.deliveries[0].id
    assert not await store.renew(owner, LEASE)
    assert not await store.settle(owner, Settlement(accepted.deliveries[0]))
    assert await store.claim(owner, NOW, 10) == []
    assert await store.settle(other, Settlement(taken_over))


async def _live(kind: Kind, store: Store, living: Owner, milliseconds: int) -> None:
    """Time passes, in which one owner renews its lease as it should."""
    while milliseconds > 0:
        step = min(milliseconds, LEASE // 3)
        await kind.pass_ms(step)
        assert await store.renew(living, LEASE)
        milliseconds -= step


async def test_a_worker_that_renews_its_lease_lives(kind: Kind, store: Store, owner: Owner) -> None:
    await store.insert(make_new(), owner)
    other = await store.register("other", LEASE)
    for _ in range(5):
        assert await store.claim(other, NOW, 10) == []
        await _live(kind, store, owner, LEASE - 5_000)


async def test_a_wall_clock_that_jumps_kills_no_worker(store: Store, owner: Owner) -> None:
    await store.insert(make_new(), owner)
    other = await store.register("other", LEASE)
    for now in (NOW, NOW + 86_400_000, NOW - 86_400_000):
        assert await store.claim(other, now, 10) == []
    assert await store.renew(owner, LEASE)


async def test_a_new_start_under_the_same_name_frees_what_the_old_one_had(
    store: Store, owner: Owner
) -> None:
    accepted = await store.insert(make_new(), owner)
    again = await store.register(owner.name, LEASE)
    assert again.epoch > owner.epoch
    assert not await store.settle(owner, Settlement(accepted.deliveries[0]))
    assert [d.id for d in await store.claim(again, NOW, 10)] == [accepted.deliveries[0].id]


async def test_epochs_are_never_used_again(store: Store) -> None:
    epochs = []
    for _ in range(3):
        owner = await store.register("worker", LEASE)
        epochs.append(owner.epoch)
        await store.resign(owner)
    assert len(set(epochs)) == 3


async def test_a_worker_that_resigns_leaves_everything_free(store: Store, owner: Owner) -> None:
    await store.insert(make_new(), owner)
    await store.resign(owner)
    other = await store.register("other", LEASE)
    assert len(await store.claim(other, NOW, 10)) == 1


async def test_released_deliveries_are_due_when_it_says_and_count_no_attempt(
    store: Store, owner: Owner
) -> None:
    accepted = await store.insert(make_new(), owner)
    await store.release(owner, [(accepted.deliveries[0].id, NOW + 5)])
    assert await store.next_due() == NOW + 5
    (delivery,) = await store.claim(owner, NOW + 5, 10)
    assert delivery.attempts == 0


async def test_only_the_claimant_can_release(store: Store, owner: Owner) -> None:
    other = await store.register("other", LEASE)
    accepted = await store.insert(make_new(), owner)
    await store.release(other, [(accepted.deliveries[0].id, NOW)])
    assert await store.claim(other, NOW, 10) == []


async def test_a_claim_that_nobody_waits_for_is_given_back(store: Store, owner: Owner) -> None:
    await store.insert(make_new(), None)
    asked = asyncio.ensure_future(store.claim(owner, NOW, 10))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    while not (found := await store.claim(owner, NOW, 10)):
        pass
    assert len(found) == 1


async def test_an_insert_that_nobody_waits_for_is_withdrawn(store: Store, owner: Owner) -> None:
    new = make_new()
    asked = asyncio.ensure_future(store.insert(new, owner))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await store.insert(make_new(), owner)
    while await store.find_message(new.message.id) is not None:
        pass
    assert sum(depth.queued for depth in await store.depths()) == 1
