"""No room: the client hears so, nothing is half stored, and the store recovers by itself."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relay.store.interface import BodyWriter, StoreFull
from relay.store.values import Body, Settlement
from tests.contract.making import NOW, SqliteKind, make_new, read

pytestmark = pytest.mark.fault


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64m,nr_inodes=400", "none", directory],
        capture_output=True,
        check=False,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", directory], check=True)


@pytest.fixture
async def full(small_disk: Path) -> AsyncIterator[SqliteKind]:
    kind = SqliteKind(small_disk / "data")
    yield kind
    await kind.close()


def fill(directory: Path) -> Path:
    """Take all the room that is left."""
    path = directory / "fill"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path


def touch_all(paths: list[Path]) -> None:
    for path in paths:
        path.touch()


async def write_until_it_fails(writer: BodyWriter) -> None:
    while True:
        await writer.write(b"x" * 65_536)


def inline(size: int) -> Body:
    return Body(size, b"s" * 32, inline=b"x" * size)


async def test_a_full_disk_refuses_settles_and_recovers(full: SqliteKind) -> None:
    store = await full.open()
    owner = await store.register("worker", 30_000)
    deliveries = [
        (await store.insert(make_new(body=inline(30_000)), owner)).deliveries[0] for _ in range(60)
    ]
    filler = fill(full.data_dir.parent)
    # Room inside the log and the file is used up first.
    refused = 0
    for _ in range(1_000):
        try:
            accepted = await store.insert(make_new(body=inline(30_000)), owner)
        except StoreFull:
            refused += 1
            if refused == 5:
                break
        else:
            deliveries += accepted.deliveries
    assert refused == 5
    assert set(full.errors) == {"full"}
    # Deliveries still come to their end, so that mail is not sent twice.
    for delivery in deliveries[:50]:
        assert await store.settle(owner, Settlement(delivery))
    filler.unlink()
    await asyncio.sleep(1.1)  # room is looked for once a second
    accepted = await store.insert(make_new(body=inline(30_000)), owner)
    assert await read(store, accepted.deliveries[0]) == b"x" * 30_000
    assert sum(depth.queued for depth in await store.depths()) == len(deliveries) - 50 + 1
    await store.close()
    again = await full.open()
    other = await again.register("worker", 30_000)
    assert len(await again.claim(other, NOW, 10_000)) == len(deliveries) - 50 + 1


async def test_a_body_that_finds_no_room_is_refused_and_leaves_nothing(full: SqliteKind) -> None:
    store = await full.open()
    before = await store.free_space()
    writer = store.new_body()
    with pytest.raises(StoreFull):
        await write_until_it_fails(writer)
    with pytest.raises(StoreFull):
        await writer.finish(simple_digest=b"", relaxed_digest=None, eight_bit=False)
    await writer.discard()
    assert await store.free_space() >= before - 65_536
    assert set(full.errors) == {"full"}


async def test_no_inodes_is_no_room(full: SqliteKind) -> None:
    store = await full.open()
    blockers = [full.data_dir.parent / f"file{number}" for number in range(400)]
    with pytest.raises(OSError, match="No space"):
        touch_all(blockers)
    assert await store.free_space() == 0
    writer = store.new_body()
    with pytest.raises(StoreFull):
        await writer.write(b"x" * 5_000)
    await writer.discard()
    for blocker in blockers:
        blocker.unlink(missing_ok=True)
    assert await store.free_space() > 0
    writer = store.new_body()
    await writer.write(b"x" * 5_000)
    await writer.discard()


async def test_many_at_once_on_a_full_disk_all_hear_it(full: SqliteKind) -> None:
    store = await full.open()
    fill(full.data_dir.parent)
    news = [make_new(body=inline(60_000)) for _ in range(300)]
    answers = await asyncio.gather(
        *(store.insert(new, None) for new in news), return_exceptions=True
    )
    stored = [
        new for new, answer in zip(news, answers, strict=True) if not isinstance(answer, Exception)
    ]
    assert any(isinstance(answer, StoreFull) for answer in answers)
    assert all(isinstance(a, StoreFull) for a in answers if isinstance(a, Exception))
    assert sum(depth.queued for depth in await store.depths()) == len(stored)
    for new in stored:
        assert await store.find_message(new.message.id) is not None
