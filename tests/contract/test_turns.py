"""What is due, by turns: no set, no line and no worker keeps the others' mail from being found."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from relay.store.interface import Store
from relay.store.values import Delivery, Due, Owner, QueueFilter, Want
from tests.contract.making import NOW, make_new

CAMPAIGN = 600


async def put(store: Store, count: int, name: str, domain: str, due_at: int = NOW) -> None:
    news = [
        make_new(f"u{number}@{domain}", configuration_set=name, due_at=due_at)
        for number in range(count)
    ]
    await asyncio.gather(*(store.insert(new, None) for new in news))


async def claimed(store: Store, owner: Owner, due: Due) -> Sequence[Delivery]:
    return await store.claim_found(owner, due.ids)


def lines(deliveries: Sequence[Delivery]) -> Counter[tuple[str, str]]:
    return Counter((d.message.configuration_set, d.domain) for d in deliveries)


async def test_a_campaign_does_not_hide_the_mail_of_other_sets(store: Store, owner: Owner) -> None:
    await put(store, CAMPAIGN, "news", "a.test", NOW - 1_000)
    await put(store, 3, "shop", "b.test")
    due = await store.find_due(Want(NOW, 100))
    found = lines(await claimed(store, owner, due))
    assert found == {("news", "a.test"): 97, ("shop", "b.test"): 3}
    assert due.left == {"news"}


async def test_sets_take_turns_by_their_weights(store: Store, owner: Owner) -> None:
    for name in ("high", "normal", "low"):
        await put(store, 200, name, "a.test")
    weights = {"high": 16, "normal": 4, "low": 1}
    due = await store.find_due(Want(NOW, 100, weights=weights))
    found = lines(await claimed(store, owner, due))
    assert [found[name, "a.test"] for name in weights] == [76, 19, 5]


async def test_within_a_set_lines_take_turns(store: Store, owner: Owner) -> None:
    await put(store, CAMPAIGN, "news", "big.test", NOW - 1_000)
    for number in range(5):
        await put(store, 20, "news", f"{number}.test")
    due = await store.find_due(Want(NOW, 60))
    found = lines(await claimed(store, owner, due))
    assert sum(found.values()) == 60
    assert max(found.values()) <= 12
    assert len(found) == 6


async def test_what_a_worker_cannot_use_is_passed_over(store: Store, owner: Owner) -> None:
    await put(store, CAMPAIGN, "news", "full.test", NOW - 1_000)
    await put(store, CAMPAIGN, "other", "full.test", NOW - 1_000)
    await put(store, 4, "news", "free.test")
    narrow = {("news", "full.test"): 0}
    due = await store.find_due(
        Want(NOW, 100, rooms={"other": 0}, narrow=narrow, widths=(0,), start=0.99)
    )
    assert lines(await claimed(store, owner, due)) == {("news", "free.test"): 4}
    assert due.left == {"news", "other"}


async def test_lines_to_one_bottleneck_share_the_room_there(store: Store, owner: Owner) -> None:
    for number in range(4):
        await put(store, 10, "news", f"{number}.test")
    narrow = {("news", f"{number}.test"): 0 for number in range(4)}
    due = await store.find_due(Want(NOW, 100, narrow=narrow, widths=(7,)))
    found = lines(await claimed(store, owner, due))
    assert sum(found.values()) == 7


async def test_a_room_bounds_what_a_set_is_given(store: Store, owner: Owner) -> None:
    await put(store, 50, "news", "a.test")
    await put(store, 50, "shop", "a.test")
    due = await store.find_due(Want(NOW, 60, rooms={"news": 5}))
    assert lines(await claimed(store, owner, due)) == {
        ("news", "a.test"): 5,
        ("shop", "a.test"): 50,
    }


async def test_the_search_comes_to_every_line_and_then_rests(store: Store, owner: Owner) -> None:
    """Lines that cannot be used, more than one question looks at, with one that can behind."""
    await put(store, 300, "news", "full.test", NOW - 1_000)
    news = [make_new(f"u@n{number:05}.test", configuration_set="news") for number in range(4_500)]
    await asyncio.gather(*(store.insert(new, None) for new in news))
    narrow = {("news", f"n{number:05}.test"): 0 for number in range(4_499)}
    narrow["news", "full.test"] = 0
    want = Want(NOW, 10, narrow=narrow, widths=(0,))
    due = await store.find_due(want)
    rounds = 1
    while not due.is_searched:
        due = await store.find_due(Want(NOW, 10, narrow=narrow, widths=(0,), cursors=due.cursors))
        rounds += 1
    assert rounds == 2
    assert lines(await claimed(store, owner, due)) == {("news", "n04499.test"): 1}
    for _ in range(3):
        due = await store.find_due(Want(NOW, 10, narrow=narrow, widths=(0,), cursors=due.cursors))
        if due.is_searched:
            break
    assert (due.ids, due.is_searched) == ((), True)


async def test_what_was_claimed_meanwhile_is_not_claimed_again(store: Store, owner: Owner) -> None:
    await put(store, 10, "news", "a.test")
    due = await store.find_due(Want(NOW, 10))
    first = await store.claim(owner, NOW, 4)
    assert len(await claimed(store, owner, due)) == 6
    assert len(first) == 4


async def test_mail_that_is_due_later_is_not_found(store: Store) -> None:
    await put(store, 5, "news", "a.test", NOW + 1)
    assert await store.find_due(Want(NOW, 10)) == Due(())
    assert await store.next_due(NOW) == NOW + 1
    assert await store.next_due(NOW + 1) is None


async def test_what_has_expired_is_found_wherever_it_waits(store: Store, owner: Owner) -> None:
    late = make_new("u@a.test", due_at=NOW + 1_000, expires_at=NOW - 5)
    other = make_new("u@b.test", expires_at=NOW + 5)
    for new in (late, other):
        await store.insert(new, None)
    found = await store.find_expired(0, NOW, 10)
    assert [d.message.id for d in await store.claim_found(owner, found)] == [late.message.id]
    assert await store.find_expired(NOW - 5, NOW, 10) == []


async def test_held_mail_does_not_expire(store: Store) -> None:

    await store.insert(make_new("u@a.test", expires_at=NOW - 5), None)
    await store.set_state(QueueFilter(), "held")
    assert await store.find_expired(0, NOW, 10) == []
