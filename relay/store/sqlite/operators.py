"""What operators ask and change: the queue by filter, depths, stored login secrets."""

import sqlite3
from collections.abc import Sequence

from relay.store.codec import Damaged, decode_message
from relay.store.delivery_rows import DELIVERY_BITS
from relay.store.queue_rows import entry_of
from relay.store.sqlite import claims
from relay.store.sqlite.errors import is_corrupt
from relay.store.values import (
    Message,
    Owner,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    Secret,
    State,
)

EXAMINED = 20_000
"""Rows that one question looks at: some ten milliseconds, so that others come in between."""

_LAST_ID = (1 << 63) - 1

_ENTRY = (
    "SELECT d.id, d.state, d.accepted_at, d.due_at, d.attempts, d.configuration_set, d.domain,"
    " d.recipients, d.epoch IS NOT NULL, d.last_reply, d.pool, d.suspended_by,"
    " d.waits_for, false, m.message_id, m.facts, m.header"
    " FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20 WHERE d.id = ?"
)


_ENTRY_ALONE = (
    "SELECT id, state, accepted_at, due_at, attempts, configuration_set, domain,"
    " recipients, epoch IS NOT NULL, last_reply, pool, suspended_by, waits_for, false,"
    " NULL, NULL, NULL"
    " FROM delivery WHERE id = ?"
)


def page(
    db: sqlite3.Connection,
    which: QueueFilter,
    *,
    unclaimed: bool = False,
    quarantined: bool = False,
) -> tuple[list[int], int]:
    """The ids of matching deliveries among the next `EXAMINED` rows, oldest message first, and the
    last id that was looked at; 0 where there are no more rows.

    Those in quarantine match when the filter names that state, or with `quarantined`.
    """
    first, last = which.after, which.upto or _LAST_ID
    if which.message_id:
        row = db.execute(_ROW_OF, (which.message_id,)).fetchone()
        if row is None:
            return [], 0
        first = max(first, (row[0] << DELIVERY_BITS) - 1)
        last = min(last, (row[0] << DELIVERY_BITS) + (1 << DELIVERY_BITS) - 1)
    table, conditions, parameters = _conditions(which, unclaimed, quarantined)
    rows = db.execute(
        f"SELECT d.id, {conditions} FROM (SELECT * FROM delivery WHERE id > ? AND id <= ?"  # noqa: S608
        f" ORDER BY id LIMIT {EXAMINED}) d {table} ORDER BY d.id",
        (*parameters, first, last),
    ).fetchall()
    found = [identifier for identifier, matches in rows if matches]
    return found, rows[-1][0] if len(rows) == EXAMINED else 0


_ROW_OF = "SELECT id FROM message WHERE message_id = ?"
# What is damaged is no JSON, and matches nothing.
_FACTS = (
    "CASE WHEN json_valid(CAST(m.facts AS TEXT))"
    " THEN json_extract(CAST(m.facts AS TEXT), '$.{}') END"
)
_TO = (
    "EXISTS (SELECT 1 FROM json_each(CASE WHEN json_valid(CAST(d.recipients AS TEXT))"
    " THEN CAST(d.recipients AS TEXT) ELSE '[]' END) AS r WHERE lower(CASE r.type"
    " WHEN 'object' THEN json_extract(r.value, '$.address') END) = ?)"
)


def _conditions(
    which: QueueFilter, unclaimed: bool, quarantined: bool
) -> tuple[str, str, list[object]]:
    """What else to join, the conditions, and their parameters."""
    conditions: list[str] = []
    parameters: list[object] = []

    def add(condition: str, *values: object) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if which.domain:
        add("d.domain = ?", which.domain.lower())
    if which.configuration_set:
        add("d.configuration_set = ?", which.configuration_set)
    if which.state:
        add("d.state = ?", which.state)
    if not quarantined and which.state != "quarantined":
        add("d.state <> 'quarantined'")
    if unclaimed:
        add("d.epoch IS NULL")
    if which.pool:
        marks = ", ".join("?" * len(which.pool_sets))
        sets = f"(d.pool = '' AND d.configuration_set IN ({marks}))"
        add(f"(d.pool = ? OR {sets})", which.pool, *which.pool_sets)
    if which.recipient:
        add(_TO, which.recipient.lower())
    if which.credential:
        add(f"{_FACTS.format('credential')} = ?", which.credential)
    if which.sender:
        add(f"lower({_FACTS.format('envelope.reverse_path')}) = ?", which.sender.lower())
    needs_message = bool(which.credential or which.sender)
    table = "LEFT JOIN message m ON m.id = d.id >> 20" if needs_message else ""
    return table, " AND ".join(conditions) or "1", parameters


def newest(db: sqlite3.Connection) -> int:
    """The highest id of a delivery; 0 where there is none."""
    (found,) = db.execute("SELECT max(id) FROM delivery").fetchone()
    return int(found or 0)


def entries(db: sqlite3.Connection, identifiers: Sequence[int]) -> list[QueueEntry]:
    """Those deliveries. Damaged ones show what can be read of them."""
    found = [_entry_of(db, identifier) for identifier in identifiers]
    return [entry for entry in found if entry is not None]


def _entry_of(db: sqlite3.Connection, identifier: int) -> QueueEntry | None:
    try:
        row = db.execute(_ENTRY, (identifier,)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        # The message cannot be read; the delivery beside it can.
        row = db.execute(_ENTRY_ALONE, (identifier,)).fetchone()
    return None if row is None else entry_of(row)


def depths(db: sqlite3.Connection) -> list[QueueDepth]:
    """How much each configuration set has queued, held and in quarantine."""
    rows = db.execute(
        "SELECT configuration_set, sum(state = 'queued'), sum(state = 'held'), min(accepted_at),"
        " sum(state = 'quarantined'), sum(state = 'suspended')"
        " FROM delivery GROUP BY configuration_set"
    )
    return [QueueDepth(*row) for row in rows]


def set_state(
    db: sqlite3.Connection, requests: Sequence[tuple[Sequence[int], str, State]]
) -> list[int]:
    """Put deliveries that are in a state (empty: in any but quarantine) into another; how many. The
    mark holds for claimed ones when they come back."""
    return [
        sum(
            db.execute(
                "UPDATE delivery SET state = ?1 WHERE id = ?2 AND state <> ?1"
                " AND CASE ?3 WHEN '' THEN state <> 'quarantined' ELSE state = ?3 END",
                (state, identifier, before),
            ).rowcount
            for identifier in identifiers
        )
        for identifiers, before, state in requests
    ]


def retry_now(db: sqlite3.Connection, requests: Sequence[tuple[Sequence[int], int]]) -> list[int]:
    """Make unclaimed deliveries due."""
    return [
        sum(
            db.execute(
                "UPDATE delivery SET due_at = ?, waits_for = NULL"
                " WHERE id = ? AND due_at > ? AND epoch IS NULL",
                (now, identifier, now),
            ).rowcount
            for identifier in identifiers
        )
        for identifiers, now in requests
    ]


def move(db: sqlite3.Connection, requests: Sequence[tuple[Sequence[int], str]]) -> list[int]:
    """Have deliveries go through a pool (`""`: that of their set). What waits for suspended sources
    is queued again, and what was put off for want of one is due as when it was accepted: the other
    pool may have some."""
    return [
        sum(
            db.execute(
                "UPDATE delivery SET pool = ?1, state = CASE WHEN state = 'suspended'"
                " AND suspended_by >= 'source:' AND suspended_by < 'source;'"
                " THEN 'queued' ELSE state END, waits_for = NULL, due_at = CASE"
                " WHEN waits_for IS NULL THEN due_at ELSE min(due_at, accepted_at) END"
                " WHERE id = ?2 AND pool <> ?1",
                (pool, identifier),
            ).rowcount
            for identifier in identifiers
        )
        for identifiers, pool in requests
    ]


def take(
    db: sqlite3.Connection, requests: Sequence[tuple[Owner, Sequence[int]]]
) -> list[claims.Claimed]:
    """Claim deliveries that nobody has claimed, whatever their due time or state."""
    answers = []
    for owner, identifiers in requests:
        free = [i for i in identifiers if db.execute(_IS_FREE, (i,)).fetchone() is not None]
        answers.append(claims.take(db, owner, free))
    return answers


_IS_FREE = "SELECT 1 FROM delivery WHERE id = ? AND epoch IS NULL"


def find_message(db: sqlite3.Connection, message_id: str) -> Message | None:
    """A stored message, without its body. Raises Damaged."""
    try:
        row = db.execute(
            "SELECT message_id, facts, ref, header FROM message WHERE message_id = ?",
            (message_id,),
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            raise Damaged(f"message {message_id}: {error}") from error
        raise
    return None if row is None else decode_message(*row)


def add_secret(db: sqlite3.Connection, requests: Sequence[Secret]) -> list[None]:
    for secret in requests:
        db.execute(
            "INSERT INTO secret (credential, salt, digest, created_at, revoked_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (secret.credential, secret.salt, secret.digest, secret.created_at, secret.revoked_at),
        )
    return [None] * len(requests)


def secrets(db: sqlite3.Connection) -> list[Secret]:
    rows = db.execute(
        "SELECT credential, salt, digest, created_at, id, revoked_at FROM secret ORDER BY id"
    )
    return [Secret(*row) for row in rows]


def revoke_secrets(db: sqlite3.Connection, requests: Sequence[tuple[str, int]]) -> list[int]:
    """Revoke what is not revoked yet: (credential, now)."""
    return [
        db.execute(
            "UPDATE secret SET revoked_at = ? WHERE credential = ? AND revoked_at IS NULL",
            (now, credential),
        ).rowcount
        for credential, now in requests
    ]
