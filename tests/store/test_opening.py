"""The data directory: who may read it, who holds it, and what a start does."""

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from relay.store.interface import Store, StoreUnavailable
from relay.store.sqlite import DataDirInUse, SqliteStore, lock_data_dir
from relay.store.sqlite.schema import MIGRATIONS
from relay.store.values import Settlement
from tests.contract.making import NOW, SqliteKind, make_new, write_body


def test_a_data_dir_that_is_a_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(NotADirectoryError, match=r"data_dir is not a directory.*data"):
        lock_data_dir(tmp_path / "data")


def spool_files(kind: SqliteKind) -> list[Path]:
    return [path for path in (kind.data_dir / "spool").rglob("*") if path.is_file()]


async def test_only_the_owner_can_read_what_is_stored(kind: SqliteKind, store: Store) -> None:
    await store.insert(make_new(body=await write_body(store, b"x" * 5_000)), None)
    modes = {path: path.stat().st_mode & 0o777 for path in kind.data_dir.rglob("*")}
    assert kind.data_dir.stat().st_mode & 0o777 == 0o700
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


async def test_one_relay_holds_a_data_directory(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path / "data")
    with pytest.raises(DataDirInUse, match=f"process {os.getpid()}"):
        lock_data_dir(tmp_path / "data")
    lock.release()
    lock_data_dir(tmp_path / "data").release()


async def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "relay.db")) as db:
        db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreUnavailable, match="newer relay"):
        await store.open()
    await store.close()


async def test_a_file_that_is_no_database_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreUnavailable, match="Move it away"):
        await store.open()
    await store.close()


async def test_bodies_that_no_message_names_are_swept_at_the_next_start(
    kind: SqliteKind,
) -> None:
    first = await kind.open()
    kept = await write_body(first, b"k" * 5_000)
    await first.insert(make_new(body=kept), None)
    await write_body(first, b"o" * 5_000)
    assert len(spool_files(kind)) == 2
    await first.close()
    an_hour_ago = time.time() - 3_600
    for path in spool_files(kind):
        os.utime(path, (an_hour_ago, an_hour_ago))
    await asyncio.sleep(1.1)  # the sweep spares what changed in the last second
    await kind.open()
    assert [path.name for path in spool_files(kind)] == [kept.ref.partition("-")[0]]


async def test_a_body_that_is_being_written_is_not_swept(kind: SqliteKind, store: Store) -> None:
    writer = store.new_body()
    await writer.write(b"x" * 5_000)
    await kind.open()
    assert len(spool_files(kind)) == 1
    await writer.discard()
    assert spool_files(kind) == []


async def test_the_file_goes_with_its_message(kind: SqliteKind, store: Store) -> None:
    owner = await store.register("worker", 1_000)
    body = await write_body(store, b"x" * 5_000)
    first, second = (
        await store.insert(make_new("a@x.test", "b@y.test", body=body), owner)
    ).deliveries
    await store.settle(owner, Settlement(first))
    assert len(spool_files(kind)) == 1
    await store.settle(owner, Settlement(second))
    assert spool_files(kind) == []


async def test_a_body_whose_insert_failed_is_removed(kind: SqliteKind, store: Store) -> None:
    first = make_new(body=await write_body(store, b"x" * 5_000))
    await store.insert(first, None)
    again = make_new(id=first.message.id, body=await write_body(store, b"y" * 5_000))
    with pytest.raises(StoreUnavailable):
        await store.insert(again, None)
    assert len(spool_files(kind)) == 1


async def test_a_queue_of_many_thousands_opens_at_once(kind: SqliteKind) -> None:
    store = await kind.open()
    for _ in range(10):
        await asyncio.gather(*(store.insert(make_new(), None) for _ in range(2_000)))
    await store.close()
    started = time.monotonic()
    again = await kind.open()
    owner = await again.register("worker", 1_000)
    assert len(await again.claim(owner, NOW, 1_000)) == 1_000
    assert time.monotonic() - started < 2


async def test_a_closed_store_refuses(kind: SqliteKind) -> None:
    store = await kind.open()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.insert(make_new(), None)
    await store.close()
