"""Filing: what the outbox held goes into the log in one transaction, with statements of many rows.

What is filed twice changes nothing: the place up to which an outbox is filed goes with it.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from relay.mail.address import suppression_key
from relay.store.log_rows import Statuses, encode, is_filed, statuses_of
from relay.store.log_values import Filing, LoggedEvent, LoggedMessage, Tally
from relay.store.sqlite.log import rows
from relay.store.sqlite.rows import chunks, values

Known = dict[str, int]
"""Rows of messages, by id."""


def filed_upto(db: sqlite3.Connection, outbox: str) -> int:
    """The last entry of that outbox that is filed."""
    found = db.execute("SELECT upto FROM filed WHERE outbox = ?", (outbox,)).fetchone()
    return found[0] if found else 0


def file(db: sqlite3.Connection, filing: Filing) -> None:
    """File, in the transaction that is open."""
    if is_filed(filing, filed_upto(db, filing.outbox)):
        return
    statuses = statuses_of(filing.events)
    known = _add_messages(db, filing.messages, statuses)
    known |= rows.numbers_of(db, {e.message_id for e in filing.events if e.message_id} - set(known))
    _add_events(db, filing.events, known)
    _note_statuses(db, statuses, known, {message.id for message in filing.messages})
    _add_tallies(db, filing.tallies)
    db.execute(
        "INSERT INTO filed (outbox, upto) VALUES (?, ?)"
        " ON CONFLICT (outbox) DO UPDATE SET upto = excluded.upto",
        (filing.outbox, filing.upto),
    )


def _add_messages(
    db: sqlite3.Connection, messages: Sequence[LoggedMessage], statuses: Statuses
) -> Known:
    """Messages with their recipients; those that the log has already stay as they are."""
    known: Known = {}
    for some in chunks(messages):
        parameters: list[object] = []
        for message in some:
            parameters += _columns(message)
        statement = values(
            "INSERT OR IGNORE INTO message (message_id, accepted_at, sender, configuration_set,"
            " credential, subject, told, header) VALUES ",
            "(?, ?, ?, ?, ?, ?, ?, ?)",
            len(some),
        )
        db.execute(statement, parameters)
        numbers = rows.numbers_of(db, {message.id for message in some})
        known |= numbers
        _add_recipients(db, some, numbers, statuses)
    return known


def _columns(message: LoggedMessage) -> tuple[object, ...]:
    return (
        message.id,
        message.accepted_at,
        suppression_key(message.reverse_path),
        message.configuration_set,
        message.credential,
        message.subject,
        encode(replace(message, header=b"")),
        message.header,
    )


def _add_recipients(
    db: sqlite3.Connection, messages: Sequence[LoggedMessage], numbers: Known, statuses: Statuses
) -> None:
    recipients = []
    for message in messages:
        for position, address in enumerate(message.recipients):
            key = suppression_key(address)
            status = statuses.get((message.id, key), "queued")
            recipients.append((numbers[message.id], position, key, status))
    for part in chunks(recipients):
        statement = values(
            "INSERT OR IGNORE INTO recipient (message, position, key, status) VALUES ",
            "(?, ?, ?, ?)",
            len(part),
        )
        db.execute(statement, [value for fields in part for value in fields])


def _add_events(db: sqlite3.Connection, events: Sequence[LoggedEvent], known: Known) -> None:
    for some in chunks(events):
        parameters: list[object] = []
        for event in some:
            parameters += (known.get(event.message_id, 0), event.at, encode(event))
        statement = values("INSERT INTO event (message, at, told) VALUES ", "(?, ?, ?)", len(some))
        db.execute(statement, parameters)


def _note_statuses(db: sqlite3.Connection, statuses: Statuses, known: Known, new: set[str]) -> None:
    """Of messages that were filed before; new ones have theirs."""
    db.executemany(
        "UPDATE recipient SET status = ? WHERE message = ? AND key = ?",
        [
            (status, known[message_id], key)
            for (message_id, key), status in statuses.items()
            if message_id in known and message_id not in new
        ],
    )


def _add_tallies(db: sqlite3.Connection, tallies: Sequence[Tally]) -> None:
    db.executemany(
        "INSERT INTO tally (hour, dimension, sent, bounced, complained) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (hour, dimension) DO UPDATE SET sent = sent + excluded.sent,"
        " bounced = bounced + excluded.bounced, complained = complained + excluded.complained",
        [(t.hour, t.dimension, t.sent, t.bounced, t.complained) for t in tallies],
    )


def tallies_since(db: sqlite3.Connection, hour: int) -> list[Tally]:
    """Oldest first."""
    found = db.execute(
        "SELECT dimension, hour, sent, bounced, complained FROM tally WHERE hour >= ?"
        " ORDER BY hour, dimension",
        (hour,),
    )
    return [Tally(*fields) for fields in found]


def prune_tallies(db: sqlite3.Connection, before_hour: int) -> int:
    """How many rows went."""
    return db.execute("DELETE FROM tally WHERE hour < ?", (before_hour,)).rowcount
