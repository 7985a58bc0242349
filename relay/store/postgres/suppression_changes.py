"""The log of changes to the suppression list: written with the change, in its transaction."""

from collections.abc import Sequence

from relay.mail.address import suppression_key
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.suppression_values import Author, BulkKind, ChangeKind, SuppressionChange
from relay.store.values import SuppressionEntry

_COLUMNS = "id, at, what, made_by, address, reason, detail, entries, changed, ended_at"
_ADD = (
    "INSERT INTO suppression_change (key, at, what, made_by, address, reason, detail, entries,"
    " changed) SELECT key, at, what, made_by, address, reason, detail, 1, 1"
    " FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],"
    " $7::text[]) WITH ORDINALITY AS made (key, at, what, made_by, address, reason, detail, place)"
    " ORDER BY place"
)
_BEGIN = (
    "INSERT INTO suppression_change (key, at, what, made_by, address, reason, detail, entries,"
    " changed) VALUES ('', $1, $2, $3, '', '', $4, 0, 0) RETURNING id"
)
_GROW = "UPDATE suppression_change SET entries = entries + $2, changed = changed + $3 WHERE id = $1"
_END = (
    "UPDATE suppression_change SET ended_at = $2,"
    " detail = detail || CASE WHEN $3::text = '' THEN '' ELSE '; ' || $3::text END WHERE id = $1"
)
_OF = (
    f"SELECT {_COLUMNS} FROM suppression_change WHERE key = $1 AND key <> ''"  # noqa: S608
    " ORDER BY id DESC LIMIT $2"
)
_LAST = f"SELECT {_COLUMNS} FROM suppression_change ORDER BY id DESC LIMIT $1"  # noqa: S608
_ENDS = "SELECT min(id), max(id) FROM suppression_change"
_OLD = (
    "SELECT max(id) FROM (SELECT id, at FROM suppression_change ORDER BY id LIMIT $1) AS oldest"
    " WHERE at < $2"
)
_DETAIL_CHARACTERS = 300

Row = tuple[str, int, str, str, str, str, str]


def change(entry: SuppressionEntry, what: ChangeKind, author: Author) -> Row:
    """The row for one address. What was said of an entry that is removed is in its detail."""
    detail = entry.note or entry.evidence
    return (
        text(suppression_key(entry.address)),
        author.at,
        what,
        text(author.by),
        text(entry.address),
        entry.reason,
        text(detail[:_DETAIL_CHARACTERS]),
    )


async def add(db: Session, rows: Sequence[Row]) -> None:
    """Write rows, in the transaction that is open."""
    if rows:
        await db.execute(_ADD, *map(list, zip(*rows, strict=True)))


async def begin(db: Session, requests: Sequence[tuple[BulkKind, str, Author]]) -> list[int]:
    """A row for an import: (what, detail, who). Its id."""
    return [
        await db.fetchval(
            _BEGIN, author.at, what, text(author.by), text(detail[:_DETAIL_CHARACTERS])
        )
        for what, detail, author in requests
    ]


async def grow(db: Session, bulk: int, entries: int, changed: int) -> None:
    """Add to what an import has brought."""
    await db.execute(_GROW, bulk, entries, changed)


async def end(db: Session, requests: Sequence[tuple[int, int, str]]) -> list[None]:
    """An import is over: (its id, when, what there is to add to its detail)."""
    await db.executemany(
        _END, [(bulk, at, text(more[:_DETAIL_CHARACTERS])) for bulk, at, more in requests]
    )
    return [None] * len(requests)


async def last_of(db: Session, address: str, limit: int) -> list[SuppressionChange]:
    """The last changes, newest first: of an address, or where that is empty of all."""
    if address:
        rows = await db.fetch(_OF, text(suppression_key(address)), limit)
    else:
        rows = await db.fetch(_LAST, limit)
    return [SuppressionChange(*row) for row in rows]


async def prune(db: Session, requests: Sequence[tuple[int, int, int]]) -> list[int]:
    """Forget the oldest: requests are (before, most, limit)."""
    return [await _prune(db, *request) for request in requests]


async def _prune(db: Session, before: int, most: int, limit: int) -> int:
    """Ids have few gaps, and grow with time but for a clock that was set back."""
    ends = await db.fetchrow(_ENDS)
    if ends is None or ends[0] is None:
        return 0
    first, last = ends
    old = await db.fetchval(_OLD, limit, before)
    up_to = min(max(old or 0, last - most), first + limit - 1)
    return rows_of(await db.execute("DELETE FROM suppression_change WHERE id <= $1", up_to))
