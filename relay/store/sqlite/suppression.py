"""The suppression list, as operations for the writer and questions for a reader.

Keys ignore case (`mail.address.suppression_key`); the spelling that was given is kept beside them
where it is another one. Rows lie in the order in which they came, and mail is compared with the
index of keys alone: a page of it holds some ninety, so that of a list of ten million the upper
levels stay in memory, and a look-up costs one page.
"""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from relay.mail.address import suppression_key
from relay.store.sqlite import suppression_changes as changes
from relay.store.sqlite.rows import chunks, values
from relay.store.suppression_rules import observe
from relay.store.suppression_values import Author, SuppressionCount
from relay.store.values import SuppressionEntry, SuppressionReason

_COLUMNS = (
    "key, address, reason, source, created_at, evidence, expires_at, message_id, remote_host,"
    " seen_at, made_by, note, bounces"
)
_SELECT = f"SELECT id, {_COLUMNS} FROM suppression"  # noqa: S608 - a constant
_FIND = "SELECT key, reason, expires_at FROM suppression WHERE key IN "
_KEYS = "SELECT key FROM suppression WHERE key IN "
_PUT = (
    f"INSERT INTO suppression ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (key) DO UPDATE SET address = excluded.address, reason = excluded.reason,"
    " source = excluded.source, created_at = excluded.created_at, evidence = excluded.evidence,"
    " expires_at = excluded.expires_at, message_id = excluded.message_id,"
    " remote_host = excluded.remote_host, seen_at = excluded.seen_at, made_by = excluded.made_by,"
    " note = excluded.note, bounces = max(suppression.bounces, excluded.bounces)"
)
_TALLY = (
    "SELECT reason, source, count(*), coalesce(sum(expires_at <= ?), 0) FROM suppression"
    " WHERE id > ? AND id <= ? GROUP BY reason, source"
)

Put = tuple[Sequence[SuppressionEntry], Author]
Remove = tuple[Sequence[str], Author]
Counts = dict[tuple[str, str], tuple[int, int]]


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


def put(db: sqlite3.Connection, requests: Sequence[Put]) -> list[int]:
    """Add or replace entries; how many of each request were new."""
    return [_put(db, entries, author) for entries, author in requests]


def _put(db: sqlite3.Connection, entries: Sequence[SuppressionEntry], author: Author) -> int:
    rows = [_row(entry) for entry in entries]
    known = _known_of(db, [row[0] for row in rows])
    db.executemany(_PUT, rows)
    new = len({row[0] for row in rows} - known)
    _count(db, new)
    if author.bulk:
        changes.grow(db, author.bulk, len(rows), new)
        return new
    changes.add(
        db,
        [
            changes.change(entry, "replaced" if row[0] in known else "added", author)
            for entry, row in zip(entries, rows, strict=True)
        ],
    )
    return new


def observed(db: sqlite3.Connection, requests: Sequence[Sequence[SuppressionEntry]]) -> list[None]:
    for entries in requests:
        add_observed(db, entries)
    return [None] * len(requests)


def add_observed(db: sqlite3.Connection, entries: Sequence[SuppressionEntry]) -> None:
    """Add what was observed, by the rules of `suppression_rules`."""
    for seen in entries:
        known = _entry_of(db, suppression_key(seen.address))
        changed = observe(known, seen)
        if changed is None:
            continue
        entry, what = changed
        db.execute(_PUT, _row(entry))
        if known is None:
            _count(db, 1)
        changes.add(db, [changes.change(entry, what, Author("", seen.created_at))])


def remove(db: sqlite3.Connection, requests: Sequence[Remove]) -> list[int]:
    """Remove addresses; how many of each request were on the list."""
    return [_remove(db, addresses, author) for addresses, author in requests]


def _remove(db: sqlite3.Connection, addresses: Sequence[str], author: Author) -> int:
    by_key = {suppression_key(address): address for address in addresses}
    if author.bulk:
        gone = _delete(db, list(by_key))
        changes.grow(db, author.bulk, len(addresses), gone)
        return gone
    there = [entry for key in by_key if (entry := _entry_of(db, key)) is not None]
    changes.add(db, [changes.change(entry, "removed", author) for entry in there])
    return _delete(db, list(by_key))


def _delete(db: sqlite3.Connection, keys: Sequence[str]) -> int:
    gone = db.executemany(
        "DELETE FROM suppression WHERE key = ?", [(key,) for key in keys]
    ).rowcount
    _count(db, -max(gone, 0))
    return max(gone, 0)


def prune(db: sqlite3.Connection, requests: Sequence[tuple[int, int]]) -> list[int]:
    """Forget what has expired: requests are (before, limit)."""
    answers = []
    for before, limit in requests:
        gone = db.execute(
            "DELETE FROM suppression WHERE id IN (SELECT id FROM suppression"
            " WHERE expires_at IS NOT NULL AND expires_at < ? ORDER BY expires_at LIMIT ?)",
            (before, limit),
        ).rowcount
        _count(db, -gone)
        answers.append(gone)
    return answers


def find(db: sqlite3.Connection, address: str) -> SuppressionEntry | None:
    """The entry of an address, which may have expired."""
    return _entry_of(db, suppression_key(address))


def page(db: sqlite3.Connection, after: str, limit: int) -> list[tuple[str, SuppressionEntry]]:
    """The next entries behind the key `after`, with their keys, in order of key."""
    rows = db.execute(f"{_SELECT} WHERE key > ? ORDER BY key LIMIT ?", (after, limit)).fetchall()
    return [(row[1], _entry(row)) for row in rows]


def count(db: sqlite3.Connection) -> int:
    """How many entries there are, those that have expired included."""
    (number,) = db.execute("SELECT number FROM suppression_count").fetchone()
    return int(number)


def tally(
    db: sqlite3.Connection, after: int, rows: int, now: int
) -> tuple[list[SuppressionCount], int]:
    """Counts of the next `rows` ids beyond `after`, and the last of these; 0 when none is left."""
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM suppression").fetchone()
    found = [SuppressionCount(*row) for row in db.execute(_TALLY, (now, after, after + rows))]
    return found, after + rows if after + rows < last else 0


def _known_of(db: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for some in chunks(keys):
        known.update(
            key for (key,) in db.execute(values(_KEYS, "?", len(some), in_brackets=True), some)
        )
    return known


def _count(db: sqlite3.Connection, more: int) -> None:
    """Counting them takes seconds where there are millions."""
    if more:
        db.execute("UPDATE suppression_count SET number = number + ?", (more,))


def _entry_of(db: sqlite3.Connection, key: str) -> SuppressionEntry | None:
    row = db.execute(f"{_SELECT} WHERE key = ?", (key,)).fetchone()
    return None if row is None else _entry(row)


def _entry(row: Sequence[Any]) -> SuppressionEntry:
    _, key, address, *rest = row
    return SuppressionEntry(address or key, *rest)


def _row(entry: SuppressionEntry) -> tuple[Any, ...]:
    key = suppression_key(entry.address)
    return (
        key,
        "" if entry.address == key else entry.address,
        entry.reason,
        entry.source,
        entry.created_at,
        entry.evidence,
        entry.expires_at,
        entry.message_id,
        entry.remote_host,
        entry.seen_at,
        entry.by,
        entry.note,
        entry.bounces,
    )
