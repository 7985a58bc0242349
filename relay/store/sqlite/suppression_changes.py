"""The log of changes to the suppression list: written with the change, in its transaction."""

import sqlite3
from collections.abc import Sequence

from relay.mail.address import suppression_key
from relay.store.suppression_values import Author, BulkKind, ChangeKind, SuppressionChange
from relay.store.values import SuppressionEntry

_COLUMNS = "id, at, what, made_by, address, reason, detail, entries, changed, ended_at"
_ADD = (
    "INSERT INTO suppression_change (key, at, what, made_by, address, reason, detail, entries,"
    " changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DETAIL_CHARACTERS = 300

Row = tuple[str, int, str, str, str, str, str, int, int]


def change(entry: SuppressionEntry, what: ChangeKind, author: Author) -> Row:
    """The row for one address. What was said of an entry that is removed is in its detail."""
    detail = entry.note or entry.evidence
    return (
        suppression_key(entry.address),
        author.at,
        what,
        author.by,
        entry.address,
        entry.reason,
        detail[:_DETAIL_CHARACTERS],
        1,
        1,
    )


def add(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    db.executemany(_ADD, rows)


def begin(db: sqlite3.Connection, requests: Sequence[tuple[BulkKind, str, Author]]) -> list[int]:
    """A row for an import: (what, detail, who). Its id."""
    return [
        db.execute(
            _ADD, ("", author.at, what, author.by, "", "", detail[:_DETAIL_CHARACTERS], 0, 0)
        ).lastrowid
        or 0
        for what, detail, author in requests
    ]


def grow(db: sqlite3.Connection, bulk: int, entries: int, changed: int) -> None:
    """Add to what an import has brought."""
    db.execute(
        "UPDATE suppression_change SET entries = entries + ?, changed = changed + ? WHERE id = ?",
        (entries, changed, bulk),
    )


def end(db: sqlite3.Connection, requests: Sequence[tuple[int, int, str]]) -> list[None]:
    """An import is over: (its id, when, what there is to add to its detail)."""
    db.executemany(
        "UPDATE suppression_change SET ended_at = ?2,"
        " detail = detail || CASE WHEN ?3 = '' THEN '' ELSE '; ' || ?3 END WHERE id = ?1",
        [(bulk, at, more[:_DETAIL_CHARACTERS]) for bulk, at, more in requests],
    )
    return [None] * len(requests)


def last_of(db: sqlite3.Connection, address: str, limit: int) -> list[SuppressionChange]:
    """The last changes, newest first: of an address, or where that is empty of all."""
    if address:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM suppression_change WHERE key = ? AND key <> ''"  # noqa: S608
            " ORDER BY id DESC LIMIT ?",
            (suppression_key(address), limit),
        )
    else:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM suppression_change ORDER BY id DESC LIMIT ?",  # noqa: S608
            (limit,),
        )
    return [SuppressionChange(*row) for row in rows]


def prune(db: sqlite3.Connection, requests: Sequence[tuple[int, int, int]]) -> list[int]:
    """Forget the oldest: requests are (before, most, limit)."""
    return [_prune(db, *request) for request in requests]


def _prune(db: sqlite3.Connection, before: int, most: int, limit: int) -> int:
    """Ids have no gaps, and grow with time but for a clock that was set back."""
    first, last = db.execute("SELECT min(id), max(id) FROM suppression_change").fetchone()
    if first is None:
        return 0
    (old,) = db.execute(
        "SELECT max(id) FROM (SELECT id, at FROM suppression_change ORDER BY id LIMIT ?)"
        " WHERE at < ?",
        (limit, before),
    ).fetchone()
    up_to = min(max(old or 0, last - most), first + limit - 1)
    return db.execute("DELETE FROM suppression_change WHERE id <= ?", (up_to,)).rowcount
