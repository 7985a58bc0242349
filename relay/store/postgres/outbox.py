"""The outbox: what happened, written with the state change that it tells of, read in order.

Many transactions write at once, and a sequence would not say in which order they commit. So an id
is the number of its transaction and the place in it (`transaction << 20 | place`), and a reader
sees no entry of a transaction that is younger than the oldest one under way: what it has passed
never comes after all. Whoever acts upon what another transaction has done has the higher number,
so causes are read before effects.

A transaction that writes and stays open, anywhere in the server, holds the readers up, and nothing
else. Another server into which the database is restored from a dump has come to other numbers, most
likely to lower ones: then nothing is promised of what it is to give, the log has the outbox
renamed, and what the dump holds comes before what is new.
"""

from collections.abc import Sequence

from relay.store.happenings import Happening, OutboxEntry
from relay.store.outbox_rows import Row, SentRow, cut, encode_suppressed, entry, row, word_kind
from relay.store.postgres.reader import Reader
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer

_PLACES = 20  # bits
_FIRST = f"(pg_current_xact_id()::text::bigint << {_PLACES})"
_NEXT = (
    # Those of an earlier statement of the same transaction come first. What younger transactions
    # have committed meanwhile is beyond.
    f"(SELECT coalesce(max(id) + 1, {_FIRST}) FROM outbox"  # noqa: S608 - constants
    f" WHERE id >= {_FIRST} AND id < {_FIRST} + {1 << _PLACES})"
)
_ADD = (
    "INSERT INTO outbox (id, message_id, at, kind, told)"  # noqa: S608 - constants
    f" SELECT {_NEXT} + place - 1, told.message_id, told.at, told.kind, told.told"
    " FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[])"
    " WITH ORDINALITY AS told (message_id, at, kind, told, place)"
)
_ADD_SENT = (
    "INSERT INTO outbox (id, message_id, at, kind, told, header, suppressed)"  # noqa: S608
    f" SELECT {_NEXT} + place - 1, sent.message_id, sent.at, 'sent', sent.facts, sent.header,"
    " sent.suppressed"
    " FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[])"
    " WITH ORDINALITY AS sent (message_id, at, facts, header, suppressed, place)"
    " RETURNING id"
)
_READ = (
    "SELECT id, message_id, at, kind, told, header, suppressed FROM outbox WHERE id > $1"  # noqa: S608
    f" AND id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint << {_PLACES}"
    " ORDER BY id LIMIT $2"
)
_IS_BEYOND = (
    "SELECT EXISTS (SELECT FROM outbox"  # noqa: S608 - constants
    f" WHERE id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint << {_PLACES})"
)
# Who has put a row there: for one that the relay wrote, the transaction that its id is of; for one
# that was restored, that of the restoring.
_IS_RESTORED = f"(xmin::text::bigint <> (id >> {_PLACES}) & {(1 << 32) - 1})"
_FORGET_FILED = (
    f"DELETE FROM outbox WHERE {_IS_RESTORED} AND id <= coalesce((SELECT upto FROM log_filed"  # noqa: S608
    " WHERE log_filed.outbox = (SELECT name FROM outbox_name)), 0)"
)
# In two steps, for none may meet another on its way: below zero there is nobody.
_RENUMBER = (
    "UPDATE outbox SET id = -old.place FROM (SELECT id, row_number() OVER (ORDER BY id) AS place"  # noqa: S608
    f" FROM outbox WHERE {_IS_RESTORED}) AS old WHERE outbox.id = old.id",
    "UPDATE outbox SET id = -id WHERE id < 0",
)


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
        return await self._writer.submit_in_time(_add_all, (row(message_id, at, what), once, most))

    async def prune_once(self, before: int, limit: int) -> int:
        """See `interface.Outbox`."""
        return await self._writer.submit(_prune_once, (before, limit), unhurried=True)

    async def depth(self) -> tuple[int, int]:
        """See `interface.Outbox`."""
        return await self._questions.ask(depth)


async def add(db: Session, rows: Sequence[Row]) -> None:
    """Write rows, in the transaction that is open."""
    if rows:
        await db.execute(_ADD, *map(list, zip(*rows, strict=True)))


async def add_sent(db: Session, sent: Sequence[SentRow]) -> list[int]:
    """Entries for new messages, in the transaction that is open; their ids, in order."""
    if not sent:
        return []
    added = await db.fetch(
        _ADD_SENT,
        [one[0] for one in sent],
        [one[1] for one in sent],
        [one[2] for one in sent],
        [cut(one[3]) for one in sent],
        [encode_suppressed(one[4]) for one in sent],
    )
    return sorted(identifier for (identifier,) in added)


async def take_back(db: Session, identifier: int, *, alone: bool) -> None:
    """Remove the entry of a new message that was taken back, if nobody has read it; where it does
    not stand `alone`, with the one that says that the message was rejected."""
    if not alone:
        await db.execute(
            "DELETE FROM outbox WHERE id > $1 AND kind = 'rejected'"
            " AND message_id = (SELECT message_id FROM outbox WHERE id = $1)",
            identifier,
        )
    await db.execute("DELETE FROM outbox WHERE id = $1", identifier)


async def name(db: Session) -> tuple[str, int]:
    """The name, and an id that none has reached yet but those that come; -1 where some are beyond
    what this server has come to."""
    known = await db.fetchval("SELECT name FROM outbox_name")
    if await db.fetchval(_IS_BEYOND):
        return known, -1
    upto = await db.fetchval(
        f"SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << {_PLACES}) - 1"
    )
    return known, upto


async def _rename(db: Session, requests: Sequence[None]) -> list[str]:
    """Entries of another server get the lowest ids, in their order: where that had come to higher
    ones they would wait, and come after what is newer. Those that its log had go."""
    await db.execute(_FORGET_FILED)
    await db.execute("UPDATE outbox_name SET name = md5(random()::text || clock_timestamp()::text)")
    for step in _RENUMBER:
        await db.execute(step)
    known = await db.fetchval("SELECT name FROM outbox_name")
    return [known] * len(requests)


async def read(db: Session, after: int, limit: int) -> list[OutboxEntry]:
    """Entries in order, as far as nothing can come before them any more."""
    return [entry(fields) for fields in await db.fetch(_READ, after, limit)]


async def forget(db: Session, requests: Sequence[int]) -> list[int]:
    """Remove entries up to an id."""
    return [
        rows_of(await db.execute("DELETE FROM outbox WHERE id <= $1", upto)) for upto in requests
    ]


async def _add_all(db: Session, requests: Sequence[tuple[Row, str, int | None]]) -> list[bool]:
    added = []
    for told, once, most in requests:
        is_new = not once or await _is_new(db, once, most, told[1])
        if is_new:
            await add(db, [told])
        added.append(is_new)
    return added


async def _is_new(db: Session, word: str, most: int | None, at: int) -> bool:
    """Whether the word was not heard before, and finds room beside those of its kind."""
    if most is not None:
        kind = word_kind(word)
        await db.execute("SELECT pg_advisory_xact_lock(hashtext($1))", kind)
        heard = await db.fetchval(
            "SELECT count(*) FROM heard WHERE word >= $1 AND word < $2", kind, kind + "\x7f"
        )
        if heard >= most:
            return False
    told = await db.execute(
        "INSERT INTO heard (word, at) VALUES ($1, $2) ON CONFLICT DO NOTHING", word, at
    )
    return rows_of(told) == 1


async def _prune_once(db: Session, requests: Sequence[tuple[int, int]]) -> list[int]:
    return [
        rows_of(
            await db.execute(
                "DELETE FROM heard WHERE word IN (SELECT word FROM heard WHERE at < $1 LIMIT $2)",
                *request,
            )
        )
        for request in requests
    ]


async def depth(db: Session) -> tuple[int, int]:
    """How many there are, counted up to a bound, and the time of the first."""
    first = await db.fetchval("SELECT at FROM outbox ORDER BY id LIMIT 1")
    if first is None:
        return 0, 0
    count = await db.fetchval("SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS counted")
    return count, first
