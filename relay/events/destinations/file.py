"""JSON lines in a file: one event a line, rotated by size.

Every line is whole: what a crash or a full disk left of one is cut off, for its event is told
again. The file may be moved away at any time, as logrotate does, and a new one is begun.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relay.config.events import EventFile
from relay.config.private_files import FILE_MODE, make_private_directory
from relay.events.notification import Notification
from relay.events.patience import Failed, Outcome, Told

_BLOCK = 64 * 1024


class FileDestination:
    """Only one process writes to it, and of that one thread: a write that nobody waits for any more
    is over before the file is closed."""

    batch = 500
    concurrency = 1

    def __init__(self, config: EventFile) -> None:
        self._path = config.path
        self._rotate = config.rotate
        self._keep = config.keep
        self._descriptor: int | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="events")

    async def tell(self, notifications: Sequence[Notification]) -> Sequence[Outcome]:
        """On stable storage when it returns."""
        lines = b"".join(notification.content + b"\n" for notification in notifications)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, lines)
        except OSError as error:
            return [Failed(f"{self._path}: {error.strerror or error}")] * len(notifications)
        return [Told("written")] * len(notifications)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _write(self, lines: bytes) -> None:
        descriptor = self._current()
        size = os.fstat(descriptor).st_size
        if size and size + len(lines) > self._rotate:
            self._close()
            rotate(self._path, self._keep)
            descriptor, size = self._current(), 0
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            self._close()
            raise

    def _current(self) -> int:
        """The file that the path names now, open at its end."""
        if self._descriptor is not None:
            if _is_same(self._descriptor, self._path):
                return self._descriptor
            self._close()
        make_private_directory(self._path.parent)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, FILE_MODE)
        cut_torn_line(self._descriptor)
        _sync_directory(self._path.parent)
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


def cut_torn_line(descriptor: int) -> None:
    """Cut the file after its last line end."""
    end = os.fstat(descriptor).st_size
    keep = end
    while keep:
        start = max(0, keep - _BLOCK)
        if (found := os.pread(descriptor, keep - start, start).rfind(b"\n")) >= 0:
            keep = start + found + 1
            break
        keep = start
    if keep < end:
        os.ftruncate(descriptor, keep)


def rotate(path: Path, keep: int) -> None:
    """Move the file to NAME.1, NAME.1 to NAME.2 and so on; of older ones, `keep` are kept."""
    if keep == 0:
        path.unlink()
    else:
        for number in range(keep - 1, 0, -1):
            older = _numbered(path, number)
            if older.exists():
                older.replace(_numbered(path, number + 1))
        path.replace(_numbered(path, 1))
    _sync_directory(path.parent)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
