"""Messages come and go here: inserts and settlements, as operations for the writer.

A message is stored with one delivery for each destination domain, and is deleted with the last of
them. Whether a recipient is suppressed is read in the same transaction, so that an address which
was suppressed before the message was acknowledged is not sent to.

A batch is served with a few statements of many rows, not with a few for each message. Each
statement gives the interpreter lock away and must win it back from a busy loop; fifty messages at
a time cost about as many such turns as one does.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from relay.mail.envelope import Recipient
from relay.store.codec import (
    Damaged,
    check_body,
    encode_facts,
    encode_recipients,
)
from relay.store.delivery_rows import DELIVERY_BITS, DeliveryRow, deliveries_of
from relay.store.happenings import Rejected
from relay.store.outbox_rows import Row, SentRow
from relay.store.outbox_rows import row as told_row
from relay.store.sorting_out import SortedOut, keys_of, sort_out
from relay.store.sqlite import attempts, outbox, suppression
from relay.store.sqlite.errors import is_corrupt
from relay.store.sqlite.rows import chunks, values
from relay.store.values import (
    Accepted,
    Delivery,
    Message,
    NewMessage,
    Owner,
    Settlement,
    Suppressed,
)

_INSERT_MESSAGES = "INSERT INTO message (message_id, facts, ref, header, body) VALUES "
_INSERT_DELIVERIES = (
    "INSERT INTO delivery (id, domain, state, due_at, epoch, configuration_set, accepted_at,"
    " expires_at, recipients) VALUES "
)
_COUNT_CLAIMED = "SELECT count(*) FROM delivery WHERE epoch = ? AND id IN "
_DELETE_DELIVERIES = "DELETE FROM delivery WHERE id IN "
_DELETE_DONE_MESSAGES = (
    "DELETE FROM message WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE"
    " delivery.id >= message.id << 20 AND delivery.id < (message.id + 1) << 20) AND id IN "
)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did: whether the claim held, whether the message went with it, and the
    recipients of its reports that are suppressed, each with the report."""

    done: bool
    message_gone: bool = False
    withheld: tuple[tuple[Message, Suppressed], ...] = ()


def insert(
    db: sqlite3.Connection, requests: Sequence[tuple[NewMessage, Owner | None]]
) -> list[Accepted]:
    """Store messages, claimed by their owner where it is still alive."""
    sorted_out = _without_suppressed(db, [new for new, _ in requests])
    alive: dict[int, bool] = {}
    kept: list[_Kept] = []
    sent: list[SentRow] = []
    rejected: list[Row] = []
    for (new, owner), (recipients, suppressed) in zip(requests, sorted_out, strict=True):
        message = new.message
        facts = encode_facts(message)
        sent.append((message.id, message.accepted_at, facts, message.header, suppressed))
        if new.rejected:
            rejected.append(told_row(message.id, message.accepted_at, Rejected(new.rejected)))
        if recipients:
            epoch = 0
            if owner is not None:
                if owner.epoch not in alive:
                    alive[owner.epoch] = is_alive(db, owner)
                epoch = owner.epoch if alive[owner.epoch] else 0
            kept.append((new, recipients, epoch, facts))
    stored = iter(_insert_rows(db, kept))
    told = outbox.add_sent(db, sent)
    outbox.add(db, rejected)
    return [
        Accepted(next(stored) if recipients else (), suppressed, identifier)
        for (recipients, suppressed), identifier in zip(sorted_out, told, strict=True)
    ]


def is_alive(db: sqlite3.Connection, owner: Owner) -> bool:
    """Whether the worker has not been declared dead."""
    found = db.execute(
        "SELECT 1 FROM worker WHERE epoch = ? AND NOT ended", (owner.epoch,)
    ).fetchone()
    return found is not None


_Kept = tuple[NewMessage, tuple[Recipient, ...], int, bytes]


def _insert_rows(db: sqlite3.Connection, kept: Sequence[_Kept]) -> list[tuple[Delivery, ...]]:
    """Rows for messages, each with its recipients, the epoch that claims it and its facts."""
    rows: list[int] = []
    for some in chunks(kept):
        parameters: list[Any] = []
        for new, _, _, facts in some:
            message = new.message
            body = message.body
            parameters += (
                message.id,
                facts,
                body.ref or None,
                message.header,
                body.inline,
            )
        statement = values(_INSERT_MESSAGES, "(?, ?, ?, ?, ?)", len(some))
        last = db.execute(statement, parameters).lastrowid or 0
        # One statement numbers its rows one after the other (AUTOINCREMENT, one writer).
        rows += range(last - len(some) + 1, last + 1)
    stored = []
    pending: list[DeliveryRow] = []
    for row, (new, recipients, epoch, _) in zip(rows, kept, strict=True):
        stored.append(deliveries_of(row, new, recipients, epoch, pending))
    for part in chunks(pending):
        statement = values(_INSERT_DELIVERIES, "(?, ?, 'queued', ?, ?, ?, ?, ?, ?)", len(part))
        db.execute(statement, [value for fields in part for value in fields])
    return stored


def _without_suppressed(db: sqlite3.Connection, news: Sequence[NewMessage]) -> list[SortedOut]:
    keys = keys_of(news)
    entries = suppression.entries_for(db, set(keys.values())) if keys else {}
    return sort_out(news, keys, entries)


def settle(db: sqlite3.Connection, requests: Sequence[tuple[Owner, Settlement]]) -> list[Settled]:
    """Apply the ends of attempts; those whose claim is gone change nothing."""
    plain = [
        (owner.epoch, settlement.delivery.id)
        for owner, settlement in requests
        if _is_plain_end(settlement)
    ]
    ended = _end_by_epoch(db, plain)
    done = Settled(done=True)
    settled = [
        done
        if (owner.epoch, settlement.delivery.id) in ended and _is_plain_end(settlement)
        else _settle_one(db, owner, settlement)
        for owner, settlement in requests
    ]
    _tell(db, [s for (_, s), result in zip(requests, settled, strict=True) if result.done])
    attempts.add(db, [s.attempt for _, s in requests if s.attempt is not None])
    return settled


def end(db: sqlite3.Connection, requests: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """Apply plain ends, as `settle` does one by one, and write down how they went."""
    everything = [settlement for some in requests for settlement in some]
    claims = [(s.delivery.epoch, s.delivery.id) for s in everything]
    ended = _end_by_epoch(db, claims)
    done = [
        claim in ended or _settle_one(db, Owner("", claim[0]), settlement).done
        for claim, settlement in zip(claims, everything, strict=True)
    ]
    _tell(db, [s for s, was_ours in zip(everything, done, strict=True) if was_ours])
    attempts.add(db, [s.attempt for s in everything if s.attempt is not None])
    answers = iter(done)
    return [list(islice(answers, len(some))) for some in requests]


def _tell(db: sqlite3.Connection, settled: Sequence[Settlement]) -> None:
    """Write down what has happened. An attempt whose claim was gone is another worker's to tell."""
    outbox.add(
        db,
        [
            told_row(s.delivery.message.id, s.happened.at, s.happened)
            for s in settled
            if s.happened is not None
        ],
    )


def _end_by_epoch(
    db: sqlite3.Connection, claims: Iterable[tuple[int, int]]
) -> set[tuple[int, int]]:
    """End deliveries given as (epoch, id), many at a time; those that were ended. Where a claim is
    gone, its whole chunk is left to be looked at one by one."""
    by_epoch: dict[int, list[int]] = {}
    for epoch, identifier in claims:
        by_epoch.setdefault(epoch, []).append(identifier)
    ended: set[tuple[int, int]] = set()
    for epoch, identifiers in by_epoch.items():
        for some in chunks(identifiers):
            if _end_all(db, epoch, some):
                ended.update((epoch, identifier) for identifier in some)
    return ended


def _is_plain_end(settlement: Settlement) -> bool:
    """Whether nothing is left to do but to delete rows."""
    return not (
        settlement.remaining
        or settlement.suppress
        or settlement.reports
        or settlement.delivery.message.body.ref
    )


def _end_all(db: sqlite3.Connection, epoch: int, identifiers: Sequence[int]) -> bool:
    """Delete deliveries, and their messages where done; not when a claim on any of them is gone."""
    size = len(identifiers)
    (claimed,) = db.execute(
        values(_COUNT_CLAIMED, "?", size, in_brackets=True), (epoch, *identifiers)
    ).fetchone()
    if claimed != size:
        return False
    db.execute(values(_DELETE_DELIVERIES, "?", size, in_brackets=True), identifiers)
    db.execute(
        values(_DELETE_DONE_MESSAGES, "?", size, in_brackets=True),
        [identifier >> DELIVERY_BITS for identifier in identifiers],
    )
    return True


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
        if changed:
            gone = _delete_message_if_done(db, delivery.id)
    if not changed:
        return Settled(done=False)
    if settlement.suppress:
        suppression.add_observed(db, settlement.suppress)
    stored = insert(db, [(report, None) for report in settlement.reports])
    withheld = tuple(
        (report.message, suppressed)
        for report, accepted in zip(settlement.reports, stored, strict=True)
        for suppressed in accepted.suppressed
    )
    return Settled(done=True, message_gone=gone, withheld=withheld)


def _delete_message_if_done(db: sqlite3.Connection, delivery_id: int) -> bool:
    """Delete the message of a deleted delivery when that was the last one."""
    statement = values(_DELETE_DONE_MESSAGES, "?", 1, in_brackets=True)
    return db.execute(statement, (delivery_id >> DELIVERY_BITS,)).rowcount == 1


def withdraw(db: sqlite3.Connection, requests: Sequence[Accepted]) -> list[None]:
    """Take back inserts that were not acknowledged, except what somebody has claimed since: that
    is sent, and so it stays told of as well."""
    for accepted in requests:
        stays = False
        for delivery in accepted.deliveries:
            gone = db.execute(
                "DELETE FROM delivery WHERE id = ? AND epoch IS ?",
                (delivery.id, delivery.epoch or None),
            ).rowcount
            if gone:
                _delete_message_if_done(db, delivery.id)
            else:
                stays = True
        if not stays:
            outbox.take_back(db, accepted.outbox_id, alone=bool(accepted.deliveries))
    return [None] * len(requests)


def is_stored(db: sqlite3.Connection, message_id: str) -> bool:
    found = db.execute("SELECT 1 FROM message WHERE message_id = ?", (message_id,)).fetchone()
    return found is not None


def references(db: sqlite3.Connection) -> list[str]:
    """The references of all messages whose body is a spool file."""
    return [ref for (ref,) in db.execute("SELECT ref FROM message WHERE ref IS NOT NULL")]


def body_of(db: sqlite3.Connection, message_id: str) -> bytes | None:
    """The inline body of a message; None where the message is gone. Raises Damaged."""
    try:
        row = db.execute(
            "SELECT facts, body FROM message WHERE message_id = ?", (message_id,)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            raise Damaged(f"message {message_id}: {error}") from error
        raise
    return None if row is None else check_body(message_id, *row)
