"""Room that is kept back, so that mail can still leave when the disk is full.

Ending a delivery deletes rows, and even that needs room in SQLite's log. Without it mail that was
delivered stays in the queue and is sent again after a restart. So a file of some megabytes is kept
in the data directory; a full disk makes the writer throw it overboard, and while it is gone only
inserts are refused. They are accepted again as soon as there is room for a new one.

The file is shared by all processes of the relay, and any of them may throw it: so they look whether
it is there before they accept. All methods run on the writer's thread in its turn, or before it
starts.
"""

import os
import time
from pathlib import Path

_OCTETS = 16 * 1024 * 1024
_SHARE = 8  # at most this part of a small file system: one eighth
_INTERVAL = 1.0  # seconds between two attempts to take new ballast


class Ballast:
    """The file `data_dir/ballast`: aboard, or thrown overboard."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "ballast"
        self.aboard = False  # as far as is known; any thread may look
        self._next_attempt = 0.0

    def was_left_alone(self) -> bool:
        """Whether neither this process nor another has thrown it; changes nothing."""
        return self.aboard and os.path.exists(self._path)

    def is_aboard(self, *, try_now: bool = False) -> bool:
        """Whether there is room to accept. Tries to take new ballast where it is gone, now or,
        for who asks often, once in a while."""
        if self.was_left_alone():
            return True
        self.aboard = False
        now = time.monotonic()
        if try_now or now >= self._next_attempt:
            self._next_attempt = now + _INTERVAL
            self.aboard = self._take()
        return self.aboard

    def throw_overboard(self) -> bool:
        """Make room for what must be written now; False where there was nothing to throw."""
        self.aboard = False
        self._next_attempt = time.monotonic() + _INTERVAL
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _take(self) -> bool:
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            disk = os.fstatvfs(file)
            octets = min(_OCTETS, disk.f_blocks * disk.f_frsize // _SHARE)
            os.posix_fallocate(file, 0, octets)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        finally:
            os.close(file)
        return True
