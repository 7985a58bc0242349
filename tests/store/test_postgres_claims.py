"""Claims of owners on several machines: who takes over from whom, and what may be a duplicate."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from relay.store.interface import Store, StoreUnavailable
from relay.store.postgres import Place, claims, due, owners
from relay.store.postgres.session import Session
from relay.store.values import Owner, QueueFilter, Settlement
from tests.contract.making import LEASE, NOW, PostgresKind, make_new


@pytest.fixture
async def kind(postgres_url: str) -> AsyncIterator[PostgresKind]:
    made = PostgresKind(postgres_url)
    yield made
    await made.close()


@pytest.fixture
async def other(kind: PostgresKind, store: Store) -> Store:
    """Another node's."""
    return await kind.open()


@pytest.fixture
async def session(postgres_url: str) -> AsyncIterator[Session]:
    opened = await Place(postgres_url).connect()
    yield opened
    opened.terminate()


async def live(kind: PostgresKind, store: Store, living: Owner, milliseconds: int) -> None:
    """Time passes, in which one owner renews its lease as it should."""
    for _ in range(0, milliseconds, LEASE // 3):
        await kind.pass_ms(LEASE // 3)
        assert await store.renew(living, LEASE)


async def wait_for_a_lock(session: Session) -> None:
    """Until some other session waits for one."""
    while not await session.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
        await asyncio.sleep(0)


async def test_nodes_share_what_is_due_and_nobody_has_it_twice(
    store: Store, owner: Owner, other: Store
) -> None:
    second = await other.register("second", LEASE)
    await asyncio.gather(*(store.insert(make_new(), None) for _ in range(60)))
    answers = await asyncio.gather(
        *(s.claim(who, NOW, 10) for _ in range(5) for s, who in ((store, owner), (other, second)))
    )
    identifiers = [delivery.id for claim in answers for delivery in claim]
    assert len(identifiers) == len(set(identifiers)) <= 60
    rest = await store.claim(owner, NOW, 60)
    assert len(rest) + len(identifiers) == 60


async def test_after_an_outage_nobody_is_buried_for_it(
    kind: PostgresKind, store: Store, owner: Owner, other: Store
) -> None:
    await store.insert(make_new(), owner)
    second = await other.register("second", LEASE)
    await live(kind, other, second, 2 * LEASE // 3)
    await store.renew(owner, LEASE)
    await kind.pass_ms(2 * LEASE)
    assert await other.claim(second, NOW, 10) == []
    assert await other.renew(second, LEASE)
    assert await other.claim(second, NOW, 10) == []
    assert await store.renew(owner, LEASE)


async def test_who_has_just_begun_buries_nobody(
    kind: PostgresKind, store: Store, owner: Owner, other: Store
) -> None:
    await store.insert(make_new(), owner)
    await kind.pass_ms(2 * LEASE)
    second = await other.register("second", LEASE)
    assert await other.claim(second, NOW, 10) == []
    await live(kind, other, second, LEASE + 3)
    assert len(await other.claim(second, NOW, 10)) == 1


async def test_a_clock_that_was_put_back_hides_no_death(
    kind: PostgresKind, store: Store, owner: Owner, other: Store
) -> None:
    await store.insert(make_new(), owner)
    second = await other.register("second", LEASE)
    await kind.pass_ms(-86_400_000)
    assert await other.renew(second, LEASE)
    await live(kind, other, second, 2 * LEASE // 3)
    assert await other.claim(second, NOW, 10) == []
    await live(kind, other, second, LEASE // 3 + 3)
    assert len(await other.claim(second, NOW, 10)) == 1


async def test_a_burial_passes_over_who_is_claiming(
    kind: PostgresKind, store: Store, owner: Owner, other: Store, session: Session
) -> None:
    second = await other.register("second", LEASE)
    await live(kind, other, second, LEASE + 3)
    async with session.transaction():
        assert await owners.alive(session, {owner.epoch}) == {owner.epoch}
        await other.claim(second, NOW, 10)
    assert await store.renew(owner, LEASE)


async def test_what_is_claimed_while_its_owner_is_ended_is_freed_with_the_rest(
    store: Store, owner: Owner, other: Store, session: Session
) -> None:
    await store.insert(make_new(), None)
    async with session.transaction():
        await owners.alive(session, {owner.epoch})
        await session.execute("UPDATE delivery SET epoch = $1", owner.epoch)
        again = asyncio.ensure_future(other.register(owner.name, LEASE))
        await wait_for_a_lock(session)
    assert len(await other.claim(await again, NOW, 10)) == 1


async def test_what_was_being_sent_when_its_owner_died_may_be_a_duplicate(
    store: Store, owner: Owner, other: Store
) -> None:
    first, second, third = [(await store.insert(make_new(), owner)).deliveries[0] for _ in range(3)]
    await store.note_sending(owner, [first.id, third.id])
    assert await store.settle(owner, Settlement(third))
    again = await other.register(owner.name, LEASE)
    claimed = await other.claim(again, NOW, 10)
    assert {d.id: d.doubtful for d in claimed} == {first.id: True, second.id: False}
    shown = await other.queue(QueueFilter())
    assert {e.delivery_id: e.doubtful for e in shown} == {first.id: True, second.id: False}


async def test_what_is_not_being_sent_any_more_is_no_duplicate(store: Store, owner: Owner) -> None:
    first, second = [(await store.insert(make_new(), owner)).deliveries[0] for _ in range(2)]
    await store.note_sending(owner, [first.id])
    await store.note_sending(owner, [second.id])
    again = await store.register(owner.name, LEASE)
    claimed = await store.claim(again, NOW, 10)
    assert {d.id: d.doubtful for d in claimed} == {first.id: False, second.id: True}


async def test_a_doubt_lasts_until_an_attempt_is_over(
    store: Store, owner: Owner, session: Session
) -> None:
    (delivery,) = (await store.insert(make_new(), owner)).deliveries
    await store.note_sending(owner, [delivery.id])
    for _ in range(2):  # the second one dies before it tries
        owner = await store.register(owner.name, LEASE)
        (claimed,) = await store.claim(owner, NOW, 10)
        assert claimed.doubtful
    await store.settle(owner, Settlement(claimed, remaining=claimed.recipients, due_at=NOW))
    (claimed,) = await store.claim(owner, NOW, 10)
    assert not claimed.doubtful
    assert await session.fetchval("SELECT count(*) FROM sending WHERE delivery <> 0") == 0


async def test_who_was_declared_dead_is_told_to_send_nothing(
    store: Store, owner: Owner, other: Store
) -> None:
    (delivery,) = (await store.insert(make_new(), owner)).deliveries
    await store.note_sending(owner, [])
    await other.register(owner.name, LEASE)
    with pytest.raises(StoreUnavailable, match="declared dead"):
        await store.note_sending(owner, [delivery.id])


async def test_one_process_frees_at_a_time_and_another_goes_on_where_it_died(
    store: Store, owner: Owner, other: Store, session: Session
) -> None:
    await store.insert(make_new(), owner)
    second = await other.register("second", LEASE)
    await owners.resign(session, [owner])
    assert await owners.inherit(session, [None]) == [[owner.epoch]]
    assert await other.claim(second, NOW, 10) == []
    await session.execute("UPDATE worker SET heir_until = clock_timestamp() WHERE ended")
    assert len(await other.claim(second, NOW, 10)) == 1
    assert await session.fetchval("SELECT count(*) FROM worker") == 1


@pytest.mark.parametrize(
    "sql",
    [
        r"UPDATE message SET facts = '\x00ff' WHERE message_id = $1",
        r"UPDATE message SET header = '\x00' WHERE message_id = $1",
        "DELETE FROM message WHERE message_id = $1",
    ],
)
async def test_a_damaged_row_is_set_apart_and_the_rest_is_claimed(
    kind: PostgresKind, store: Store, owner: Owner, session: Session, sql: str
) -> None:
    bad, good = make_new("a@x.test"), make_new("b@x.test")
    await store.insert(bad, None)
    await store.insert(good, None)
    await session.execute(sql, bad.message.id)
    assert [d.message.id for d in await store.claim(owner, NOW, 10)] == [good.message.id]
    assert kind.errors == ["damaged"]
    (entry,) = await store.queue(QueueFilter(state="quarantined"))
    assert entry.domain == "x.test"


async def test_a_search_goes_down_the_index_that_is_meant(store: Store, session: Session) -> None:
    """Whatever the statistics of the server say: here it knows of no mail at all."""
    await session.execute("SET enable_seqscan = off")
    for question, arguments, index in (
        (due.SETS, (NOW,), "delivery_set"),
        (due.LONGEST_DUE, (NOW, ["a"], [1]), "delivery_set"),
        (due.LINES, (NOW, "a", "", "z", 10, 10), "delivery_line"),
        (due.HEADS, (NOW, "a", ["a"], [1]), "delivery_line"),
        (claims.STILL_FREE, ([1, 2],), "delivery_pkey"),
    ):
        plan = [row[0] for row in await session.fetch(f"EXPLAIN {question}", *arguments)]
        used = set(re.findall(r"\bdelivery_[a-z]+\b", " ".join(plan)))
        assert used == {index}, plan
