"""Replies that no rule knew: a row for each kind of text, phase and provider.

Bounded: where there are more than wanted, those that were seen longest ago go.
"""

import sqlite3
from collections.abc import Sequence

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer
from relay.store.values import UnclassifiedReply

_COLUMNS = "reply, phase, provider, count, first_seen, last_seen, example"


class Unclassified:
    """Implements `relay.store.interface.UnclassifiedStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def add(self, replies: Sequence[UnclassifiedReply], most: int) -> None:
        """See `UnclassifiedStore`."""
        await self._writer.submit(_add, (replies, most), unhurried=True)

    async def all(self, limit: int) -> list[UnclassifiedReply]:
        """See `UnclassifiedStore`."""
        return await self._questions.ask(_all, limit)

    async def clear(self) -> int:
        """See `UnclassifiedStore`."""
        return await self._writer.submit(_clear, None)


def _add(
    db: sqlite3.Connection, requests: Sequence[tuple[Sequence[UnclassifiedReply], int]]
) -> list[None]:
    for replies, most in requests:
        db.executemany(
            f"INSERT INTO unclassified ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT (reply, phase, provider) DO UPDATE SET count = count + excluded.count,"
            " first_seen = min(first_seen, excluded.first_seen),"
            " last_seen = max(last_seen, excluded.last_seen)",
            [_row(reply) for reply in replies],
        )
        db.execute(
            "DELETE FROM unclassified WHERE id IN (SELECT id FROM unclassified"
            " ORDER BY last_seen DESC, id DESC LIMIT -1 OFFSET ?)",
            (most,),
        )
    return [None] * len(requests)


def _all(db: sqlite3.Connection, limit: int) -> list[UnclassifiedReply]:
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM unclassified"  # noqa: S608 - our own words
        " ORDER BY count DESC, last_seen DESC, id LIMIT ?",
        (limit,),
    )
    return [UnclassifiedReply(*row) for row in rows]


def _clear(db: sqlite3.Connection, requests: Sequence[None]) -> list[int]:
    return [db.execute("DELETE FROM unclassified").rowcount for _ in requests]


def _row(reply: UnclassifiedReply) -> tuple[str, str, str, int, int, int, str]:
    return (
        reply.reply,
        reply.phase,
        reply.provider,
        reply.count,
        reply.first_seen,
        reply.last_seen,
        reply.example,
    )
