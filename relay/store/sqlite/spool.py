"""Bodies too large for a row: one file each, `data_dir/spool/xx/<name>`, written as they arrive.

A file is complete and synced, with its directory, before `finish` returns; only then can a row
name it. From the insert on the store owns the file. A file that no row names is an orphan: what a
crash left between the two. Orphans go at the next start, and never while they could be a body that
is being written.

All file work runs on a few threads of its own, never on the loop.
"""

import asyncio
import errno
import os
import secrets
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from zlib import crc32

from relay.store.codec import Damaged
from relay.store.interface import StoreError, StoreUnavailable
from relay.store.reading import BLOCK
from relay.store.sqlite.errors import translate

THREADS = 4
_NAME_OCTETS = 16

R = TypeVar("R")


class Spool:
    """The directory of body files, and the threads that work on them."""

    def __init__(
        self, directory: Path, data_dir: Path, on_error: Callable[[StoreError], None]
    ) -> None:
        self._on_error = on_error
        self._directory = directory
        self._data_dir = data_dir
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="relay-store-spool")
        self._closed = False
        # Those being written here. Others may remove a file, so nothing is remembered for longer.
        self._files: weakref.WeakValueDictionary[str, _File] = weakref.WeakValueDictionary()
        self._synced: set[Path] = set()

    async def run(self, work: Callable[[], R]) -> R:
        """Run blocking file work. It goes on to its end when the caller is cancelled."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.shield(loop.run_in_executor(self._threads, work))
        except OSError as error:
            translated = translate(error, self._data_dir)
            self._on_error(translated)
            raise translated from error

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=True)

    def path(self, name: str) -> Path:
        return self._directory / name[:2] / name

    def create(self, file: "_File") -> tuple[str, int]:
        """A new file on disk for `file`: its name and descriptor. Blocks."""
        name = secrets.token_hex(_NAME_OCTETS)
        path = self.path(name)
        if path.parent not in self._synced or not path.parent.is_dir():
            # That it is there does not say that it would survive a crash: another thread, or a
            # process that died, may have made it and not synced it yet.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(self._directory)
            self._synced.add(path.parent)
        self._files[name] = file
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return name, os.open(path, flags, 0o600)

    def keep(self, reference: str) -> None:
        """From now on a row may name the file: its writer can discard it no more."""
        file = self._files.get(_split(reference)[0])
        if file is not None:
            file.kept = True

    def discard(self, name: str) -> None:
        """Delete a file that no row names. Blocks."""
        self.path(name).unlink(missing_ok=True)

    def remove(self, reference: str) -> None:
        """Delete a file, which may be gone already. Blocks."""
        self.discard(_split(reference)[0])

    async def read(self, reference: str, size: int) -> AsyncIterator[bytes]:
        """The content in blocks. Raises Damaged: before the first block when the file is missing
        or has another size, and after the last one when its checksum differs."""
        name, expected = _split(reference)
        descriptor = await self.run(lambda: _open_whole(self.path(name), size))
        checksum = 0
        try:
            while block := await self.run(lambda: os.read(descriptor, BLOCK)):
                checksum = crc32(block, checksum)
                yield block
        finally:
            os.close(descriptor)
        if checksum != expected:
            raise Damaged(f"spool file {name} is not what was stored")

    def sweep(self, references: Iterable[str], before: float) -> int:
        """Delete the files that no reference names and that were last changed earlier than
        `before` (seconds since the epoch); how many. The references must have been read after
        this process started. Blocks."""
        named = {reference.partition("-")[0] for reference in references}
        removed = 0
        for entry in _files(self._directory):
            if entry.name in named or entry.name in self._files:
                continue
            status = entry.stat(follow_symlinks=False)
            if max(status.st_mtime, status.st_ctime) < before:
                os.unlink(entry.path)
                removed += 1
        return removed


class SpoolFile:
    """A `Spill`: the file of one body, which the threads of `spool` write."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._file = _File(spool)

    async def append(self, block: bytes) -> None:
        await self._spool.run(lambda: self._file.append(block))

    async def complete(self) -> str:
        return await self._spool.run(self._file.complete)

    async def abandon(self) -> None:
        await self._spool.run(self._file.abandon)


class _File:
    """The file of one body. Its methods block; the lock orders them when a caller was cancelled
    while one was under way and the next comes from another thread."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._name = ""
        self._descriptor = -1
        self._checksum = 0
        self._fault: OSError | None = None
        self._over = False
        self.kept = False  # a row may name it: it is not ours to delete any more

    def append(self, block: bytes) -> None:
        with self._lock:
            self._check()
            try:
                if not self._name:
                    self._name, self._descriptor = self._spool.create(self)
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                self._fault = error
                raise
            self._checksum = crc32(block, self._checksum)

    def complete(self) -> str:
        """Sync the file and its directory; its reference."""
        with self._lock:
            self._check()
            try:
                os.fsync(self._descriptor)
                self._close()
                sync_directory(self._spool.path(self._name).parent)
            except OSError as error:
                # A second sync could succeed without having written anything: never ask again.
                self._fault = error
                raise
            return f"{self._name}-{self._checksum:08x}"

    def abandon(self) -> None:
        with self._lock:
            self._over = True
            self._close()
            if self._name and not self.kept:
                self._spool.discard(self._name)

    def _check(self) -> None:
        """What has failed once stays failed: the file has a hole."""
        if self._fault is not None:
            raise OSError(self._fault.errno, self._fault.strerror)
        if self._over:
            raise OSError(errno.EBADF, "the body was discarded")

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


def _split(reference: str) -> tuple[str, int]:
    """Name and checksum. Raises Damaged for what `_File.complete` did not write."""
    name, _, checksum = reference.partition("-")
    try:
        if len(bytes.fromhex(name)) != _NAME_OCTETS:
            raise ValueError
        return name, int(checksum, 16)
    except ValueError:
        raise Damaged(f"{reference!r} does not refer to a spool file") from None


def _open_whole(path: Path, size: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"spool file {path.name} is missing") from None
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
