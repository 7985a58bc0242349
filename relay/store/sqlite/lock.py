"""One relay for one data directory: an advisory lock that ends with its processes.

The lock belongs to the open file, not to a process: workers that inherit the descriptor hold it
too, and it is free when the last of them has ended, however they end.
"""

import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from relay.store.interface import StoreError


class DataDirInUse(StoreError):
    """Another process holds the data directory."""


_PATIENCE = 10.0  # seconds that workers of a relay which has ended may take to end as well
_INTERVAL = 0.05


class DataDirLock:
    """The lock, held until `release` or the end of the process, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor to pass on to processes that hold the lock as well."""
        return self._descriptor

    def release(self) -> None:
        """Let go of it here. Never unlocks: processes that inherited it hold it until they end."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "DataDirLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def lock_data_dir(data_dir: Path) -> DataDirLock:
    """Lock `data_dir/relay.lock`, creating the directory (0700) where it is missing.

    Blocks for some seconds where the relay that took the lock has ended, but workers of it have
    not. Raises DataDirInUse, with the process that holds it, and OSError.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(
            errno.ENOTDIR, "data_dir is not a directory", str(data_dir)
        ) from error
    descriptor = os.open(data_dir / "relay.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, data_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return DataDirLock(descriptor)


def _wait_for(descriptor: int, data_dir: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            if _runs(holder) or time.monotonic() > deadline:
                raise DataDirInUse(
                    f"Another relay (process {holder or 'unknown'}) uses {data_dir}. Stop it"
                    " first, or give this one a data_dir of its own."
                ) from error
            time.sleep(_INTERVAL)
        else:
            return


def _runs(process: str) -> bool:
    """Whether a process of this id is there. Without an id, it has only just taken the lock."""
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
