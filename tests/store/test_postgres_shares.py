"""Shares of limits in PostgreSQL: never more than there is, whoever asks at the same moment."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from relay.store.fleet_values import Membership, NodeReport, ShareWish
from relay.store.postgres import Place, PostgresStore

LEASE = 10_000
HOUR = 3_600_000
REPORT = NodeReport("1.0")


@pytest.fixture
async def stores(postgres_url: str) -> AsyncIterator[list[PostgresStore]]:
    """Of three nodes."""
    opened = [PostgresStore(Place(postgres_url)) for _ in range(3)]
    for store in opened:
        await store.open()
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture
async def members(stores: list[PostgresStore]) -> list[Membership]:
    return [
        await store.fleet.join(f"n{number}", f"i{number}", LEASE, REPORT)
        for number, store in enumerate(stores)
    ]


def wish(
    limit: int = 10, demand: int = 10, *, keep: int = 0, cooling: int = 0, window: int = HOUR,
    key: str = "k",
) -> ShareWish:  # fmt: skip
    return ShareWish(key, limit, window, keep, cooling, demand)


async def ask(store: PostgresStore, member: Membership, *wishes: ShareWish) -> list[int]:
    """What the member holds from now on, of each."""
    return [share.held for share in await store.shares.settle(member, wishes)]


async def total(url: str) -> int:
    """What is held, and what cools."""
    session = await Place(url).connect()
    found = await session.fetchval(
        "SELECT (SELECT coalesce(sum(held), 0) FROM share)"
        " + (SELECT coalesce(sum(amount), 0) FROM cooling WHERE until > clock_timestamp())"
    )
    await session.close()
    return int(found)


async def test_a_lone_node_has_everything(
    stores: list[PostgresStore], members: list[Membership]
) -> None:
    assert await ask(stores[0], members[0], wish(), wish(7, 3, key="l", window=0)) == [10, 3]


async def test_nodes_that_ask_at_the_same_moment_are_never_given_more_than_there_is(
    stores: list[PostgresStore], members: list[Membership], postgres_url: str
) -> None:
    keys = [f"k{number}" for number in range(20)]
    answers = await asyncio.gather(
        *(
            ask(store, member, *(wish(key=key) for key in keys))
            for store, member in zip(stores, members, strict=True)
        )
    )
    for of_key in zip(*answers, strict=True):
        assert 0 < sum(of_key) <= 10
    assert await total(postgres_url) <= 10 * len(keys)


async def test_what_is_given_up_unused_is_free_at_once_and_what_was_used_is_not(
    stores: list[PostgresStore], members: list[Membership]
) -> None:
    one, two, _ = stores
    assert await ask(one, members[0], wish()) == [10]
    assert await ask(one, members[0], wish(keep=2, cooling=3, demand=2)) == [2]
    (share,) = await two.shares.settle(members[1], [wish()])
    assert share.held == 5
    assert 0 < share.retry_in <= HOUR + HOUR // 16


async def test_what_a_dead_node_held_cools_for_a_window(
    stores: list[PostgresStore], members: list[Membership], postgres_url: str
) -> None:
    one, two, _ = stores
    rates = wish(8, 8), wish(8, 8, key="slots", window=0)
    assert await ask(one, members[0], *rates) == [8, 8]
    session = await Place(postgres_url).connect()
    await session.execute("UPDATE node SET renewed_at = renewed_at - interval '1 hour'")
    await session.execute("UPDATE node SET steady_since = steady_since - interval '1 hour'")
    assert await two.fleet.beat(members[1], REPORT)
    assert await ask(two, members[1], *rates) == [0, 0]  # it may be alive: two was away itself
    await session.execute(
        "UPDATE node SET steady_since = steady_since - interval '1 hour' WHERE name = 'n1'"
    )
    assert await two.fleet.beat(members[1], REPORT)
    assert await ask(one, members[0], *rates) == [0, 0]
    assert await ask(two, members[1], *rates) == [0, 8]
    await session.execute("UPDATE cooling SET until = until - interval '1 hour 4 minutes'")
    await session.close()
    assert await ask(two, members[1], wish(8, 8)) == [8]


async def test_a_node_that_leaves_or_starts_again_has_used_what_it_held(
    stores: list[PostgresStore], members: list[Membership]
) -> None:
    one, two, three = stores
    assert await ask(one, members[0], wish(demand=4)) == [4]
    assert await ask(two, members[1], wish(demand=3)) == [3]
    await one.fleet.leave(members[0])
    again = await two.fleet.join("n1", "i1", LEASE, REPORT)
    assert await ask(two, members[1], wish()) == [0]
    assert await ask(two, again, wish(demand=1)) == [1]
    assert await ask(three, members[2], wish()) == [2]


async def test_what_cools_at_about_the_same_time_is_kept_together(
    stores: list[PostgresStore], members: list[Membership], postgres_url: str
) -> None:
    for _ in range(10):
        assert await ask(stores[0], members[0], wish(1_000, 10)) == [10]
        assert await ask(stores[0], members[0], wish(1_000, 0, cooling=10)) == [0]
    assert await total(postgres_url) == 100
    session = await Place(postgres_url).connect()
    assert await session.fetchval("SELECT count(*) FROM cooling") <= 2
    await session.close()


async def test_nothing_is_written_where_nothing_changes(
    stores: list[PostgresStore], members: list[Membership], postgres_url: str
) -> None:
    session = await Place(postgres_url).connect()
    await ask(stores[0], members[0], wish())
    before = await session.fetchval("SELECT xmin::text FROM share")
    assert await ask(stores[0], members[0], wish(keep=10)) == [10]
    assert await session.fetchval("SELECT xmin::text FROM share") == before
    await session.close()


async def test_whatever_nodes_wish_no_moment_knows_more_than_there_is(
    stores: list[PostgresStore], members: list[Membership], postgres_url: str
) -> None:
    rng = Random(6)
    held = [dict.fromkeys("ab", 0) for _ in members]

    async def live(number: int) -> None:
        mine = held[number]
        keep = {key: rng.randint(0, mine[key]) for key in mine}
        wishes = [
            wish(
                10, rng.choice((0, 1, 4, 20)), keep=keep[key],
                cooling=rng.randint(0, mine[key] - keep[key]), window=window, key=key,
            )
            for key, window in (("a", 200), ("b", HOUR))
        ]  # fmt: skip
        if rng.random() < 0.1:  # it starts again
            members[number] = await stores[number].fleet.join(
                f"n{number}", f"i{number}", LEASE, REPORT
            )
        answers = await ask(stores[number], members[number], *wishes)
        mine.update(zip("ab", answers, strict=True))

    for _ in range(40):
        await asyncio.gather(*(live(number) for number in range(len(members))))
        assert all(sum(node[key] for node in held) <= 10 for key in "ab")
        assert await total(postgres_url) <= 20
