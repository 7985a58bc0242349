"""How attempts went: a row for each, written with the settlement, pruned from the oldest on.

Ids come from a sequence, whose gaps (rows of transactions that were rolled back) are few: the
number of rows is taken from the first and the last id, and is never less than the true one.
"""

from collections.abc import Sequence

import msgspec

from relay.store.postgres.reader import Reader
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer
from relay.store.values import Attempt

_INSERT = (
    "INSERT INTO attempt (message_id, at, told)"
    " SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])"
)
_LAST = "SELECT told FROM attempt WHERE message_id = $1 ORDER BY id DESC LIMIT $2"
_ENDS = "SELECT min(id), max(id) FROM attempt"
_OLD = (
    "SELECT max(id) FROM (SELECT id, at FROM attempt ORDER BY id LIMIT $1) AS oldest WHERE at < $2"
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Attempt).decode


class Attempts:
    """Implements `AttemptStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def of(self, message_id: str, limit: int) -> list[Attempt]:
        """See `AttemptStore`."""
        return await self._questions.ask(last_of, message_id, limit)

    async def prune(self, before: int, most: int, limit: int) -> int:
        """See `AttemptStore`."""
        return await self._writer.submit(prune, (before, most, limit), unhurried=True)


async def add(db: Session, attempts: Sequence[Attempt]) -> None:
    """Write rows, in the transaction that is open."""
    if attempts:
        await db.execute(
            _INSERT,
            [attempt.message_id for attempt in attempts],
            [attempt.at for attempt in attempts],
            [_encode(attempt) for attempt in attempts],
        )


async def last_of(db: Session, message_id: str, limit: int) -> list[Attempt]:
    """In order of time. A row that cannot be read is left out: nothing depends on it."""
    found = []
    for (told,) in await db.fetch(_LAST, message_id, limit):
        try:
            found.append(_decode(told))
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            continue
    return found[::-1]


async def prune(db: Session, requests: Sequence[tuple[int, int, int]]) -> list[int]:
    """Remove the oldest rows: requests are (before, most, limit)."""
    return [await _prune(db, *request) for request in requests]


async def _prune(db: Session, before: int, most: int, limit: int) -> int:
    ends = await db.fetchrow(_ENDS)
    if ends is None or ends[0] is None:
        return 0
    first, last = ends
    old = await db.fetchval(_OLD, limit, before)
    up_to = min(max(old or 0, last - most), first + limit - 1)
    return rows_of(await db.execute("DELETE FROM attempt WHERE id <= $1", up_to))
