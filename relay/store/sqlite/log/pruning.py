"""Pruning: the oldest messages go, with their events, in steps that keep nobody waiting.

What was freed in the file is used again, and given back to the file system where it is much: a log
that stands at its bound would else shrink and grow with every step.
"""

import sqlite3

_EVER = 1 << 62
_ROWS = 5_000  # of events and recipients that a step removes, until the last message's are gone
_SPARE = 32  # one page in so many may be free
_GRACE_MS = 86_400_000  # in which what has expired is given up, and told of

# Mail that is still tried stays: events to come are told with what is known of it.
_IS_TRIED = (
    "CASE WHEN EXISTS (SELECT 1 FROM recipient WHERE message = message.id"
    " AND status IN ('queued', 'delayed')) AND json_valid(CAST(told AS TEXT))"
    " THEN json_extract(CAST(told AS TEXT), '$.expires_at') > ? ELSE 0 END"
)


def prune(
    db: sqlite3.Connection,
    before: int,
    most_octets: int,
    keep_from: int,
    limit: int,
    now: int,
    since: int,
) -> tuple[int, int]:
    """The oldest messages that are too old, or too much; see `MessageLog.prune`. Those that were
    accepted before `since` are passed over. How many went, and from where the next step goes on:
    what has to stay is looked at once, and not in each step."""
    too_much = octets(db) > most_octets
    gone, reached = _oldest(db, since, _EVER if too_much else before, keep_from, limit, now)
    for table, column in (("event", "message"), ("recipient", "message"), ("message", "id")):
        db.executemany(
            f"DELETE FROM {table} WHERE {column} = ?",  # noqa: S608 - our own words
            [(row,) for row in gone],
        )
    db.execute(
        "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE message = 0"
        " AND at < ? AND number < ? LIMIT ?)",
        (before, keep_from, _ROWS),
    )
    return len(gone), reached


def _oldest(
    db: sqlite3.Connection, since: int, before: int, keep_from: int, limit: int, now: int
) -> tuple[list[int], int]:
    """Rows of the oldest messages that are tried no more and of which nobody is still to be told,
    as many as one step may remove; and when the last of them was accepted (0: there is none)."""
    gone: list[int] = []
    removed = reached = 0
    for row, accepted_at, events, recipients in db.execute(
        "SELECT id, accepted_at, (SELECT count(*) FROM event WHERE message = message.id),"  # noqa: S608
        " (SELECT count(*) FROM recipient WHERE message = message.id) FROM message"
        " INDEXED BY message_accepted WHERE accepted_at >= ? AND accepted_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM event WHERE message = message.id AND number >= ?)"
        f" AND NOT {_IS_TRIED} ORDER BY accepted_at LIMIT ?",
        (since, before, keep_from, now - _GRACE_MS, limit),
    ):
        gone.append(row)
        reached = accepted_at
        removed += events + recipients
        if removed >= _ROWS:
            break
    return gone, reached


def octets(db: sqlite3.Connection) -> int:
    """What the log holds, without the room that was freed in its file."""
    pages, free = _pages(db)
    (size,) = db.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def shrink(db: sqlite3.Connection, most: int) -> None:
    """Give freed pages back to the file system, up to so many, where they are many; outside of a
    transaction."""
    pages, free = _pages(db)
    spare = pages // _SPARE
    if free > spare:
        # It has a row without columns for each page, of which `execute` takes no more than one.
        db.executescript(f"PRAGMA incremental_vacuum({min(most, free - spare)})")


def _pages(db: sqlite3.Connection) -> tuple[int, int]:
    """How many there are, and how many of them are free."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return pages, free
