"""A directory of received messages, one `.eml` file each, the oldest removed beyond a limit.

A file holds the trace fields that a receiving server adds (Return-Path, Delivered-To, Received,
Authentication-Results), then the message octet for octet.
"""

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from relay.mail.message_id import new_message_id


class Mailbox:
    """Writes messages below `directory`; keeps at most `limit` of them."""

    def __init__(self, directory: Path, limit: int = 10_000) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._kept = deque(sorted(directory.glob("*.eml")))
        self._limit = limit

    def keep(self, trace: Iterable[bytes], content: bytes, now_ms: int) -> Path:
        """Write one message under a name that sorts by time; a reader never sees half of it."""
        path = self._directory / f"{new_message_id(now_ms)}.eml"
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(trace) + content)
        partial.rename(path)
        self._kept.append(path)
        while len(self._kept) > self._limit:
            self._kept.popleft().unlink(missing_ok=True)
        return path
