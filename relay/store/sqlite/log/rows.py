"""The numbers of rows in the log; what is in them says `relay.store.log_rows`."""

import sqlite3
from collections.abc import Collection

from relay.store.sqlite.rows import chunks, values


def numbers_of(db: sqlite3.Connection, ids: Collection[str]) -> dict[str, int]:
    """The rows of messages, by id."""
    found: dict[str, int] = {}
    for some in chunks(tuple(ids)):
        statement = values(
            "SELECT message_id, id FROM message WHERE message_id IN ",
            "?",
            len(some),
            in_brackets=True,
        )
        found.update(db.execute(statement, some).fetchall())
    return found
