"""The file of the message log: private, of a known version, and not worth stopping mail for."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.store.interface import StoreFull, StoreUnavailable
from relay.store.log_values import Filing, MessageQuery, SearchResult, Tally
from relay.store.sqlite.log import SqliteLog, schema
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


async def test_who_reads_while_a_log_is_begun_finds_none_or_all_of_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[SearchResult] = []
    migrate = schema._migrate

    def look(connection: sqlite3.Connection) -> None:
        for _ in range(2):  # before there are tables, and after
            reading = SqliteLog(tmp_path)
            asyncio.run(reading.open(reading=True))
            seen.append(asyncio.run(reading.search(MessageQuery())))
            asyncio.run(reading.close())
            migrate(connection)

    monkeypatch.setattr(schema, "_migrate", look)
    log = SqliteLog(tmp_path)
    await log.open()
    await log.close()
    assert seen == [SearchResult()] * len(seen)
    assert len(seen) >= 2


async def test_what_another_log_has_left_is_not_taken_for_a_new_ones(tmp_path: Path) -> None:
    for name in ("log.db.new", "log.db.new-wal", "log.db-wal", "log.db-shm"):
        (tmp_path / name).write_bytes(b"what was begun and never finished")
    log = SqliteLog(tmp_path)
    await log.open()
    await log.file(Filing("o", 1, (message(1),), (sent(message(1)),)))
    await log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.db"]


async def test_a_log_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        db.execute("PRAGMA user_version=99")
    log = SqliteLog(tmp_path)
    with pytest.raises(StoreUnavailable, match="newer relay"):
        await log.open()
    await log.close()


async def test_a_log_that_is_none_is_moved_aside_and_another_begun(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"this is no database" * 1_000)
    calls: list[str] = []
    log = SqliteLog(tmp_path, on_damage=lambda: calls.append("damaged"))
    await log.open()
    await log.file(Filing("o", 1, (message(1),), (sent(message(1)),)))
    assert await log.message(message(1).id) == message(1)
    await log.close()
    assert [path.name[:16] for path in tmp_path.glob("log.db.damaged*")] == ["log.db.damaged-1"]
    assert calls == []


async def test_a_log_that_was_too_large_gives_its_room_back(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    await log.open()
    for start in range(0, 2_000, 100):
        made = tuple(message(n, header=b"h" * 3_000) for n in range(start, start + 100))
        await log.file(Filing("o", start + 1, made))
    most = 3_000_000
    while await log.prune(0, most, keep_from=1 << 60, limit=100):
        pass
    await log.close()
    assert (tmp_path / "log.db").stat().st_size < most + 1_000_000


async def damaged(data_dir: Path) -> None:
    """A log of 300 messages, of whose pages the middle was overwritten."""
    log = SqliteLog(data_dir)
    await log.open()
    made = tuple(message(n) for n in range(300))
    await log.file(Filing("o", 1, made, tuple(sent(one) for one in made)))
    await log.close()
    with (data_dir / "log.db").open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(8_192)
        file.write(b"\xaa" * (size - 16_384))


async def test_damage_that_is_met_in_use_moves_the_log_aside_once_and_stops_all_work_on_it(
    tmp_path: Path,
) -> None:
    await damaged(tmp_path)
    calls: list[str] = []
    log = SqliteLog(tmp_path, on_damage=lambda: calls.append("damaged"))
    await log.open()
    for question in (log.events_after(0, 1_000), log.newest_event(), log.file(Filing("o", 2))):
        with pytest.raises(StoreUnavailable):
            await question
    assert calls == ["damaged"]
    assert not (tmp_path / "log.db").exists()
    await log.close()


async def test_after_damage_another_log_is_begun_by_who_opens_it_again(tmp_path: Path) -> None:
    await damaged(tmp_path)
    calls: list[str] = []
    log, reading = (
        SqliteLog(tmp_path, on_damage=lambda: calls.append("damaged")),
        SqliteLog(tmp_path),
    )
    await reading.open(reading=True)
    await log.open()
    with pytest.raises(StoreUnavailable):
        await log.file(Filing("o", 2, tuple(message(n) for n in range(300, 600))))
    assert calls == ["damaged"]
    await log.open()
    assert await log.filed_upto("o") == 0
    await log.file(Filing("o", 2, (message(300),), (sent(message(300)),)))
    assert await log.newest_event() == 1
    assert await reading.message(message(300).id) == message(300)
    await reading.close()
    await log.close()


_FILES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from relay.store.log_values import Filing
from relay.store.sqlite.log import SqliteLog, schema
from tests.contract.test_message_log import message, sent

async def main():
    log = SqliteLog(Path(sys.argv[1]))
    await log.open()
    upto = await log.filed_upto("o")
    while True:
        made = tuple(message(n) for n in range(upto, upto + 40))
        await log.file(Filing("o", upto + 40, made, tuple(sent(one) for one in made)))
        upto += 40
        print(upto, flush=True)

asyncio.run(main())
"""


async def test_a_log_whose_writer_is_killed_has_whole_filings_and_all_that_were_acknowledged(
    tmp_path: Path,
) -> None:
    acknowledged = 0
    for lines in (3, 7, 5):
        with subprocess.Popen(
            [sys.executable, "-c", _FILES_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        log = SqliteLog(tmp_path)
        await log.open()
        filed = await log.filed_upto("o")
        assert acknowledged <= filed <= acknowledged + 40
        assert await log.newest_event() == filed
        assert len((await log.search(MessageQuery(limit=10_000))).messages) == filed
        await log.close()


@pytest.fixture
def little_room(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


async def test_where_there_is_no_room_a_filing_changes_nothing_and_is_done_later(
    little_room: Path,
) -> None:
    log = SqliteLog(little_room)
    await log.open()
    await log.file(Filing("o", 1, (message(1),), (sent(message(1)),)))
    filling = little_room / "filling"
    filling.write_bytes(b"\0" * 1_200_000)
    made = tuple(message(n, subject="x" * 900) for n in range(2, 900))
    large = Filing("o", 2, made, tuple(sent(one) for one in made), (Tally("account", 1, 898),))
    with pytest.raises(StoreFull):
        await log.file(large)
    assert await log.filed_upto("o") == 1
    assert await log.newest_event() == 1
    assert await log.tallies(0) == []
    filling.unlink()
    await log.prune(0, 1 << 40, 0, 10)
    large = Filing("o", 2, made[:200], tuple(sent(one) for one in made[:200]))
    await log.file(large)
    assert await log.newest_event() == 201
    await log.close()
