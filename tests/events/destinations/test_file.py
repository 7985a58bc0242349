"""Events in a file: whole lines, whatever happens to the file or the process."""

import asyncio
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.events import EventFile
from relay.events.destinations import file as module
from relay.events.destinations.file import FileDestination, cut_torn_line
from relay.events.patience import Failed, Told
from tests.events.destinations.web import some


def destination(path: Path, **more) -> FileDestination:
    return FileDestination(EventFile.model_validate({"type": "file", "path": path, **more}))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["eventId"] for line in path.read_text().splitlines()]


async def test_each_event_is_a_line_of_json(tmp_path):
    told = some("Send", "Delivery", "Bounce")
    out = destination(tmp_path / "events/log.jsonl")
    assert await out.tell(told) == [Told("written")] * 3
    await out.close()
    assert ids(tmp_path / "events/log.jsonl") == [one.event.id for one in told]
    assert stat.S_IMODE((tmp_path / "events/log.jsonl").stat().st_mode) == 0o600


async def test_a_restart_goes_on_in_the_same_file(tmp_path):
    for _ in range(2):
        out = destination(tmp_path / "log")
        await out.tell(some())
        await out.close()
    assert len(ids(tmp_path / "log")) == 2


async def test_what_a_crash_left_of_a_line_is_cut_off(tmp_path):
    out = destination(tmp_path / "log")
    await out.tell(some())
    await out.close()
    whole = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(whole + whole[:50])
    out = destination(tmp_path / "log")
    await out.tell(some())
    await out.close()
    assert (tmp_path / "log").read_bytes() == whole * 2


@given(st.binary(max_size=300))
def test_a_file_ends_after_its_last_line_end(content):
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    descriptor = os.memfd_create("log")
    try:
        os.write(descriptor, content)
        cut_torn_line(descriptor)
        kept = os.pread(descriptor, 1_000, 0)
        assert kept == content[: content.rfind(b"\n") + 1]
    finally:
        os.close(descriptor)


def test_a_torn_line_longer_than_a_block_is_cut_off():
    descriptor = os.memfd_create("log")
    try:
        os.write(descriptor, b"a\n" + b"x" * 200_000)
        cut_torn_line(descriptor)
        assert os.pread(descriptor, 10, 0) == b"a\n"
    finally:
        os.close(descriptor)


async def test_a_new_file_begins_at_its_size_and_so_many_older_ones_are_kept(tmp_path):
    out = destination(tmp_path / "log", rotate="1MB", keep=2)
    batch = some("Delivery") * 400
    size = sum(len(one.content) + 1 for one in batch)
    for _ in range(4 * (1_000_000 // size + 1)):
        assert isinstance((await out.tell(batch))[0], Told)
    await out.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    for path in tmp_path.iterdir():
        assert 0 < path.stat().st_size <= 1_000_000
        assert ids(path)


async def test_none_is_kept_where_none_is_wanted(tmp_path):
    out = destination(tmp_path / "log", rotate="1MB", keep=0)
    batch = some("Delivery") * 400
    for _ in range(6):
        await out.tell(batch)
    await out.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").stat().st_size <= 1_000_000


async def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    out = destination(tmp_path / "log")
    await out.tell(some())
    (tmp_path / "log").rename(tmp_path / "log-20260921")
    await out.tell(some())
    await out.close()
    assert len(ids(tmp_path / "log")) == len(ids(tmp_path / "log-20260921")) == 1


async def test_a_disk_that_is_full_leaves_no_half_line(tmp_path, monkeypatch):
    out = destination(tmp_path / "log")
    await out.tell(some())
    before = (tmp_path / "log").read_bytes()
    real = os.write

    def full(descriptor, octets):
        real(descriptor, bytes(octets[:20]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", full)
    (outcome,) = await out.tell(some())
    assert outcome == Failed(f"{tmp_path}/log: No space left on device")
    assert (tmp_path / "log").read_bytes() == before
    monkeypatch.undo()
    assert await out.tell(some()) == [Told("written")]
    await out.close()
    assert len(ids(tmp_path / "log")) == 2


async def test_a_place_that_cannot_be_written_is_trouble(tmp_path):
    (tmp_path / "log").mkdir()
    out = destination(tmp_path / "log")
    (outcome,) = await out.tell(some())
    assert isinstance(outcome, Failed)
    assert "Is a directory" in outcome.error


async def test_a_line_is_on_stable_storage_before_it_counts_as_told(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda fd: synced.append(fd) or real(fd))
    out = destination(tmp_path / "log")
    await out.tell(some())
    synced.clear()
    await out.tell(some())
    assert len(synced) == 1
    await out.close()


@pytest.mark.parametrize("name", ["log"])
async def test_nothing_is_opened_before_it_is_told(tmp_path, name):
    destination(tmp_path / name)
    assert not (tmp_path / name).exists()


async def test_a_write_that_nobody_waits_for_any_more_ends_before_the_file_is_closed(
    tmp_path, monkeypatch
):
    out = destination(tmp_path / "log")
    goes_on, writes = threading.Event(), threading.Event()
    real = os.write

    def slow(descriptor, octets):
        writes.set()
        goes_on.wait(10)
        return real(descriptor, octets)

    monkeypatch.setattr(module.os, "write", slow)
    telling = asyncio.create_task(out.tell(some()))
    await asyncio.to_thread(writes.wait, 10)
    telling.cancel()
    closing = asyncio.create_task(out.close())
    await asyncio.sleep(0)
    assert not closing.done()
    goes_on.set()
    await closing
    assert len(ids(tmp_path / "log")) == 1
