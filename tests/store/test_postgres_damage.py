"""What the server cannot read, as it is with a page that its disk has changed."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay.store.codec import Damaged
from relay.store.interface import BodyDamaged, Store, StoreUnavailable
from relay.store.postgres import claims
from relay.store.values import Delivery, Owner, QueueFilter
from tests.contract.making import LEASE, NOW, PostgresKind, make_new, read

# In place of the table stands what reads from it, and fails as the server does.
_TEAR = """
    ALTER TABLE relay.message RENAME TO whole;
    CREATE FUNCTION relay.unreadable() RETURNS bytea STABLE LANGUAGE plpgsql AS $$
        BEGIN
            RAISE 'invalid page in block 5 of relation base/1/2' USING ERRCODE = 'XX001';
        END $$;
    CREATE VIEW relay.message AS SELECT id, message_id, ref, {columns} FROM relay.whole
"""
_TORN = "CASE WHEN message_id IN ({ids}) THEN relay.unreadable() ELSE {column} END AS {column}"


class Torn(PostgresKind):
    """Stores of a database some of whose pages can be torn."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    async def tear(self, *message_ids: str, columns: str = "facts header body") -> None:
        ids = ", ".join(f"'{one}'" for one in message_ids)
        shown = ", ".join(
            _TORN.format(ids=ids, column=column) if column in columns else column
            for column in ("facts", "header", "body")
        )
        session = await asyncpg.connect(self.url)
        await session.execute(_TEAR.format(columns=shown))
        await session.close()


@pytest.fixture
async def kind(postgres_url: str) -> AsyncIterator[Torn]:
    made = Torn(postgres_url)
    yield made
    await made.close()


@pytest.fixture
async def store(kind: Torn) -> Store:
    return await kind.open()


@pytest.fixture
async def owner(store: Store) -> Owner:
    return await store.register("worker", LEASE)


async def seven(store: Store) -> list[str]:
    """Their ids."""
    news = [make_new(f"{number}@x.test") for number in range(7)]
    for new in news:
        await store.insert(new, None)
    return [new.message.id for new in news]


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


async def test_a_claim_sets_apart_what_cannot_be_read_and_takes_the_rest(
    kind: Torn, store: Store, owner: Owner
) -> None:
    stored = await seven(store)
    await kind.tear(stored[0], stored[4])
    assert ids(await store.claim(owner, NOW, 3)) == stored[1:4]
    assert ids(await store.claim(owner, NOW, 9)) == stored[5:]
    assert kind.errors == ["damaged", "damaged"]
    found = await store.queue(QueueFilter(state="quarantined"))
    assert [(one.message_id, one.domain) for one in found] == [("", "x.test")] * 2


async def test_what_lies_beside_it_is_claimed_though_a_scan_of_the_table_fails(
    kind: Torn, store: Store, owner: Owner
) -> None:
    stored = await seven(store)
    await kind.tear(stored[0])
    assert ids(await store.claim(owner, NOW, 2)) == stored[1:3]
    assert ids(await store.claim(owner, NOW, 2)) == stored[3:5]
    (delivery,) = await store.claim(owner, NOW, 1)
    assert await read(store, delivery) == b"A line.\r\n"
    assert await store.find_message(stored[6]) is not None
    assert kind.errors == ["damaged"]


async def test_what_was_found_by_turns_is_claimed_past_it_too(
    kind: Torn, store: Store, owner: Owner
) -> None:
    stored = await seven(store)
    wanted = await store.matching(QueueFilter())
    await kind.tear(stored[6])
    assert ids(await store.claim_found(owner, list(reversed(wanted)))) == stored[5::-1]
    assert kind.errors == ["damaged"]


async def test_filters_look_past_it(kind: Torn, store: Store) -> None:
    stored = await seven(store)
    everything = await store.matching(QueueFilter())
    await kind.tear(stored[2])
    assert await store.matching(QueueFilter(sender="app@sender.test")) == [
        one for one in everything if one != everything[2]
    ]
    assert len(await store.queue(QueueFilter())) == 7


async def test_a_body_that_cannot_be_read_sets_its_message_apart(
    kind: Torn, store: Store, owner: Owner
) -> None:
    (stored, *_) = await seven(store)
    await kind.tear(stored, columns="body")
    (delivery, *_) = await store.claim(owner, NOW, 1)
    with pytest.raises(BodyDamaged, match="invalid page"):
        await read(store, delivery)


async def test_a_message_that_cannot_be_read_is_said_to_be_damaged(
    kind: Torn, store: Store
) -> None:
    (stored, *_) = await seven(store)
    await kind.tear(stored)
    with pytest.raises(StoreUnavailable, match=r"damaged: .*invalid page"):
        await store.find_message(stored)


async def test_where_none_of_them_is_damaged_by_itself_nothing_is_set_apart(
    kind: Torn, store: Store, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it was the disk for a moment."""
    stored = await seven(store)
    await kind.tear(stored[0])

    async def mended(*_: object) -> dict[int, Damaged]:
        return {}

    monkeypatch.setattr(claims, "unreadable", mended)
    with pytest.raises(StoreUnavailable, match="invalid page"):
        await store.claim(owner, NOW, 9)
    assert await store.queue(QueueFilter(state="quarantined")) == []
