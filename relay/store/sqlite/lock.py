"""One relay for one data directory: an advisory lock that ends with its process."""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

from relay.store.interface import StoreError


class DataDirInUse(StoreError):
    """Another process holds the data directory."""


class DataDirLock:
    """The lock, held until `release` or the end of the process, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
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

    Raises DataDirInUse, with the process that holds it, and OSError.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(
            errno.ENOTDIR, "data_dir is not a directory", str(data_dir)
        ) from error
    path = data_dir / "relay.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise DataDirInUse(
            f"Another relay (process {holder}) uses {data_dir}. Stop it first, or give this one a"
            " data_dir of its own."
        ) from error
    except OSError:
        os.close(descriptor)
        raise
    return DataDirLock(descriptor)
