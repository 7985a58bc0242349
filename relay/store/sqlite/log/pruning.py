"""Pruning: the oldest messages go, with their events, in steps that keep nobody waiting.

What was freed in the file is used again, and given back to the file system where it is much: a log
that stands at its bound would else shrink and grow with every step.
"""

import sqlite3

_EVER = 1 << 62
_ROWS = 5_000  # of events and recipients that a step removes, until the last message's are gone
_SPARE = 32  # one page in so many may be free


def prune(db: sqlite3.Connection, before: int, most_octets: int, keep_from: int, limit: int) -> int:
    """The oldest messages that are too old, or too much; see `MessageLog.prune`."""
    too_much = octets(db) > most_octets
    gone = _oldest(db, _EVER if too_much else before, keep_from, limit)
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
    return len(gone)


def _oldest(db: sqlite3.Connection, before: int, keep_from: int, limit: int) -> list[int]:
    """Rows of the oldest messages of which nobody is still to be told, as many as one step may
    remove."""
    gone: list[int] = []
    removed = 0
    for row, events, recipients in db.execute(
        "SELECT id, (SELECT count(*) FROM event WHERE message = message.id),"
        " (SELECT count(*) FROM recipient WHERE message = message.id) FROM message"
        " INDEXED BY message_accepted WHERE accepted_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM event WHERE message = message.id AND number >= ?)"
        " ORDER BY accepted_at LIMIT ?",
        (before, keep_from, limit),
    ):
        gone.append(row)
        removed += events + recipients
        if removed >= _ROWS:
            break
    return gone


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
