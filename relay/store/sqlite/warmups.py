"""How far the warm-ups of source addresses have come: a row for each address.

Who changes a row says what he believes to stand there. So a day that turns and an operator who sets
another one at the same moment never undo each other unseen.
"""

import sqlite3
from collections.abc import Sequence

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer
from relay.store.values import WarmupProgress

_COLUMNS = "address, day, day_began_at, configured_at, state"


class Warmups:
    """Implements `relay.store.interface.WarmupStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def all(self) -> list[WarmupProgress]:
        """In order of address."""
        return await self._questions.ask(_all)

    async def replace(self, known: WarmupProgress | None, new: WarmupProgress) -> bool:
        """See `WarmupStore`."""
        return await self._writer.submit(_replace, (known, new))

    async def forget(self, known: WarmupProgress) -> bool:
        """See `WarmupStore`."""
        return await self._writer.submit(_forget, known)


def _all(db: sqlite3.Connection) -> list[WarmupProgress]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM warmup ORDER BY address")  # noqa: S608 - our own words
    return [WarmupProgress(*row) for row in rows]


def _replace(
    db: sqlite3.Connection, requests: Sequence[tuple[WarmupProgress | None, WarmupProgress]]
) -> list[bool]:
    return [_replace_one(db, known, new) for known, new in requests]


def _replace_one(db: sqlite3.Connection, known: WarmupProgress | None, new: WarmupProgress) -> bool:
    if known is not None and not _forget_one(db, known):
        return False
    written = db.execute(
        f"INSERT OR IGNORE INTO warmup ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        _row(new),
    )
    return written.rowcount == 1


def _forget(db: sqlite3.Connection, requests: Sequence[WarmupProgress]) -> list[bool]:
    return [_forget_one(db, known) for known in requests]


def _forget_one(db: sqlite3.Connection, known: WarmupProgress) -> bool:
    found = db.execute(
        "DELETE FROM warmup WHERE address = ? AND day = ? AND day_began_at = ?"
        " AND configured_at = ? AND state = ?",
        _row(known),
    )
    return found.rowcount == 1


def _row(progress: WarmupProgress) -> tuple[str, int, int, int, str]:
    return (
        progress.address,
        progress.day,
        progress.day_began_at,
        progress.configured_at,
        progress.state,
    )
