"""Messages come and go here: inserts and settlements, as operations for the writer.

A message is stored with one delivery for each destination domain, and is deleted with the last of
them. Whether a recipient is suppressed is read in the same transaction, so that an address which
was suppressed before the message was acknowledged is not sent to.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from relay.mail.address import suppression_key
from relay.mail.envelope import Recipient
from relay.store.sqlite import suppression
from relay.store.sqlite.codec import by_domain, encode_facts, encode_recipients
from relay.store.sqlite.schema import DELIVERY_BITS
from relay.store.values import (
    Accepted,
    Delivery,
    Message,
    NewMessage,
    Owner,
    Settlement,
    Suppressed,
)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did: whether the claim held, and whether the message went with it."""

    done: bool
    message_gone: bool = False


def insert(
    db: sqlite3.Connection, requests: Sequence[tuple[NewMessage, Owner | None]]
) -> list[Accepted]:
    """Store messages, claimed by their owner where it is still alive."""
    alive: dict[int, bool] = {}
    accepted = []
    for new, owner in requests:
        epoch = 0
        if owner is not None:
            if owner.epoch not in alive:
                alive[owner.epoch] = is_alive(db, owner)
            epoch = owner.epoch if alive[owner.epoch] else 0
        accepted.append(_insert_one(db, new, epoch))
    return accepted


def is_alive(db: sqlite3.Connection, owner: Owner) -> bool:
    """Whether the worker has not been declared dead."""
    found = db.execute("SELECT 1 FROM worker WHERE epoch = ?", (owner.epoch,)).fetchone()
    return found is not None


def _insert_one(db: sqlite3.Connection, new: NewMessage, epoch: int) -> Accepted:
    message = new.message
    recipients = message.envelope.recipients
    suppressed: tuple[Suppressed, ...] = ()
    if new.suppression:
        recipients, suppressed = _without_suppressed(db, new)
        if not recipients:
            return Accepted((), suppressed)
    body = message.body
    cursor = db.execute(
        "INSERT INTO message (message_id, facts, ref, header, body) VALUES (?, ?, ?, ?, ?)",
        (message.id, encode_facts(message), body.ref or None, message.header, body.inline),
    )
    row = cursor.lastrowid or 0
    deliveries = []
    for number, (domain, group) in enumerate(by_domain(recipients).items()):
        identifier = (row << DELIVERY_BITS) + number
        db.execute(
            "INSERT INTO delivery (id, domain, state, due_at, epoch, configuration_set,"
            " accepted_at, recipients) VALUES (?, ?, 'queued', ?, ?, ?, ?, ?)",
            (
                identifier,
                domain,
                new.due_at,
                epoch or None,
                message.configuration_set,
                message.accepted_at,
                encode_recipients(group),
            ),
        )
        deliveries.append(Delivery(identifier, message, domain, group, new.due_at, epoch=epoch))
    return Accepted(tuple(deliveries), suppressed)


def _without_suppressed(
    db: sqlite3.Connection, new: NewMessage
) -> tuple[tuple[Recipient, ...], tuple[Suppressed, ...]]:
    kept = []
    suppressed = []
    for recipient in new.message.envelope.recipients:
        reason = suppression.reason_for(
            db, suppression_key(recipient.address), new.message.accepted_at
        )
        if reason in new.suppression:
            suppressed.append(Suppressed(recipient.address, reason))
        else:
            kept.append(recipient)
    return tuple(kept), tuple(suppressed)


def settle(db: sqlite3.Connection, requests: Sequence[tuple[Owner, Settlement]]) -> list[Settled]:
    """Apply the ends of attempts; those whose claim is gone change nothing."""
    return [_settle_one(db, owner, settlement) for owner, settlement in requests]


def _settle_one(db: sqlite3.Connection, owner: Owner, settlement: Settlement) -> Settled:
    delivery = settlement.delivery
    gone = False
    if settlement.remaining:
        changed = db.execute(
            "UPDATE delivery SET recipients = ?, due_at = ?, attempts = attempts + ?,"
            " last_reply = coalesce(nullif(?, ''), last_reply),"
            " epoch = CASE WHEN ? THEN epoch END WHERE id = ? AND epoch = ?",
            (
                encode_recipients(settlement.remaining),
                settlement.due_at,
                settlement.attempted,
                settlement.last_reply,
                settlement.keep_claim,
                delivery.id,
                owner.epoch,
            ),
        ).rowcount
    else:
        changed = db.execute(
            "DELETE FROM delivery WHERE id = ? AND epoch = ?", (delivery.id, owner.epoch)
        ).rowcount
        gone = changed == 1 and delete_message_if_done(db, delivery.id)
    if changed != 1:
        return Settled(done=False)
    if settlement.suppress:
        suppression.add_observed(db, settlement.suppress)
    for report in settlement.reports:
        _insert_one(db, report, 0)
    return Settled(done=True, message_gone=gone)


def delete_message_if_done(db: sqlite3.Connection, delivery_id: int) -> bool:
    """Delete the message of a deleted delivery when it was the last one."""
    row = delivery_id >> DELIVERY_BITS
    first = row << DELIVERY_BITS
    return (
        db.execute(
            "DELETE FROM message WHERE id = ? AND NOT EXISTS"
            " (SELECT 1 FROM delivery WHERE id >= ? AND id < ?)",
            (row, first, first + (1 << DELIVERY_BITS)),
        ).rowcount
        == 1
    )


def referenced_files(db: sqlite3.Connection) -> set[str]:
    """The names of all spool files that a message owns."""
    return {ref for (ref,) in db.execute("SELECT ref FROM message WHERE ref IS NOT NULL")}


def body_of(db: sqlite3.Connection, message: Message) -> bytes | None:
    """The inline body of a message; None where the message is gone or has no inline body."""
    row = db.execute("SELECT body FROM message WHERE message_id = ?", (message.id,)).fetchone()
    return None if row is None else row[0]
