"""Looking messages up, newest first.

By message id and by recipient an index leads there. Everything else is looked for from the newest
message that may be wanted, a window of rows at a time, until enough are found or the time is up: a
search is for people, and must not keep the one thread that reads from others for long.

Rows are numbered as they are filed, which is but for moments the order in which messages were
accepted.
"""

import sqlite3
import time
from collections.abc import Sequence

from relay.mail.address import suppression_key
from relay.store import log_rows
from relay.store.log_matching import escaped, is_address
from relay.store.log_values import (
    FoundMessage,
    LoggedEvent,
    LoggedMessage,
    MessageQuery,
    SearchResult,
)
from relay.store.sqlite.rows import chunks, values

_WINDOW = 20_000
_SECONDS = 10.0
_ABREAST = 1_000  # messages that may be filed in another order than they were accepted
_BEYOND = 1 << 62  # no row has that number


def message(db: sqlite3.Connection, message_id: str) -> LoggedMessage | None:
    """A message by its id."""
    found = db.execute("SELECT told, header FROM message WHERE message_id = ?", (message_id,))
    return next(iter(log_rows.messages(found)), None)


def messages(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, LoggedMessage]:
    """Those that are known."""
    known = {}
    for some in chunks(ids):
        statement = values(
            "SELECT told, header FROM message WHERE message_id IN ",
            "?",
            len(some),
            in_brackets=True,
        )
        known.update({found.id: found for found in log_rows.messages(db.execute(statement, some))})
    return known


def events_of(db: sqlite3.Connection, message_id: str, limit: int) -> list[LoggedEvent]:
    """In order of number."""
    return log_rows.events(
        db.execute(
            "SELECT number, told FROM event WHERE message ="
            " (SELECT id FROM message WHERE message_id = ?) ORDER BY number LIMIT ?",
            (message_id, limit),
        )
    )


def search(db: sqlite3.Connection, query: MessageQuery) -> SearchResult:
    """See `MessageLog.search`."""
    top = _top(db, query)
    conditions, parameters = _conditions(query)
    is_indexed = bool(query.message_id) or is_address(query.recipient)
    found: list[tuple[int, bytes, bytes]] = []
    deadline = time.monotonic() + _SECONDS
    last = _last_row(db, query)
    looked_back_to = 0
    while len(found) < query.limit and (newest := _newest_below(db, top)) > last:
        bottom = 0 if is_indexed else newest + 1 - _WINDOW
        found += db.execute(
            f"SELECT id, told, header FROM message WHERE id < ? AND id >= ?{conditions}"  # noqa: S608
            " ORDER BY id DESC LIMIT ?",
            (top, bottom, *parameters, query.limit - len(found)),
        )
        top = bottom
        if time.monotonic() >= deadline:
            break
    if len(found) < query.limit and _newest_below(db, top) > last:
        looked_back_to = _oldest_from(db, top)
    messages = tuple(_found(db, *fields) for fields in found if log_rows.messages([fields[1:]]))
    return SearchResult(messages, looked_back_to)


def _top(db: sqlite3.Connection, query: MessageQuery) -> int:
    """The row below which is looked."""
    if query.before:
        found = db.execute("SELECT id FROM message WHERE message_id = ?", (query.before,))
        return next((row for (row,) in found), 0)
    if query.until is None:
        return _newest_below(db, _BEYOND) + 1
    (newest,) = db.execute(
        "SELECT max(id) FROM (SELECT id FROM message WHERE accepted_at < ?"
        " ORDER BY accepted_at DESC LIMIT ?)",
        (query.until, _ABREAST),
    ).fetchone()
    return (newest or 0) + 1


def _last_row(db: sqlite3.Connection, query: MessageQuery) -> int:
    """The row down to which, but without which, is looked."""
    (oldest,) = db.execute(
        "SELECT min(id) FROM (SELECT id FROM message WHERE accepted_at >= ?"
        " ORDER BY accepted_at LIMIT ?)",
        (query.since, _ABREAST),
    ).fetchone()
    return _BEYOND if oldest is None else oldest - 1


def _newest_below(db: sqlite3.Connection, row: int) -> int:
    """0 where there is none."""
    (newest,) = db.execute("SELECT max(id) FROM message WHERE id < ?", (row,)).fetchone()
    return newest or 0


def _oldest_from(db: sqlite3.Connection, row: int) -> int:
    """When the message of that row, or the next that there is, was accepted."""
    found = db.execute(
        "SELECT accepted_at FROM message WHERE id >= ? ORDER BY id LIMIT 1", (row,)
    ).fetchone()
    return found[0] if found else 0


def _conditions(query: MessageQuery) -> tuple[str, list[object]]:
    """SQL that follows a condition, and its parameters."""
    wanted: list[tuple[str, list[object]]] = []
    if query.message_id:
        wanted.append(("message_id = ?", [query.message_id]))
    if query.recipient:
        wanted.append(_about_recipient(query))
    elif query.status:
        wanted.append(
            (
                "EXISTS (SELECT 1 FROM recipient WHERE message = message.id AND status = ?)",
                [query.status],
            )
        )
    if query.sender:
        wanted.append(_about_key("sender", query.sender))
    if query.subject:
        wanted.append((r"subject LIKE ? ESCAPE '\'", [f"%{escaped(query.subject)}%"]))
    if query.configuration_set:
        wanted.append(("configuration_set = ?", [query.configuration_set]))
    if query.credential:
        wanted.append(("credential = ?", [query.credential]))
    if query.tag is not None:
        wanted.append(_about_tag(*query.tag))
    if query.since:
        wanted.append(("accepted_at >= ?", [query.since]))
    if query.until is not None:
        wanted.append(("accepted_at < ?", [query.until]))
    sql = "".join(f" AND {condition}" for condition, _ in wanted)
    return sql, [value for _, some in wanted for value in some]


def _about_recipient(query: MessageQuery) -> tuple[str, list[object]]:
    status = " AND status = ?" if query.status else ""
    condition, parameters = _about_key("key", query.recipient)
    if is_address(query.recipient):
        sql = f"id IN (SELECT message FROM recipient WHERE {condition}{status})"  # noqa: S608
    else:
        sql = (
            "EXISTS (SELECT 1 FROM recipient WHERE message = message.id"  # noqa: S608
            f" AND {condition}{status})"
        )
    return sql, parameters + ([query.status] if query.status else [])


def _about_key(column: str, wanted: str) -> tuple[str, list[object]]:
    """An address, or all of a domain."""
    if is_address(wanted):
        return f"{column} = ?", [suppression_key(wanted)]
    return rf"{column} LIKE ? ESCAPE '\'", [f"%{escaped(wanted.lower())}"]


def _about_tag(name: str, value: str) -> tuple[str, list[object]]:
    each = "SELECT 1 FROM json_each(CAST(told AS TEXT), '$.tags') AS tag"
    condition = "json_extract(tag.value, '$[0]') = ?"
    if not value:
        return f"EXISTS ({each} WHERE {condition})", [name]
    condition += " AND json_extract(tag.value, '$[1]') = ?"
    return f"EXISTS ({each} WHERE {condition})", [name, value]


def _found(db: sqlite3.Connection, row: int, told: bytes, header: bytes) -> FoundMessage:
    (known,) = log_rows.messages([(told, header)])
    statuses = db.execute(
        "SELECT position, status FROM recipient WHERE message = ? ORDER BY position", (row,)
    )
    return FoundMessage(
        known,
        tuple((known.recipients[position], status) for position, status in statuses),
    )
