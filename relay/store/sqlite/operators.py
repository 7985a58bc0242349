"""What operators ask and change: the queue by filter, depths, stored login secrets."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from relay.store.sqlite import claims
from relay.store.sqlite.codec import Damaged, decode_message, decode_recipients
from relay.store.sqlite.errors import is_corrupt
from relay.store.sqlite.schema import DELIVERY_BITS
from relay.store.values import (
    Message,
    Owner,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    Secret,
    State,
)

_EVERY_ID = (0, (1 << 63) - 1)

_MATCHING = (
    "SELECT d.id FROM delivery d WHERE d.id >= :first AND d.id <= :last"
    " AND (:domain = '' OR d.domain = :domain)"
    " AND (:configuration_set = '' OR d.configuration_set = :configuration_set)"
    " AND (:state = '' OR d.state = :state)"
    " AND (NOT :unclaimed OR d.epoch IS NULL)"
    " AND (:state = 'quarantined' OR :any_state OR d.state <> 'quarantined')"
    " ORDER BY d.id LIMIT :limit"
)

_ENTRY = (
    "SELECT d.id, d.state, d.accepted_at, d.due_at, d.attempts, d.configuration_set, d.domain,"
    " d.recipients, d.epoch IS NOT NULL, d.last_reply, m.message_id, m.facts, m.header"
    " FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20 WHERE d.id = ?"
)


_ENTRY_ALONE = (
    "SELECT id, state, accepted_at, due_at, attempts, configuration_set, domain,"
    " recipients, epoch IS NOT NULL, last_reply, NULL, NULL, NULL FROM delivery WHERE id = ?"
)


def _matching(
    db: sqlite3.Connection,
    which: QueueFilter,
    *,
    unclaimed: bool = False,
    quarantined: bool = False,
) -> list[int]:
    """The ids of matching deliveries, oldest message first.

    Those in quarantine match when the filter names that state, or with `quarantined`.
    """
    first, last = _EVERY_ID
    if which.message_id:
        row = db.execute(
            "SELECT id FROM message WHERE message_id = ?", (which.message_id,)
        ).fetchone()
        if row is None:
            return []
        first = row[0] << DELIVERY_BITS
        last = first + (1 << DELIVERY_BITS) - 1
    found = db.execute(
        _MATCHING,
        {
            "first": first,
            "last": last,
            "domain": which.domain.lower(),
            "configuration_set": which.configuration_set,
            "state": which.state,
            "unclaimed": unclaimed,
            "any_state": quarantined,
            "limit": which.limit,
        },
    )
    return [identifier for (identifier,) in found]


def queue(db: sqlite3.Connection, which: QueueFilter) -> list[QueueEntry]:
    """Matching deliveries, oldest message first. Damaged ones show what can be read of them."""
    found = [_entry_of(db, identifier) for identifier in _matching(db, which, quarantined=True)]
    return [entry for entry in found if entry is not None]


def _entry_of(db: sqlite3.Connection, identifier: int) -> QueueEntry | None:
    try:
        row = db.execute(_ENTRY, (identifier,)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        # The message cannot be read; the delivery beside it can.
        row = db.execute(_ENTRY_ALONE, (identifier,)).fetchone()
    return None if row is None else _entry(row)


def _entry(row: Sequence[Any]) -> QueueEntry:
    (identifier, state, accepted_at, due_at, attempts, configuration_set) = row[:6]
    (domain, recipients, claimed, last_reply, message_id, facts, header) = row[6:]
    message: Message | None
    try:
        message = decode_message(message_id, facts, None, header)
        addresses = tuple(recipient.address for recipient in decode_recipients(recipients))
    except Damaged:
        # Shown with what is left of it; whoever claims it sets it apart and says so.
        message, addresses = None, ()
    return QueueEntry(
        delivery_id=identifier,
        message_id=message_id or "",
        state=state,
        accepted_at=accepted_at,
        expires_at=message.expires_at if message else 0,
        due_at=due_at,
        attempts=attempts,
        credential=message.credential if message else "",
        configuration_set=configuration_set,
        reverse_path=message.envelope.reverse_path if message else "",
        domain=domain,
        recipients=addresses,
        size=message.size if message else 0,
        claimed=bool(claimed),
        last_reply=last_reply,
    )


def depths(db: sqlite3.Connection) -> list[QueueDepth]:
    """How much each configuration set has queued, held and in quarantine."""
    rows = db.execute(
        "SELECT configuration_set, sum(state = 'queued'), sum(state = 'held'), min(accepted_at),"
        " sum(state = 'quarantined'), sum(state = 'suspended')"
        " FROM delivery GROUP BY configuration_set"
    )
    return [QueueDepth(*row) for row in rows]


def set_state(db: sqlite3.Connection, requests: Sequence[tuple[QueueFilter, State]]) -> list[int]:
    """Hold or release matching deliveries; the mark holds for claimed ones when they come back."""
    return [
        sum(
            db.execute(
                "UPDATE delivery SET state = ? WHERE id = ? AND state <> ?",
                (state, identifier, state),
            ).rowcount
            for identifier in _matching(db, which)
        )
        for which, state in requests
    ]


def retry_now(db: sqlite3.Connection, requests: Sequence[tuple[QueueFilter, int]]) -> list[int]:
    """Make matching unclaimed deliveries due."""
    return [
        sum(
            db.execute(
                "UPDATE delivery SET due_at = ? WHERE id = ? AND due_at > ?",
                (now, identifier, now),
            ).rowcount
            for identifier in _matching(db, which, unclaimed=True)
        )
        for which, now in requests
    ]


def take(
    db: sqlite3.Connection, requests: Sequence[tuple[Owner, QueueFilter]]
) -> list[claims.Claimed]:
    """Claim matching unclaimed deliveries whatever their due time or state."""
    return [
        claims.take(db, owner, _matching(db, which, unclaimed=True)) for owner, which in requests
    ]


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
