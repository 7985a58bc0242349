"""Pauses and fresh starts: rows of their own. What starts or ends a pause is told in the outbox, in
the same transaction."""

from collections.abc import Sequence

from relay.store import outbox_rows
from relay.store.happenings import Paused, PausedKind
from relay.store.pauses import FreshStart, Pause
from relay.store.postgres import outbox
from relay.store.postgres.reader import Reader
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer

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


async def _all(db: Session) -> list[Pause]:
    rows = await db.fetch(
        "SELECT kind, name, reason, made_by, since FROM pause ORDER BY kind, name"
    )
    return [Pause(*row) for row in rows]


async def _put(db: Session, requests: Sequence[Pause]) -> list[bool]:
    return [await _put_one(db, pause) for pause in requests]


async def _put_one(db: Session, pause: Pause) -> bool:
    added = await db.execute(
        "INSERT INTO pause (kind, name, reason, made_by, since) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING",
        pause.kind,
        pause.name,
        text(pause.reason),
        text(pause.by),
        pause.since,
    )
    is_new = rows_of(added) == 1
    if is_new:
        told = Paused(pause.kind, pause.name, True, pause.reason)
        await outbox.add(db, [outbox_rows.row("", pause.since, told)])
    return is_new


async def _lift(db: Session, requests: Sequence[tuple[PausedKind, str, int, str]]) -> list[bool]:
    return [await _lift_one(db, *request) for request in requests]


async def _lift_one(db: Session, kind: PausedKind, name: str, at: int, reason: str) -> bool:
    told = await db.execute("DELETE FROM pause WHERE kind = $1 AND name = $2", kind, name)
    gone = rows_of(told) == 1
    if gone:
        await outbox.add(db, [outbox_rows.row("", at, Paused(kind, name, False, reason))])
    return gone


async def _fresh_starts(db: Session) -> list[FreshStart]:
    rows = await db.fetch(f"SELECT {_FRESH} FROM fresh_start ORDER BY dimension")  # noqa: S608
    return [FreshStart(*row) for row in rows]


async def _start_afresh(db: Session, requests: Sequence[FreshStart]) -> list[None]:
    for start in requests:
        await db.execute(
            f"INSERT INTO fresh_start ({_FRESH}) VALUES ($1, $2, $3, $4, $5)"  # noqa: S608
            " ON CONFLICT (dimension) DO UPDATE SET at = excluded.at, sent = excluded.sent,"
            " bounced = excluded.bounced, complained = excluded.complained",
            start.dimension,
            start.at,
            start.sent,
            start.bounced,
            start.complained,
        )
    return [None] * len(requests)
