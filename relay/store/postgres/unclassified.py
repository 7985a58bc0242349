"""Replies that no rule knew: a row for each kind of text, phase and provider.

Bounded: where there are more than wanted, those that were seen longest ago go.
"""

from collections.abc import Sequence

from relay.store.postgres.reader import Reader
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer
from relay.store.values import UnclassifiedReply

_COLUMNS = "reply, phase, provider, count, first_seen, last_seen, example"
_ADD = (
    f"INSERT INTO unclassified AS u ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
    " ON CONFLICT (reply, phase, provider) DO UPDATE SET count = u.count + excluded.count,"
    " first_seen = least(u.first_seen, excluded.first_seen),"
    " last_seen = greatest(u.last_seen, excluded.last_seen)"
)


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


async def _add(
    db: Session, requests: Sequence[tuple[Sequence[UnclassifiedReply], int]]
) -> list[None]:
    # One at a time: what one adds to, another may be about to forget.
    await db.execute("SELECT pg_advisory_xact_lock(hashtext('unclassified'), 0)")
    for replies, most in requests:
        await db.executemany(_ADD, sorted(_row(reply) for reply in replies))
        await db.execute(
            "DELETE FROM unclassified WHERE id IN (SELECT id FROM unclassified"
            " ORDER BY last_seen DESC, id DESC OFFSET $1)",
            most,
        )
    return [None] * len(requests)


async def _all(db: Session, limit: int) -> list[UnclassifiedReply]:
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM unclassified"  # noqa: S608 - our own words
        " ORDER BY count DESC, last_seen DESC, id LIMIT $1",
        limit,
    )
    return [UnclassifiedReply(*row) for row in rows]


async def _clear(db: Session, requests: Sequence[None]) -> list[int]:
    return [rows_of(await db.execute("DELETE FROM unclassified")) for _ in requests]


def _row(reply: UnclassifiedReply) -> tuple[str, str, str, int, int, int, str]:
    return (
        text(reply.reply),
        reply.phase,
        reply.provider,
        reply.count,
        reply.first_seen,
        reply.last_seen,
        text(reply.example),
    )
