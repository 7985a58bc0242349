"""The suppression list, as operations for the writer and questions for a reader.

Keys ignore case (`mail.address.suppression_key`); the spelling that was given is kept beside them
where it is another one.

Several nodes change the list at once. What replaces whatever is there is one statement; what looks
first (`add_observed`) locks the rows that it finds, and where another has added a row meanwhile it
looks again. Rows are locked in order of key.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from relay.mail.address import suppression_key
from relay.store.postgres import suppression_changes as changes
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.suppression_rules import observe
from relay.store.suppression_values import Author, ChangeKind, SuppressionCount
from relay.store.values import SuppressionEntry, SuppressionReason

_COLUMNS = (
    "key, address, reason, source, created_at, evidence, expires_at, message_id, remote_host,"
    " seen_at, made_by, note, bounces"
)
_ARRAYS = (
    "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],"
    " $7::bigint[], $8::text[], $9::text[], $10::bigint[], $11::text[], $12::text[],"
    f" $13::integer[]) AS new ({_COLUMNS})"
)
_INSERT = f"INSERT INTO suppression ({_COLUMNS}) SELECT {_COLUMNS} FROM {_ARRAYS} ORDER BY key"  # noqa: S608
_ADD = f"{_INSERT} ON CONFLICT (key) DO NOTHING RETURNING key"
_PUT = (
    f"{_INSERT} ON CONFLICT (key) DO UPDATE SET address = excluded.address,"
    " reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,"
    " evidence = excluded.evidence, expires_at = excluded.expires_at,"
    " message_id = excluded.message_id, remote_host = excluded.remote_host,"
    " seen_at = excluded.seen_at, made_by = excluded.made_by, note = excluded.note,"
    " bounces = greatest(suppression.bounces, excluded.bounces)"
    # A row that was there has been locked by this statement, and says so.
    " RETURNING key, xmax = 0"
)
_FIND = "SELECT key, reason, expires_at FROM suppression WHERE key = ANY($1::text[])"
_ENTRY = f"SELECT {_COLUMNS} FROM suppression WHERE key = $1"  # noqa: S608
_LOCK = f"SELECT {_COLUMNS} FROM suppression WHERE key = ANY($1::text[]) ORDER BY key FOR UPDATE"  # noqa: S608
_PAGE = f"SELECT {_COLUMNS} FROM suppression WHERE key > $1 ORDER BY key LIMIT $2"  # noqa: S608
_DELETE = f"DELETE FROM suppression WHERE key = ANY($1::text[]) RETURNING {_COLUMNS}"  # noqa: S608
_PRUNE = (
    "DELETE FROM suppression WHERE id = ANY(ARRAY(SELECT id FROM suppression"
    " WHERE expires_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2"
    " FOR UPDATE SKIP LOCKED))"
)
_COUNT = "SELECT coalesce(sum(number), 0)::bigint FROM suppression_count"
# Each session has its own part, as far as they go.
_PARTS = 64
_ADD_TO_COUNT = (
    "INSERT INTO suppression_count (part, number)"  # noqa: S608 - a constant
    f" VALUES (pg_backend_pid() % {_PARTS}, $1)"
    " ON CONFLICT (part) DO UPDATE SET number = suppression_count.number + excluded.number"
)
_TALLY = (
    "SELECT reason, source, count(*), count(*) FILTER (WHERE expires_at <= $1) FROM suppression"
    " WHERE id > $2 AND id <= $3 GROUP BY reason, source"
)

Put = tuple[Sequence[SuppressionEntry], Author]
Remove = tuple[Sequence[str], Author]


async def entries_for(
    db: Session, keys: Collection[str]
) -> dict[str, tuple[SuppressionReason, int | None]]:
    """Reason and expiry (UTC ms) of those keys that are on the list."""
    found = await db.fetch(_FIND, list(keys))
    return {key: (reason, expires_at) for key, reason, expires_at in found}


async def put(db: Session, requests: Sequence[Put]) -> list[int]:
    """Add or replace entries; how many of each request were new."""
    return [await _put(db, entries, author) for entries, author in requests]


async def _put(db: Session, entries: Sequence[SuppressionEntry], author: Author) -> int:
    if not entries:
        return 0
    written = await db.fetch(_PUT, *_columns(_last_of_each(entries)))
    new = {key for key, is_new in written if is_new}
    await _count(db, len(new))
    if author.bulk:
        await changes.grow(db, author.bulk, len(entries), len(new))
        return len(new)
    whats: list[ChangeKind] = ["added" if key_of(e) in new else "replaced" for e in entries]
    await changes.add(
        db, [changes.change(e, what, author) for e, what in zip(entries, whats, strict=True)]
    )
    return len(new)


def _last_of_each(entries: Sequence[SuppressionEntry]) -> list[SuppressionEntry]:
    """One entry of each address: the last one, with the highest count of bounces."""
    last: dict[str, SuppressionEntry] = {}
    for entry in entries:
        key = key_of(entry)
        before = last[key].bounces if key in last else 0
        last[key] = replace(entry, bounces=max(before, entry.bounces))
    return list(last.values())


async def observed(db: Session, requests: Sequence[Sequence[SuppressionEntry]]) -> list[None]:
    """As `add_observed`, of all who ask."""
    await add_observed(db, [entry for entries in requests for entry in entries])
    return [None] * len(requests)


async def add_observed(db: Session, entries: Sequence[SuppressionEntry]) -> None:
    """Add what was observed, by the rules of `suppression_rules`."""
    waiting: dict[str, list[SuppressionEntry]] = {}
    for entry in entries:
        waiting.setdefault(key_of(entry), []).append(entry)
    while waiting:
        known = {row[0]: _entry(row) for row in await db.fetch(_LOCK, list(waiting))}
        outcomes = {key: _observe_all(known.get(key), seen) for key, seen in waiting.items()}
        added = await _add_new(db, [o[0] for key, o in outcomes.items() if key not in known])
        await _replace(db, [o[0] for key, o in outcomes.items() if key in known and o[1]])
        done = known.keys() | added
        await changes.add(db, [row for key in waiting if key in done for row in outcomes[key][1]])
        waiting = {key: seen for key, seen in waiting.items() if key not in done}


def _observe_all(
    known: SuppressionEntry | None, seen: Sequence[SuppressionEntry]
) -> tuple[SuppressionEntry, list[changes.Row]]:
    """The entry of one address once all of `seen` was observed, and how it came to it."""
    rows: list[changes.Row] = []
    for each in seen:
        changed = observe(known, each)
        if changed is not None:
            known, what = changed
            rows.append(changes.change(known, what, Author("", each.created_at)))
    assert known is not None  # what is observed of an address that is not listed puts it there
    return known, rows


async def _add_new(db: Session, entries: Sequence[SuppressionEntry]) -> set[str]:
    """The keys of those that nobody else has added meanwhile, and that are on the list now."""
    if not entries:
        return set()
    added = {key for (key,) in await db.fetch(_ADD, *_columns(entries))}
    await _count(db, len(added))
    return added


async def _replace(db: Session, entries: Sequence[SuppressionEntry]) -> None:
    """Replace entries whose rows are locked."""
    if entries:
        await db.fetch(_PUT, *_columns(entries))


async def remove(db: Session, requests: Sequence[Remove]) -> list[int]:
    """Remove addresses; how many of each request were on the list."""
    return [await _remove(db, addresses, author) for addresses, author in requests]


async def _remove(db: Session, addresses: Sequence[str], author: Author) -> int:
    keys = list(dict.fromkeys(text(suppression_key(address)) for address in addresses))
    await db.execute(_LOCK, keys)
    gone = {row[0]: _entry(row) for row in await db.fetch(_DELETE, keys)}
    await _count(db, -len(gone))
    if author.bulk:
        await changes.grow(db, author.bulk, len(addresses), len(gone))
    else:
        there = [gone[key] for key in keys if key in gone]
        await changes.add(db, [changes.change(entry, "removed", author) for entry in there])
    return len(gone)


async def prune(db: Session, requests: Sequence[tuple[int, int]]) -> list[int]:
    """Forget what has expired: requests are (before, limit)."""
    answers = []
    for before, limit in requests:
        gone = rows_of(await db.execute(_PRUNE, before, limit))
        await _count(db, -gone)
        answers.append(gone)
    return answers


async def find(db: Session, address: str) -> SuppressionEntry | None:
    """The entry of an address, which may have expired."""
    row = await db.fetchrow(_ENTRY, text(suppression_key(address)))
    return None if row is None else _entry(row)


async def page(db: Session, after: str, limit: int) -> list[tuple[str, SuppressionEntry]]:
    """The next entries behind the key `after`, with their keys, in order of key."""
    return [(row[0], _entry(row)) for row in await db.fetch(_PAGE, after, limit)]


async def count(db: Session) -> int:
    """How many entries there are, those that have expired included."""
    return int(await db.fetchval(_COUNT))


async def tally(db: Session, after: int, rows: int, now: int) -> tuple[list[SuppressionCount], int]:
    """Counts of the next `rows` ids beyond `after`, and the last of these; 0 when none is left."""
    last = await db.fetchval("SELECT coalesce(max(id), 0) FROM suppression")
    found = await db.fetch(_TALLY, now, after, after + rows)
    return [SuppressionCount(*row) for row in found], after + rows if after + rows < last else 0


async def _count(db: Session, more: int) -> None:
    """Counting them takes seconds where there are millions."""
    if more:
        await db.execute(_ADD_TO_COUNT, more)


def key_of(entry: SuppressionEntry) -> str:
    """What its address is found by."""
    return text(suppression_key(entry.address))


def _entry(row: Sequence[Any]) -> SuppressionEntry:
    key, address, *rest = row
    return SuppressionEntry(address or key, *rest)


def _columns(entries: Sequence[SuppressionEntry]) -> list[list[Any]]:
    """Entries as the arrays of a statement of many rows."""
    return [list(column) for column in zip(*map(_row, entries), strict=True)]


def _row(entry: SuppressionEntry) -> tuple[Any, ...]:
    key, address = key_of(entry), text(entry.address)
    return (
        key,
        "" if address == key else address,
        entry.reason,
        entry.source,
        entry.created_at,
        text(entry.evidence),
        entry.expires_at,
        text(entry.message_id),
        text(entry.remote_host),
        entry.seen_at,
        text(entry.by),
        text(entry.note),
        entry.bounces,
    )
