"""The suppression list, as operations for the writer and questions for a reader.

Keys ignore case (`mail.address.suppression_key`); the spelling that was given is kept beside them.
"""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from relay.mail.address import suppression_key
from relay.store.sqlite.rows import chunks, values
from relay.store.values import SuppressionEntry, SuppressionReason

_FIND = "SELECT key, reason, expires_at FROM suppression WHERE key IN "


def entries_for(
    db: sqlite3.Connection, keys: Collection[str]
) -> dict[str, tuple[SuppressionReason, int | None]]:
    """Reason and expiry (UTC ms) of those keys that are on the list."""
    found: dict[str, tuple[SuppressionReason, int | None]] = {}
    for some in chunks(tuple(keys)):
        for key, reason, expires_at in db.execute(
            values(_FIND, "?", len(some), in_brackets=True), some
        ):
            found[key] = (reason, expires_at)
    return found


def add(db: sqlite3.Connection, requests: Sequence[Sequence[SuppressionEntry]]) -> list[int]:
    """Add or replace entries; how many of each request were new."""
    return [_add_some(db, entries) for entries in requests]


def _add_some(db: sqlite3.Connection, entries: Sequence[SuppressionEntry]) -> int:
    rows = [_row(entry) for entry in entries]
    new = db.executemany(
        "INSERT OR IGNORE INTO suppression"
        " (key, address, reason, source, created_at, evidence, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    ).rowcount
    if new < len(rows):
        db.executemany(
            "REPLACE INTO suppression"
            " (key, address, reason, source, created_at, evidence, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    return new


def add_observed(db: sqlite3.Connection, entries: Sequence[SuppressionEntry]) -> None:
    """Add what a delivery attempt showed.

    An entry in force for another reason stays: a bounce that expires must not lift what an
    operator or a complaint has put there for good.
    """
    db.executemany(
        "INSERT INTO suppression (key, address, reason, source, created_at, evidence, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET address = excluded.address, reason = excluded.reason,"
        " source = excluded.source, created_at = excluded.created_at,"
        " evidence = excluded.evidence, expires_at = excluded.expires_at"
        " WHERE suppression.reason = excluded.reason"
        " OR suppression.expires_at <= excluded.created_at",
        [_row(entry) for entry in entries],
    )


def add_all_observed(
    db: sqlite3.Connection, requests: Sequence[Sequence[SuppressionEntry]]
) -> list[None]:
    """`add_observed`, as an operation of its own."""
    for entries in requests:
        add_observed(db, entries)
    return [None] * len(requests)


def remove(db: sqlite3.Connection, requests: Sequence[Sequence[str]]) -> list[int]:
    """Remove addresses; how many of each request were on the list."""
    return [
        db.executemany(
            "DELETE FROM suppression WHERE key = ?",
            [(suppression_key(address),) for address in addresses],
        ).rowcount
        for addresses in requests
    ]


def find(db: sqlite3.Connection, address: str, now: int) -> SuppressionEntry | None:
    """The entry of an address that is in force at `now`."""
    row = db.execute(
        "SELECT address, reason, source, created_at, evidence, expires_at"
        " FROM suppression WHERE key = ?",
        (suppression_key(address),),
    ).fetchone()
    entry = None if row is None else SuppressionEntry(*row)
    if entry is None or (entry.expires_at is not None and entry.expires_at <= now):
        return None
    return entry


def page(db: sqlite3.Connection, after: str, limit: int) -> list[tuple[str, SuppressionEntry]]:
    """The next entries behind the key `after`, with their keys, in order of key."""
    rows: list[Sequence[Any]] = db.execute(
        "SELECT key, address, reason, source, created_at, evidence, expires_at"
        " FROM suppression WHERE key > ? ORDER BY key LIMIT ?",
        (after, limit),
    ).fetchall()
    return [(key, SuppressionEntry(*fields)) for key, *fields in rows]


def count(db: sqlite3.Connection) -> int:
    """How many entries there are, those that have expired included."""
    (number,) = db.execute("SELECT count(*) FROM suppression").fetchone()
    return int(number)


def _row(entry: SuppressionEntry) -> tuple[str, str, str, str, int, str, int | None]:
    return (
        suppression_key(entry.address),
        entry.address,
        entry.reason,
        entry.source,
        entry.created_at,
        entry.evidence,
        entry.expires_at,
    )
