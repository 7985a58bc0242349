"""Bodies too large for a row: one file each, `data_dir/spool/xx/<name>`, written as they arrive.

A file is complete and synced, with its directory, before `finish` returns; only then can a row
name it. From the insert on the store owns the file. A file that no row names is an orphan: what a
crash left between the two. Orphans go at the next start, and never while they could be a body that
is being written.

All file work runs on a few threads of its own, never on the loop.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from relay.store.interface import StoreUnavailable
from relay.store.sqlite.codec import Damaged
from relay.store.sqlite.errors import translate
from relay.store.values import Body

BLOCK = 256 * 1024
THREADS = 4

R = TypeVar("R")


class Spool:
    """The directory of body files, and the threads that work on them."""

    def __init__(self, directory: Path, data_dir: Path) -> None:
        self._directory = directory
        self._data_dir = data_dir
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="relay-store-spool")
        self._ours: set[str] = set()
        self._kept: set[str] = set()

    async def run(self, work: Callable[[], R]) -> R:
        """Run blocking file work. It goes on to its end when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.shield(loop.run_in_executor(self._threads, work))
        except OSError as error:
            raise translate(error, self._data_dir) from error

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def path(self, name: str) -> Path:
        if not (name.isalnum() and len(name) > 2):
            raise Damaged(f"{name!r} does not name a spool file")
        return self._directory / name[:2] / name

    def create(self) -> tuple[str, int]:
        """A new file: its name and descriptor. Blocks."""
        name = secrets.token_hex(16)
        path = self.path(name)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(self._directory)
        self._ours.add(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return name, os.open(path, flags, 0o600)

    def keep(self, name: str) -> None:
        """From now on a row may name the file: its writer can discard it no more."""
        self._kept.add(name)

    def discard(self, name: str) -> None:
        """Delete a file unless it is kept. Blocks."""
        if name not in self._kept:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Delete a file, which may be gone already. Blocks."""
        self.path(name).unlink(missing_ok=True)
        self._ours.discard(name)
        self._kept.discard(name)

    async def read(self, name: str, size: int) -> AsyncIterator[bytes]:
        """The content in blocks. Raises Damaged before the first one when the file is not whole."""
        try:
            file = await self.run(lambda: _open_whole(self.path(name), size))
            try:
                while block := await self.run(lambda: os.read(file, BLOCK)):
                    yield block
            finally:
                os.close(file)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise Damaged(f"spool file {name} is missing") from error
            raise

    def sweep(self, named: Collection[str], before: float) -> int:
        """Delete the files that no row names and that are older than `before` (seconds since the
        epoch, the file system's clock); how many. `named` must have been read after the start of
        this process. Blocks."""
        removed = 0
        for entry in _files(self._directory):
            if entry.name in named or entry.name in self._ours:
                continue
            status = entry.stat(follow_symlinks=False)
            if max(status.st_mtime, status.st_ctime) < before:
                os.unlink(entry.path)
                removed += 1
        return removed


class SpoolingWriter:
    """A `BodyWriter`: holds up to `inline_size` octets, and spills what is larger to a file."""

    def __init__(self, spool: Spool, inline_size: int) -> None:
        self._spool = spool
        self._inline_size = inline_size
        self._chunks: list[bytes] = []
        self._held = 0
        self._size = 0
        self._file = _File(spool)

    @property
    def in_memory(self) -> int:
        return self._held

    async def write(self, chunk: bytes) -> None:
        """Raises StoreError when the spool cannot take it."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._size += len(chunk)
        if self._size > self._inline_size and (self._held >= BLOCK or not self._file.name):
            await self._flush()

    async def finish(
        self, *, simple_digest: bytes, relaxed_digest: bytes | None, eight_bit: bool
    ) -> Body:
        """Raises StoreError when the body could not be made durable."""
        inline = None
        if self._size > self._inline_size:
            await self._flush()
            await self._spool.run(self._file.complete)
        else:
            inline = b"".join(self._chunks)
            self._chunks.clear()
        return Body(
            size=self._size,
            simple_digest=simple_digest,
            relaxed_digest=relaxed_digest,
            eight_bit=eight_bit,
            inline=inline,
            ref=self._file.name,
        )

    async def discard(self) -> None:
        self._chunks.clear()
        self._held = 0
        if self._file.name:
            await self._spool.run(self._file.abandon)

    async def _flush(self) -> None:
        block = b"".join(self._chunks)
        self._chunks.clear()
        await self._spool.run(lambda: self._file.append(block))
        self._held = 0


class _File:
    """The file of one body. Its methods block; the lock orders them when a caller was cancelled
    while one was under way and the next comes from another thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._descriptor = -1
        self.name = ""
        self._over = False

    def append(self, block: bytes) -> None:
        with self._lock:
            if self._over:
                return
            if not self.name:
                self.name, self._descriptor = self._spool.create()
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def complete(self) -> None:
        with self._lock:
            os.fsync(self._descriptor)
            self._close()
            sync_directory(self._spool.path(self.name).parent)

    def abandon(self) -> None:
        with self._lock:
            self._over = True
            self._close()
            self._spool.discard(self.name)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable. Blocks."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_whole(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise Damaged(f"spool file {path.name} has {found} octets instead of {size}")
    return descriptor


def _files(directory: Path) -> list[os.DirEntry[str]]:
    found: list[os.DirEntry[str]] = []
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            found += [file for file in os.scandir(entry.path) if file.is_file()]
    return found
