"""What those who tell destinations ask: events in order, how far each has come, dead letters."""

import sqlite3
from collections.abc import Sequence

import msgspec

from relay.store import log_rows
from relay.store.log_values import DeadLetter, LoggedEvent, TellingCursor

_encode = msgspec.json.encode
_numbers = msgspec.json.Decoder(tuple[int, ...]).decode


def events_after(db: sqlite3.Connection, number: int, limit: int) -> list[LoggedEvent]:
    """In order of number."""
    return log_rows.events(
        db.execute(
            "SELECT number, told FROM event WHERE number > ? ORDER BY number LIMIT ?",
            (number, limit),
        )
    )


def newest_event(db: sqlite3.Connection) -> int:
    """Also where it is gone already."""
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return given[0] if given else 0


def oldest_event(db: sqlite3.Connection) -> int:
    """0 where there is none."""
    (number,) = db.execute("SELECT min(number) FROM event").fetchone()
    return number or 0


def count_events(db: sqlite3.Connection, after: int, upto: int) -> int:
    """How many there are in between."""
    (count,) = db.execute(
        "SELECT count(*) FROM event WHERE number > ? AND number <= ?", (after, upto)
    ).fetchone()
    return int(count)


def cursors(db: sqlite3.Connection) -> list[TellingCursor]:
    """In order of destination."""
    found = db.execute("SELECT destination, upto, ahead, dropped FROM cursor ORDER BY destination")
    return [
        TellingCursor(destination, upto, _numbers(ahead), dropped)
        for destination, upto, ahead, dropped in found
    ]


def put_cursors(db: sqlite3.Connection, some: Sequence[TellingCursor]) -> None:
    """Add or replace."""
    db.executemany(
        "REPLACE INTO cursor (destination, upto, ahead, dropped) VALUES (?, ?, ?, ?)",
        [(c.destination, c.upto, _encode(c.ahead), c.dropped) for c in some],
    )


def forget_cursor(db: sqlite3.Connection, destination: str) -> None:
    """Of a destination that is no more."""
    db.execute("DELETE FROM cursor WHERE destination = ?", (destination,))


def add_dead_letters(db: sqlite3.Connection, letters: Sequence[DeadLetter], most: int) -> None:
    """Of each destination the newest `most` are kept."""
    db.executemany(
        "INSERT INTO dead_letter (destination, event, attempts, error, at) VALUES (?, ?, ?, ?, ?)",
        [(x.destination, log_rows.encode(x.event), x.attempts, x.error, x.at) for x in letters],
    )
    db.executemany(
        "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE destination = ?"
        " ORDER BY id DESC LIMIT -1 OFFSET ?)",
        [(destination, most) for destination in {letter.destination for letter in letters}],
    )


def dead_letters(
    db: sqlite3.Connection, destination: str, after: int, limit: int
) -> list[DeadLetter]:
    """In order of id."""
    which = "destination = ? AND" if destination else ""
    found = db.execute(
        "SELECT id, destination, event, attempts, error, at FROM dead_letter"  # noqa: S608
        f" WHERE {which} id > ? ORDER BY id LIMIT ?",
        (*((destination,) if destination else ()), after, limit),
    )
    return [
        DeadLetter(name, event, attempts, error, at, identifier)
        for identifier, name, told, attempts, error, at in found
        if (event := log_rows.event(told)) is not None
    ]


def count_dead_letters(db: sqlite3.Connection) -> dict[str, int]:
    """By destination."""
    found = db.execute("SELECT destination, count(*) FROM dead_letter GROUP BY destination")
    return dict(found.fetchall())


def forget_dead_letters(db: sqlite3.Connection, ids: Sequence[int]) -> int:
    """How many there were."""
    return db.executemany("DELETE FROM dead_letter WHERE id = ?", [(i,) for i in ids]).rowcount
