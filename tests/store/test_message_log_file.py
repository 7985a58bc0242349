"""The file of the message log: private, of a known version, and not worth stopping mail for."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.store.interface import StoreUnavailable
from relay.store.log_values import Filing, MessageQuery, SearchResult
from relay.store.sqlite.log import SqliteLog
from tests.contract.test_message_log import message, sent


async def test_a_log_is_private(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    await log.open()
    await log.close()
    assert (tmp_path / "log.db").stat().st_mode & 0o777 == 0o600


async def test_who_reads_finds_nothing_before_there_is_a_log_and_writes_nothing(
    tmp_path: Path,
) -> None:
    log = SqliteLog(tmp_path)
    await log.open(reading=True)
    assert await log.search(MessageQuery()) == SearchResult()
    assert await log.message("x") is None
    assert await log.events_of("x") == []
    with pytest.raises(StoreUnavailable, match="for reading"):
        await log.file(Filing("o", 1))
    await log.close()
    assert list(tmp_path.iterdir()) == []


async def test_who_reads_sees_what_another_files(tmp_path: Path) -> None:
    writing, reading = SqliteLog(tmp_path), SqliteLog(tmp_path)
    await reading.open(reading=True)
    await writing.open()
    await writing.file(Filing("o", 1, (message(1),), (sent(message(1)),)))
    assert await reading.message(message(1).id) == message(1)
    await reading.close()
    await writing.close()


async def test_a_log_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        db.execute("PRAGMA user_version=99")
    log = SqliteLog(tmp_path)
    with pytest.raises(StoreUnavailable, match="newer relay"):
        await log.open()
    await log.close()


async def test_a_damaged_log_is_moved_aside_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"this is no database" * 1_000)
    log = SqliteLog(tmp_path)
    with pytest.raises(StoreUnavailable):
        await log.open()
    await log.open()
    await log.file(Filing("o", 1, (message(1),), (sent(message(1)),)))
    assert await log.message(message(1).id) == message(1)
    await log.close()
    assert [path.name[:16] for path in tmp_path.glob("log.db.damaged*")] == ["log.db.damaged-1"]


async def test_a_log_that_is_damaged_while_it_is_used_is_begun_anew(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    await log.open()
    await log.file(Filing("o", 1, tuple(message(n) for n in range(300))))
    await log.close()
    with (tmp_path / "log.db").open("r+b") as file:
        file.seek(8_192)
        file.write(b"\xaa" * 60_000)
    log = SqliteLog(tmp_path)
    tries = 0
    while tries < 5:
        tries += 1
        try:
            await log.open()
            await log.file(Filing("o", 2, tuple(message(n) for n in range(300, 600))))
        except StoreUnavailable:
            continue
        break
    assert await log.message(message(300).id) == message(300)
    assert await log.filed_upto("o") == 2
    await log.close()
