"""Whose turn it is to write, among the processes that share a store.

SQLite too lets one writer in at a time, but who must wait there sleeps and looks again. Here the
kernel wakes the next one as soon as the turn is free, and frees it when its process ends, however
that ends. Should the file be deleted under way, SQLite's own lock still keeps writers apart.

Never bounds the wait: a kernel lock cannot. `Writer` watches how long it takes.
"""

import fcntl
import os
from pathlib import Path

TURN = "write.lock"  # in the data directory


class Turn:
    """A lock on a file of its own. Used on one thread, but for `holder`."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._inode = os.fstat(self._descriptor).st_ino

    def take(self) -> None:
        """Wait for the turn, for however long its holder keeps it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def give_up(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)

    def holder(self) -> str:
        """The process that has the turn, for people; "unknown" where the kernel does not say."""
        try:
            locks = Path("/proc/locks").read_text()
        except OSError:
            return "unknown"
        for line in locks.splitlines():
            # 1: FLOCK  ADVISORY  WRITE 4711 08:01:42 0 EOF
            fields = line.split()
            if fields[1:2] == ["FLOCK"] and fields[5].endswith(f":{self._inode}"):
                return fields[4]
        return "unknown"
