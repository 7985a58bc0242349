"""Damaged rows and files: set apart and told, while the rest goes out."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from relay.store.interface import BodyDamaged, Store, StoreUnavailable
from relay.store.values import Delivery, Owner, QueueFilter, Settlement
from tests.contract.making import LEASE, NOW, SqliteKind, make_new, read, write_body


def change(kind: SqliteKind, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(kind.data_dir / "relay.db")) as db, db:
        db.execute(sql, values)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE message SET facts = 7 WHERE message_id = ?",
        "UPDATE message SET header = 'text' WHERE message_id = ?",
        "UPDATE delivery SET recipients = '[{\"address\": 5}]' WHERE id >> 20 ="
        " (SELECT id FROM message WHERE message_id = ?)",
        "DELETE FROM message WHERE message_id = ?",
    ],
)
async def test_a_damaged_row_is_set_apart_and_the_rest_is_claimed(
    kind: SqliteKind, store: Store, owner: Owner, sql: str
) -> None:
    bad, good = make_new("a@x.test"), make_new("b@x.test")
    await store.insert(bad, None)
    await store.insert(good, None)
    change(kind, sql, bad.message.id)
    assert [d.message.id for d in await store.claim(owner, NOW, 10)] == [good.message.id]
    assert kind.errors == ["damaged"]
    (entry,) = await store.queue(QueueFilter(state="quarantined"))
    assert entry.domain == "x.test"
    assert sum(depth.quarantined for depth in await store.depths()) == 1
    assert await store.claim(owner, NOW, 10) == []
    assert kind.errors == ["damaged"]


async def spooled(store: Store, owner: Owner) -> Delivery:
    await store.insert(make_new(body=await write_body(store, b"x" * 300_000)), None)
    (delivery,) = await store.claim(owner, NOW, 1)
    return delivery


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def scramble(path: Path) -> None:
    path.write_bytes(b"y" + path.read_bytes()[1:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [truncate, scramble, empty, Path.unlink])
async def test_a_damaged_spool_file_sets_its_message_apart(
    kind: SqliteKind, store: Store, owner: Owner, harm: Callable[[Path], None]
) -> None:
    delivery = await spooled(store, owner)
    (path,) = (path for path in (kind.data_dir / "spool").rglob("*") if path.is_file())
    harm(path)
    with pytest.raises(BodyDamaged):
        await read(store, delivery)
    assert not await store.settle(owner, Settlement(delivery))
    assert await store.claim(owner, NOW, 1) == []
    assert len(await store.queue(QueueFilter(state="quarantined"))) == 1
    assert kind.errors == ["damaged"]


async def test_the_body_of_a_message_that_is_gone_is_no_damage(
    kind: SqliteKind, store: Store, owner: Owner
) -> None:
    delivery = await spooled(store, owner)
    await store.settle(owner, Settlement(delivery))
    with pytest.raises(StoreUnavailable, match="not stored any more"):
        await read(store, delivery)
    assert kind.errors == []


async def test_operators_can_release_what_was_set_apart(
    kind: SqliteKind, store: Store, owner: Owner
) -> None:
    new = make_new()
    await store.insert(new, None)
    (facts,) = [new.message]
    change(kind, "UPDATE message SET header = x'00'")
    assert await store.claim(owner, NOW, 1) == []
    change(kind, "UPDATE message SET header = ?", facts.header)
    assert await store.set_state(QueueFilter(), "queued") == 0
    assert await store.set_state(QueueFilter(state="quarantined"), "queued") == 1
    assert len(await store.claim(owner, NOW, 1)) == 1


async def test_a_torn_page_is_reported_at_start_and_spares_other_messages(
    kind: SqliteKind,
) -> None:
    store = await kind.open()
    for number in range(30):
        header = b"Subject: %d-" % number + b"x" * 3_000 + b"\r\n"
        await store.insert(make_new(header=header), None)
    await store.close()
    path = kind.data_dir / "relay.db"
    with closing(sqlite3.connect(path)) as db, db:
        (page_size,) = db.execute("PRAGMA page_size").fetchone()
        db.execute("UPDATE life SET clean = 0")
    with path.open("r+b") as file:
        file.seek(file.read().index(b"Subject: 17-") // page_size * page_size)
        file.write(b"\xaa" * page_size)
    again = await kind.open()
    assert "damaged" in kind.errors
    owner = await again.register("worker", LEASE)
    claimed = await again.claim(owner, NOW, 100)
    assert 25 <= len(claimed) < 30
    assert len(await again.queue(QueueFilter(state="quarantined"))) == 30 - len(claimed)


def lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [lose, empty])
async def test_the_bodies_of_a_lost_database_are_set_aside_and_not_swept(
    kind: SqliteKind, harm: Callable[[Path], None]
) -> None:
    for number in (1, 2):
        store = await kind.open()
        await store.insert(make_new(body=await write_body(store, b"x" * 300_000)), None)
        await store.close()
        (body,) = (path for path in (kind.data_dir / "spool").rglob("*") if path.is_file())
        harm(kind.data_dir / "relay.db")
        os.utime(body, (1, 1))
        await asyncio.sleep(1.1)  # the sweep spares what changed in the last second
        await (await kind.open()).close()
        assert kind.errors == ["damaged"] * number
        aside = kind.data_dir / f"spool.lost-{number}" / body.parent.name / body.name
        assert aside.read_bytes() == b"x" * 300_000
    await kind.open()
    assert kind.errors == ["damaged"] * 2


async def test_no_body_is_swept_while_the_database_is_damaged(kind: SqliteKind) -> None:
    store = await kind.open()
    await write_body(store, b"x" * 300_000)
    for number in range(30):
        await store.insert(make_new(header=b"Subject: %d-" % number + b"x" * 3_000 + b"\r\n"), None)
    await store.close()
    path = kind.data_dir / "relay.db"
    with closing(sqlite3.connect(path)) as db, db:
        (page_size,) = db.execute("PRAGMA page_size").fetchone()
        db.execute("UPDATE life SET clean = 0")
    with path.open("r+b") as file:
        file.seek(file.read().index(b"Subject: 17-") // page_size * page_size)
        file.write(b"\xaa" * page_size)
    (body,) = (path for path in (kind.data_dir / "spool").rglob("*") if path.is_file())
    os.utime(body, (1, 1))
    await asyncio.sleep(1.1)  # the sweep spares what changed in the last second
    for number in (1, 2):  # a clean end does not make it whole
        await (await kind.open()).close()
        assert kind.errors == ["damaged"] * number
        assert body.exists()


async def test_a_directory_of_bodies_is_durable_before_a_body_in_it_is(
    kind: SqliteKind, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As another thread, or a process that died, leaves them: made, and not synced.
    for number in range(256):
        (kind.data_dir / "spool" / f"{number:02x}").mkdir(mode=0o700)
    synced: list[Path] = []
    monkeypatch.setattr("relay.store.sqlite.spool.sync_directory", synced.append)
    await write_body(store, b"x" * 300_000)
    (body,) = (path for path in (kind.data_dir / "spool").rglob("*") if path.is_file())
    assert synced == [kind.data_dir / "spool", body.parent]


async def test_an_end_without_close_is_remembered(kind: SqliteKind) -> None:
    def clean() -> bool:
        with closing(sqlite3.connect(kind.data_dir / "relay.db")) as db:
            (value,) = db.execute("SELECT clean FROM life").fetchone()
        return bool(value)

    store = await kind.open()
    assert not clean()
    await store.close()
    assert clean()
