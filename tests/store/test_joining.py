"""Joining a store that another process keeps open."""

import asyncio
import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.store.interface import Store, StoreFull, StoreUnavailable
from relay.store.sqlite import SqliteStore
from relay.store.values import QueueFilter
from tests.contract.making import JoinedKind, SqliteKind, make_new, write_body


def is_marked_clean(data_dir: Path) -> bool:
    with closing(sqlite3.connect(data_dir / "relay.db")) as db:
        (clean,) = db.execute("SELECT clean FROM life").fetchone()
    return bool(clean)


async def test_a_store_that_nobody_has_opened_cannot_be_joined(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreUnavailable, match="no store"):
        await store.open(joining=True)
    await store.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_store_of_another_version_is_not_joined(kind: SqliteKind, store: Store) -> None:
    with closing(sqlite3.connect(kind.data_dir / "relay.db")) as db:
        db.execute("PRAGMA user_version=999")
    joined = SqliteStore(kind.data_dir)
    with pytest.raises(StoreUnavailable, match="version 999"):
        await joined.open(joining=True)
    await joined.close()


async def test_only_who_opened_the_store_marks_it_clean(kind: SqliteKind, store: Store) -> None:
    joined = SqliteStore(kind.data_dir)
    await joined.open(joining=True)
    await joined.insert(make_new(), None)
    await joined.close()
    assert not is_marked_clean(kind.data_dir)
    await store.insert(make_new(), None)
    await store.close()
    assert is_marked_clean(kind.data_dir)


async def test_joining_sweeps_no_body_of_another(kind: SqliteKind, store: Store) -> None:
    body = await write_body(store, b"x" * 5_000)
    joined = SqliteStore(kind.data_dir)
    await joined.open(joining=True)
    await joined.close()
    await store.insert(make_new(body=body), None)
    (entry,) = await store.queue(QueueFilter())
    message = await store.find_message(entry.message_id)
    assert message is not None
    assert [len(chunk) async for chunk in store.read_body(message)] == [5_000]


async def test_ballast_that_one_threw_overboard_is_gone_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = JoinedKind(tmp_path / "data")
    stores = [await kind.open(), await kind.open()]
    for store in stores:
        await store.insert(make_new(), None)

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("os.posix_fallocate", no_room)
        (kind.data_dir / "ballast").unlink()
        for store in stores:
            with pytest.raises(StoreFull):
                await store.insert(make_new(), None)
    for store in stores:
        assert await store.free_space() > 0
        await store.insert(make_new(), None)
    await kind.close()


async def test_the_log_stays_bounded_while_several_read_and_write(tmp_path: Path) -> None:
    kind = JoinedKind(tmp_path / "data")
    stores = [await kind.open() for _ in range(3)]
    writing = True

    async def read(store: Store) -> None:
        while writing:
            await store.queue(QueueFilter(limit=50))

    reading = [asyncio.ensure_future(read(store)) for store in stores]
    content = b"x" * 1_000
    for _ in range(30):
        bodies = [await write_body(stores[0], content) for _ in range(100)]
        await asyncio.gather(
            *(
                stores[number % 3].insert(make_new(header=content * 20, body=body), None)
                for number, body in enumerate(bodies)
            )
        )
    writing = False
    await asyncio.gather(*reading)
    # 3,000 messages are 70 MB of log; it starts again from its beginning every 8 MB or so, later
    # where readers get no time to end.
    assert (kind.data_dir / "relay.db-wal").stat().st_size < 48 * 1024 * 1024
    await kind.close()
