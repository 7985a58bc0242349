"""How attempts went: a row for each, written with the settlement, pruned from the oldest on.

Messages that have left the queue are found here for as long as the rows are kept. Ids have no gaps,
since only the oldest rows are ever removed: the number of rows is known without counting them.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.rows import chunks, values
from relay.store.sqlite.writer import Writer
from relay.store.values import Attempt

_INSERT = "INSERT INTO attempt (message_id, at, told) VALUES "
_LAST = "SELECT told FROM attempt WHERE message_id = ? ORDER BY id DESC LIMIT ?"
_ENDS = "SELECT min(id), max(id) FROM attempt"
_OLD = "SELECT max(id) FROM (SELECT id, at FROM attempt ORDER BY id LIMIT ?) WHERE at < ?"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Attempt).decode


class Attempts:
    """Implements `AttemptStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def of(self, message_id: str, limit: int) -> list[Attempt]:
        return await self._questions.ask(last_of, message_id, limit)

    async def prune(self, before: int, most: int, limit: int) -> int:
        return await self._writer.submit(prune, (before, most, limit), unhurried=True)


def add(db: sqlite3.Connection, attempts: Sequence[Attempt]) -> None:
    """Write rows, in the transaction that is open."""
    for some in chunks(attempts):
        parameters: list[object] = []
        for attempt in some:
            parameters += (attempt.message_id, attempt.at, _encode(attempt))
        db.execute(values(_INSERT, "(?, ?, ?)", len(some)), parameters)


def last_of(db: sqlite3.Connection, message_id: str, limit: int) -> list[Attempt]:
    """In order of time. A row that cannot be read is left out: nothing depends on it."""
    found = []
    for (told,) in db.execute(_LAST, (message_id, limit)):
        try:
            found.append(_decode(told))
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            continue
    return found[::-1]


def prune(db: sqlite3.Connection, requests: Sequence[tuple[int, int, int]]) -> list[int]:
    """Remove the oldest rows: requests are (before, most, limit)."""
    return [_prune(db, *request) for request in requests]


def _prune(db: sqlite3.Connection, before: int, most: int, limit: int) -> int:
    first, last = db.execute(_ENDS).fetchone()
    if first is None:
        return 0
    (old,) = db.execute(_OLD, (limit, before)).fetchone()
    up_to = min(max(old or 0, last - most), first + limit - 1)
    return db.execute("DELETE FROM attempt WHERE id <= ?", (up_to,)).rowcount
