"""Pauses and fresh starts: rows of their own. What starts or ends a pause is told in the outbox, in
the same transaction."""

import sqlite3
from collections.abc import Sequence

from relay.store import outbox_rows
from relay.store.happenings import Paused, PausedKind
from relay.store.pauses import FreshStart, Pause
from relay.store.sqlite import outbox
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer

_FRESH = "dimension, at, sent, bounced, complained"


class Pauses:
    """Implements `relay.store.interface.PauseStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def all(self) -> list[Pause]:
        """See `PauseStore`."""
        return await self._questions.ask(_all)

    async def put(self, pause: Pause) -> bool:
        """See `PauseStore`."""
        return await self._writer.submit(_put, pause)

    async def lift(self, kind: PausedKind, name: str, at: int, reason: str) -> bool:
        """See `PauseStore`."""
        return await self._writer.submit(_lift, (kind, name, at, reason))

    async def fresh_starts(self) -> list[FreshStart]:
        """See `PauseStore`."""
        return await self._questions.ask(_fresh_starts)

    async def start_afresh(self, start: FreshStart) -> None:
        """See `PauseStore`."""
        await self._writer.submit(_start_afresh, start)


def _all(db: sqlite3.Connection) -> list[Pause]:
    rows = db.execute("SELECT kind, name, reason, made_by, since FROM pause ORDER BY kind, name")
    return [Pause(*row) for row in rows]


def _put(db: sqlite3.Connection, requests: Sequence[Pause]) -> list[bool]:
    return [_put_one(db, pause) for pause in requests]


def _put_one(db: sqlite3.Connection, pause: Pause) -> bool:
    is_new = (
        db.execute(
            "INSERT OR IGNORE INTO pause (kind, name, reason, made_by, since)"
            " VALUES (?, ?, ?, ?, ?)",
            (pause.kind, pause.name, pause.reason, pause.by, pause.since),
        ).rowcount
        == 1
    )
    if is_new:
        told = Paused(pause.kind, pause.name, True, pause.reason)
        outbox.add(db, [outbox_rows.row("", pause.since, told)])
    return is_new


def _lift(
    db: sqlite3.Connection, requests: Sequence[tuple[PausedKind, str, int, str]]
) -> list[bool]:
    return [_lift_one(db, *request) for request in requests]


def _lift_one(db: sqlite3.Connection, kind: PausedKind, name: str, at: int, reason: str) -> bool:
    gone = db.execute("DELETE FROM pause WHERE kind = ? AND name = ?", (kind, name)).rowcount == 1
    if gone:
        outbox.add(db, [outbox_rows.row("", at, Paused(kind, name, False, reason))])
    return gone


def _fresh_starts(db: sqlite3.Connection) -> list[FreshStart]:
    rows = db.execute(f"SELECT {_FRESH} FROM fresh_start ORDER BY dimension")  # noqa: S608
    return [FreshStart(*row) for row in rows]


def _start_afresh(db: sqlite3.Connection, requests: Sequence[FreshStart]) -> list[None]:
    for start in requests:
        db.execute(
            f"REPLACE INTO fresh_start ({_FRESH}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            (start.dimension, start.at, start.sent, start.bounced, start.complained),
        )
    return [None] * len(requests)
