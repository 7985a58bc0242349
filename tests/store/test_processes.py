"""Several processes on one store: nothing is lost, nothing delivered twice, and the dead are
replaced."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from relay.store.interface import Store
from relay.store.sqlite import DataDirInUse, lock_data_dir
from relay.store.values import Owner, QueueFilter, Settlement
from tests.contract.making import LEASE, NOW, SqliteKind, make_new

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.fault


async def start(kind: SqliteKind, name: str, count: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.sharing", str(kind.data_dir), name, count,
        cwd=ROOT, stdout=PIPE,
    )  # fmt: skip


async def read_lines(process: Process, most: int = 1_000_000) -> list[list[str]]:
    """What the process said, in words; it is killed after so many lines."""
    assert process.stdout is not None
    lines: list[str] = []
    while line := await process.stdout.readline():
        lines.append(line.decode())
        if len(lines) == most:
            with suppress(ProcessLookupError):
                process.kill()
    await process.wait()
    return [line.split() for line in lines if line.endswith("\n")]


async def test_what_two_processes_accept_is_delivered_once_by_one_of_them(
    kind: SqliteKind, store: Store
) -> None:
    processes = [await start(kind, name, "300") for name in ("worker-1", "worker-2")]
    said = await asyncio.gather(*(read_lines(process) for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    stored = {line[1] for lines in said for line in lines if line[0] == "stored"}
    settled = Counter(line[1] for lines in said for line in lines if line[0] == "settled")
    assert len(stored) == 600
    assert settled == Counter(stored)
    assert await store.queue(QueueFilter()) == []
    assert [path for path in (kind.data_dir / "spool").rglob("*") if path.is_file()] == []


async def test_what_a_killed_process_had_claimed_is_free_once_it_is_resigned(
    kind: SqliteKind, store: Store
) -> None:
    survivor = await store.register("worker-1", LEASE)
    said = await read_lines(await start(kind, "worker-2", "hold"), most=200)
    dead = Owner("worker-2", int(said[0][1]))
    stored = {line[1] for line in said if line[0] == "stored"}
    assert len(stored) >= 190
    held = await store.insert(make_new(), dead)
    assert await store.claim(survivor, NOW, 10_000) == []
    await store.resign(dead)
    claimed = await store.claim(survivor, NOW, 10_000)
    assert stored <= {delivery.message.id for delivery in claimed}
    # Its late outcomes change nothing.
    assert not await store.settle(dead, Settlement(held.deliveries[0]))
    assert not await store.renew(dead, LEASE)
    late = next(one for one in claimed if one.id == held.deliveries[0].id)
    assert await store.settle(survivor, Settlement(late))


async def test_a_process_that_is_killed_keeps_nobody_from_writing(
    kind: SqliteKind, store: Store
) -> None:
    for lines in (20, 41, 62, 83):
        process = await start(kind, f"worker-{lines}", "hold")
        reading = asyncio.ensure_future(read_lines(process, lines))
        while not reading.done():
            await asyncio.wait_for(store.insert(make_new(), None), 5)
        await asyncio.wait_for(store.insert(make_new(), None), 5)


async def test_a_replacement_of_the_same_name_frees_what_the_killed_one_had(
    kind: SqliteKind, store: Store
) -> None:
    said = await read_lines(await start(kind, "worker-2", "hold"), most=50)
    stored = {line[1] for line in said if line[0] == "stored"}
    replacement = await store.register("worker-2", LEASE)
    claimed = await store.claim(replacement, NOW, 10_000)
    assert stored <= {delivery.message.id for delivery in claimed}


async def hold_descriptor(descriptor: int) -> Process:
    """A process that inherits the lock, and ends when its input does."""
    return await asyncio.create_subprocess_exec("cat", stdin=PIPE, pass_fds=(descriptor,))


async def end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def test_the_data_dir_is_held_until_the_last_heir_of_its_lock_has_ended(
    tmp_path: Path,
) -> None:
    lock = lock_data_dir(tmp_path)
    heir = await hold_descriptor(lock.fileno())
    lock.release()
    with pytest.raises(DataDirInUse, match=f"process {os.getpid()}"):
        lock_data_dir(tmp_path)
    await end(heir)
    lock_data_dir(tmp_path).release()


async def test_a_start_waits_for_the_workers_of_a_relay_that_has_ended(tmp_path: Path) -> None:
    lock = lock_data_dir(tmp_path)
    heir = await hold_descriptor(lock.fileno())
    lock.release()
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    (tmp_path / "relay.lock").write_text(f"{gone.pid}\n")
    waiting = asyncio.ensure_future(asyncio.to_thread(lock_data_dir, tmp_path))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    await end(heir)
    (await waiting).release()


async def test_a_start_does_not_wait_for_them_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.store.sqlite.lock._PATIENCE", 0.1)
    lock = lock_data_dir(tmp_path)
    (tmp_path / "relay.lock").write_text("")
    with pytest.raises(DataDirInUse):
        lock_data_dir(tmp_path)
    lock.release()
