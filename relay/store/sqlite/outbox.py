"""The outbox: what happened, written with the state change that it tells of, read in order.

Ids come from AUTOINCREMENT and one writer at a time: their order is
that of the commits, and what has been read and forgotten never comes again.
"""

import sqlite3
from collections.abc import Sequence

from relay.store.happenings import Happening, OutboxEntry
from relay.store.outbox_rows import Row, SentRow, cut, encode_suppressed, entry, row, word_kind
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.rows import chunks, values
from relay.store.sqlite.writer import Writer

_INSERT = "INSERT INTO outbox (message_id, at, kind, told, header) VALUES "
_READ = "SELECT id, message_id, at, kind, told, header, suppressed FROM outbox"


class Outbox:
    """Implements `relay.store.interface.Outbox`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def name(self) -> tuple[str, int]:
        """See `interface.Outbox`."""
        return await self._questions.ask(name)

    async def rename(self) -> str:
        """See `interface.Outbox`."""
        return await self._writer.submit(_rename, None)

    async def read(self, after: int, limit: int) -> list[OutboxEntry]:
        """See `interface.Outbox`."""
        return await self._questions.ask(read, after, limit)

    async def forget(self, upto: int) -> int:
        """See `interface.Outbox`."""
        return await self._writer.submit(forget, upto, unhurried=True)

    async def add(
        self, message_id: str, at: int, what: Happening, once: str = "", most: int | None = None
    ) -> bool:
        """See `interface.Outbox`."""
        return await self._writer.submit(_add_all, (row(message_id, at, what), once, most))

    async def prune_once(self, before: int, limit: int) -> int:
        """See `interface.Outbox`."""
        return await self._writer.submit(_prune_once, (before, limit), unhurried=True)

    async def depth(self) -> tuple[int, int]:
        """See `interface.Outbox`."""
        return await self._questions.ask(depth)


def add(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write rows, in the transaction that is open."""
    for some in chunks(rows):
        statement = values(_INSERT, "(?, ?, ?, ?, NULL)", len(some))
        db.execute(statement, [value for fields in some for value in fields])


def add_sent(db: sqlite3.Connection, sent: Sequence[SentRow]) -> list[int]:
    """Entries for new messages, in the transaction that is open; their ids."""
    ids: list[int] = []
    for some in chunks(sent):
        parameters: list[object] = []
        for message_id, at, facts, header, suppressed in some:
            parameters += (
                message_id,
                at,
                facts,
                cut(header),
                encode_suppressed(suppressed),
            )
        statement = values(
            "INSERT INTO outbox (message_id, at, kind, told, header, suppressed) VALUES ",
            "(?, ?, 'sent', ?, ?, ?)",
            len(some),
        )
        last = db.execute(statement, parameters).lastrowid or 0
        # One statement numbers its rows one after the other (AUTOINCREMENT, one writer).
        ids += range(last - len(some) + 1, last + 1)
    return ids


def take_back(db: sqlite3.Connection, identifier: int, *, alone: bool) -> None:
    """Remove the entry of a new message that was taken back, if nobody has read it; where it does
    not stand `alone`, with the one that says that the message was rejected."""
    if not alone:
        db.execute(
            "DELETE FROM outbox WHERE id > ? AND kind = 'rejected'"
            " AND message_id = (SELECT message_id FROM outbox WHERE id = ?)",
            (identifier, identifier),
        )
    db.execute("DELETE FROM outbox WHERE id = ?", (identifier,))


def name(db: sqlite3.Connection) -> tuple[str, int]:
    """The name, and the highest id that was ever given."""
    (known,) = db.execute("SELECT name FROM outbox_name").fetchone()
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return known, given[0] if given else 0


def _rename(db: sqlite3.Connection, requests: Sequence[None]) -> list[str]:
    db.execute("UPDATE outbox_name SET name = lower(hex(randomblob(8)))")
    return [name(db)[0]] * len(requests)


def read(db: sqlite3.Connection, after: int, limit: int) -> list[OutboxEntry]:
    """Entries in order. One that is damaged comes as `Unreadable`."""
    found = db.execute(f"{_READ} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return [entry(fields) for fields in found]


def forget(db: sqlite3.Connection, requests: Sequence[int]) -> list[int]:
    """Remove entries up to an id."""
    return [db.execute("DELETE FROM outbox WHERE id <= ?", (upto,)).rowcount for upto in requests]


def _add_all(db: sqlite3.Connection, requests: Sequence[tuple[Row, str, int | None]]) -> list[bool]:
    added = []
    for told, once, most in requests:
        is_new = not once or _is_new(db, once, most, told[1])
        if is_new:
            add(db, [told])
        added.append(is_new)
    return added


def _is_new(db: sqlite3.Connection, word: str, most: int | None, at: int) -> bool:
    """Whether the word was not heard before, and finds room beside those of its kind."""
    if most is not None:
        kind = word_kind(word)
        (heard,) = db.execute(
            "SELECT count(*) FROM heard WHERE word >= ? AND word < ?", (kind, kind + "\x7f")
        ).fetchone()
        if heard >= most:
            return False
    statement = "INSERT OR IGNORE INTO heard (word, at) VALUES (?, ?)"
    return db.execute(statement, (word, at)).rowcount == 1


def _prune_once(db: sqlite3.Connection, requests: Sequence[tuple[int, int]]) -> list[int]:
    return [
        db.execute(
            "DELETE FROM heard WHERE word IN (SELECT word FROM heard WHERE at < ? LIMIT ?)", request
        ).rowcount
        for request in requests
    ]


def depth(db: sqlite3.Connection) -> tuple[int, int]:
    """About how many there are, and the time of the first."""
    first, last = db.execute("SELECT min(id), max(id) FROM outbox").fetchone()
    if first is None:
        return 0, 0
    (at,) = db.execute("SELECT at FROM outbox WHERE id = ?", (first,)).fetchone()
    return last - first + 1, at
