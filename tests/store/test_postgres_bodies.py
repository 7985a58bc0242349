"""Bodies in chunks: none is lost that a message names, and none is left that no message does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay.store.interface import BodyDamaged, Store, StoreUnavailable
from relay.store.postgres import Place, bodies, messages, patience
from relay.store.postgres import store as postgres_store
from relay.store.postgres.bodies import Chunks
from relay.store.postgres.session import Session
from relay.store.reading import BLOCK
from relay.store.values import Owner, Settlement
from relay.store.writing import SpillingWriter
from tests.contract.making import NOW, PostgresKind, make_new, read, write_body

LARGE = b"a line of a large body\r\n" * (2 * BLOCK // 24) + b"its end\r\n"


@pytest.fixture
async def kind(postgres_url: str) -> AsyncIterator[PostgresKind]:
    made = PostgresKind(postgres_url)
    yield made
    await made.close()


@pytest.fixture
async def store(kind: PostgresKind) -> Store:
    """It sweeps up nothing: that is the tests' to do, when they have let bodies grow old."""
    return await kind.open(joining=True)


@pytest.fixture
async def session(postgres_url: str) -> AsyncIterator[Session]:
    opened = await Place(postgres_url).connect()
    yield opened
    opened.terminate()


async def rows(session: Session) -> tuple[int, int]:
    """How many chunks there are, and how many bodies that no message names."""
    chunks = await session.fetchval("SELECT count(*) FROM chunk")
    return chunks, await session.fetchval("SELECT count(*) FROM spooling")


async def age(session: Session) -> None:
    await session.execute("UPDATE spooling SET grown_at = grown_at - interval '61 minutes'")


async def test_a_body_is_named_by_its_message_until_that_is_gone(
    store: Store, owner: Owner, session: Session
) -> None:
    body = await write_body(store, LARGE)
    assert await rows(session) == (3, 1)
    (delivery,) = (await store.insert(make_new(body=body), owner)).deliveries
    assert await rows(session) == (3, 0)
    assert await read(store, delivery) == LARGE
    assert await store.settle(owner, Settlement(delivery))
    assert await rows(session) == (0, 0)


async def test_a_body_that_is_discarded_leaves_nothing(store: Store, session: Session) -> None:
    writer = store.new_body()
    await writer.write(LARGE)
    await writer.discard()
    assert await rows(session) == (0, 0)


async def test_a_body_that_a_message_names_cannot_be_discarded(
    store: Store, owner: Owner, session: Session
) -> None:
    writer = store.new_body()
    await writer.write(LARGE)
    body = await writer.finish(simple_digest=b"s", relaxed_digest=None, eight_bit=False)
    await store.insert(make_new(body=body), owner)
    await writer.discard()
    assert await rows(session) == (3, 0)


async def test_orphans_are_swept_up_and_nothing_else(
    store: Store, owner: Owner, session: Session
) -> None:
    await store.insert(make_new(body=await write_body(store, LARGE)), owner)
    await write_body(store, LARGE)
    await age(session)
    await write_body(store, LARGE)
    assert await rows(session) == (9, 2)
    assert await bodies.sweep(session) == 1
    assert await rows(session) == (6, 1)


async def test_a_body_that_grows_is_no_orphan_however_long_it_takes(
    store: Store, session: Session
) -> None:
    writer = store.new_body()
    for _ in range(3):
        await age(session)
        await writer.write(b"x" * BLOCK)
        assert await bodies.sweep(session) == 0


async def test_what_comes_after_the_sweep_is_refused(store: Store, session: Session) -> None:
    writer, other = store.new_body(), store.new_body()
    await writer.write(b"x" * BLOCK)
    await other.write(b"x" * BLOCK)
    body = await other.finish(simple_digest=b"s", relaxed_digest=None, eight_bit=False)
    await age(session)
    assert await bodies.sweep(session) == 2
    with pytest.raises(StoreUnavailable, match="swept up"):
        await writer.write(b"x" * BLOCK)
    new = make_new(body=body)
    with pytest.raises(StoreUnavailable, match="swept up"):
        await store.insert(new, None)
    assert await store.find_message(new.message.id) is None
    assert await rows(session) == (0, 0)


async def test_a_process_that_dies_between_the_end_and_the_removal_leaves_an_orphan(
    store: Store, owner: Owner, session: Session
) -> None:
    accepted = await store.insert(make_new(body=await write_body(store, LARGE)), owner)
    async with session.transaction():
        (settled,) = await messages.settle(session, [(owner, Settlement(accepted.deliveries[0]))])
    assert settled.message_gone
    assert await rows(session) == (3, 1)
    await age(session)
    assert await bodies.sweep(session) == 1
    assert await rows(session) == (0, 0)


async def test_a_body_of_a_message_that_is_withdrawn_goes_too(
    store: Store, owner: Owner, session: Session
) -> None:
    new = make_new(body=await write_body(store, LARGE))
    asked = asyncio.ensure_future(store.insert(new, owner))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    while await rows(session) != (0, 0):
        await store.insert(make_new(), owner)
    assert await store.find_message(new.message.id) is None


async def test_a_part_that_is_written_twice_is_there_once(session: Session) -> None:
    """As where the session was lost before the server's answer came."""

    class _Twice:
        async def keep(self, work: bodies.Work) -> None:
            await work(session)
            await work(session)

        async def remove(self, work: bodies.Work) -> None:
            await work(session)

        async def chunk(self, name: str, number: int) -> bytes | None:
            return await bodies.chunk_of(session, name, number)

    depot = _Twice()
    writer = SpillingWriter(lambda: Chunks(depot), 1_000, early=False)
    await writer.write(LARGE)
    body = await writer.finish(simple_digest=b"s", relaxed_digest=None, eight_bit=False)
    assert b"".join([block async for block in bodies.read(depot, body.ref, body.size)]) == LARGE
    assert await rows(session) == (3, 1)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM chunk WHERE number = 0",
        "DELETE FROM chunk WHERE number = 2",
        "UPDATE chunk SET data = data || 'x' WHERE number = 2",
        "UPDATE chunk SET data = overlay(data placing 'x' from 7) WHERE number = 1",
        "UPDATE message SET ref = 'nonsense'",
    ],
)
async def test_a_body_that_is_not_what_was_stored_is_set_apart(
    kind: PostgresKind, store: Store, owner: Owner, session: Session, sql: str
) -> None:
    await store.insert(make_new(body=await write_body(store, LARGE)), None)
    await session.execute(sql)
    (delivery,) = await store.claim(owner, NOW, 1)
    with pytest.raises(BodyDamaged):
        await read(store, delivery)
    assert kind.errors == ["damaged"]
    assert sum(depth.quarantined for depth in await store.depths()) == 1


async def test_a_body_whose_message_is_gone_meanwhile_is_not_damaged(
    kind: PostgresKind, store: Store, owner: Owner
) -> None:
    (delivery,) = (
        await store.insert(make_new(body=await write_body(store, LARGE)), owner)
    ).deliveries
    await store.settle(owner, Settlement(delivery))
    with pytest.raises(StoreUnavailable):
        await read(store, delivery)
    assert kind.errors == []


@pytest.mark.parametrize("content", [b"small\r\n", LARGE])
async def test_a_client_does_not_wait_for_a_database_that_says_nothing_and_nothing_is_left(
    store: Store,
    owner: Owner,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    """What comes about too late is undone: the client was told 451, and sends it again."""
    monkeypatch.setattr(patience, "CLIENTS_WAIT", 0.2)
    new = make_new(body=await write_body(store, content))
    async with session.transaction():
        await session.execute("LOCK TABLE message")
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await store.insert(new, owner)
    monkeypatch.undo()
    await store.insert(make_new(), owner)  # behind it
    while await store.find_message(new.message.id) is not None or await rows(session) != (0, 0):
        await store.insert(make_new(), owner)
    assert await store.claim(owner, NOW, 10) == []


async def test_a_part_that_the_database_does_not_take_refuses_the_body(
    store: Store, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "CLIENTS_WAIT", 0.2)
    monkeypatch.setattr(postgres_store, "REMOVES_WITHIN", 0.2)
    writer = store.new_body()
    async with session.transaction():
        await session.execute("LOCK TABLE spooling")
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await writer.write(LARGE)
        with pytest.raises(StoreUnavailable):
            await writer.discard()
    with pytest.raises(StoreUnavailable):
        await writer.write(LARGE)
