"""Messages come and go here: inserts and settlements, as operations for the writer.

A message is stored with one delivery for each destination domain, and is deleted with the last of
them. Whether a recipient is suppressed is read in the same transaction. A batch is served with a
few statements of many rows, not with a few for each message.

Several nodes work at once. Who claims or inserts in the name of an owner holds its row against a
burial (`FOR SHARE`), so that no claim is committed for an owner whose claims have been freed. Who
ends the deliveries of a message that has several locks the message first: of two that end the last
two, one sees that the other has gone. Rows are locked in order of id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from relay.mail.envelope import Recipient, domain_of
from relay.store.codec import check_body, encode_facts, encode_recipients
from relay.store.delivery_rows import DELIVERY_BITS, DeliveryRow, deliveries_of
from relay.store.happenings import Rejected
from relay.store.outbox_rows import Row as ToldRow
from relay.store.outbox_rows import SentRow
from relay.store.outbox_rows import row as told_row
from relay.store.postgres import attempts, bodies, outbox, suppression
from relay.store.postgres.damage import read_one
from relay.store.postgres.owners import alive
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.sorting_out import SortedOut, keys_of, sort_out
from relay.store.values import (
    Accepted,
    Delivery,
    Message,
    NewMessage,
    Owner,
    Settlement,
    Suppressed,
)

_INSERT_MESSAGES = (
    "INSERT INTO message (message_id, facts, ref, header, body)"
    " SELECT message_id, facts, ref, header, body"
    " FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[], $5::bytea[])"
    " WITH ORDINALITY AS new (message_id, facts, ref, header, body, place) ORDER BY place"
    " RETURNING id, message_id"
)
_INSERT_DELIVERIES = (
    "INSERT INTO delivery (id, domain, due_at, epoch, configuration_set, accepted_at, expires_at,"
    " recipients) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[],"
    " $5::text[], $6::bigint[], $7::bigint[], $8::bytea[])"
)
_LOCK_MESSAGES = "SELECT FROM message WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"
_END = (
    "DELETE FROM delivery AS d USING unnest($1::bigint[], $2::bigint[]) AS over (id, epoch)"
    " WHERE d.id = over.id AND d.epoch = over.epoch RETURNING d.id, d.epoch"
)
_DELETE_MESSAGES = "DELETE FROM message WHERE id = ANY($1::bigint[])"
_DELETE_DONE_MESSAGES = (
    "DELETE FROM message WHERE id = ANY($1::bigint[]) AND NOT EXISTS (SELECT FROM delivery"  # noqa: S608 - constants
    f" WHERE delivery.id >= message.id << {DELIVERY_BITS}"
    f" AND delivery.id < (message.id + 1) << {DELIVERY_BITS})"
)
_DELAY = (
    "UPDATE delivery AS d SET recipients = put_off.recipients, due_at = put_off.due_at,"
    " attempts = d.attempts + put_off.attempted, doubtful = false,"
    " last_reply = coalesce(nullif(put_off.last_reply, ''), d.last_reply),"
    " epoch = CASE WHEN put_off.is_kept THEN d.epoch END"
    " FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::integer[], $6::text[],"
    " $7::boolean[])"
    " AS put_off (id, epoch, recipients, due_at, attempted, last_reply, is_kept)"
    " WHERE d.id = put_off.id AND d.epoch = put_off.epoch RETURNING put_off.id, put_off.epoch"
)

Claim = tuple[int, int]
"""Epoch, and id of a delivery."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement did: whether the claim held, whether the message went with it, and the
    recipients of its reports that are suppressed, each with the report."""

    done: bool
    message_gone: bool = False
    withheld: tuple[tuple[Message, Suppressed], ...] = ()


async def insert(
    db: Session, requests: Sequence[tuple[NewMessage, Owner | None]]
) -> list[Accepted]:
    """Store messages, claimed by their owner where it is still alive."""
    sorted_out = await _without_suppressed(db, [new for new, _ in requests])
    living = await alive(db, {owner.epoch for _, owner in requests if owner is not None})
    kept: list[_Kept] = []
    sent: list[SentRow] = []
    rejected: list[ToldRow] = []
    for (new, owner), (recipients, suppressed) in zip(requests, sorted_out, strict=True):
        message = new.message
        facts = encode_facts(message)
        sent.append((message.id, message.accepted_at, facts, message.header, suppressed))
        if new.rejected:
            why = Rejected(new.rejected)
            rejected.append(told_row(message.id, message.accepted_at, why))
        if recipients:
            epoch = owner.epoch if owner is not None and owner.epoch in living else 0
            kept.append((new, recipients, epoch, facts))
    stored = iter(await _insert_rows(db, kept))
    told = await outbox.add_sent(db, sent)
    await outbox.add(db, rejected)
    return [
        Accepted(next(stored) if recipients else (), suppressed, identifier)
        for (recipients, suppressed), identifier in zip(sorted_out, told, strict=True)
    ]


_Kept = tuple[NewMessage, tuple[Recipient, ...], int, bytes]


async def _insert_rows(db: Session, kept: Sequence[_Kept]) -> list[tuple[Delivery, ...]]:
    """Rows for messages, each with its recipients, the epoch that claims it and its facts."""
    if not kept:
        return []
    parts = [new.message.body for new, _, _, _ in kept]
    numbered = await db.fetch(
        _INSERT_MESSAGES,
        [new.message.id for new, _, _, _ in kept],
        [facts for _, _, _, facts in kept],
        [body.ref or None for body in parts],
        [new.message.header for new, _, _, _ in kept],
        [body.inline for body in parts],
    )
    rows = {message_id: row for row, message_id in numbered}
    pending: list[DeliveryRow] = []
    stored = [
        deliveries_of(rows[new.message.id], new, recipients, epoch, pending)
        for new, recipients, epoch, _ in kept
    ]
    await db.execute(_INSERT_DELIVERIES, *map(list, zip(*pending, strict=True)))
    await bodies.keep(db, [body.ref for body in parts if body.ref])
    return stored


async def _without_suppressed(db: Session, news: Sequence[NewMessage]) -> list[SortedOut]:
    keys = keys_of(news)
    entries = await suppression.entries_for(db, set(keys.values())) if keys else {}
    return sort_out(news, keys, entries)


async def settle(db: Session, requests: Sequence[tuple[Owner, Settlement]]) -> list[Settled]:
    """Apply the ends of attempts; those whose claim is gone change nothing."""
    everything = [settlement for _, settlement in requests]
    await _lock_shared(db, everything)
    claims = [(owner.epoch, settlement) for owner, settlement in requests]
    settled = await _end_all(db, [claim for claim in claims if not claim[1].remaining])
    settled |= await _delay_all(db, [claim for claim in claims if claim[1].remaining])
    results = [settled.pop((epoch, s.delivery.id), Settled(done=False)) for epoch, s in claims]
    ours = [s for s, result in zip(everything, results, strict=True) if result.done]
    await suppression.add_observed(db, [entry for s in ours for entry in s.suppress])
    withheld = await _report(db, ours)
    await _tell(db, ours)
    await attempts.add(db, [s.attempt for s in everything if s.attempt is not None])
    return [
        replace(result, withheld=tuple(withheld.get(s.delivery.id, ()))) if result.done else result
        for s, result in zip(everything, results, strict=True)
    ]


async def end(db: Session, requests: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """Apply plain ends, as `settle` does one by one, and write down how they went."""
    everything = [settlement for some in requests for settlement in some]
    await _lock_shared(db, everything)
    ended = await _end_all(db, [(s.delivery.epoch, s) for s in everything])
    done = [ended.pop((s.delivery.epoch, s.delivery.id), None) is not None for s in everything]
    await _tell(db, [s for s, was_ours in zip(everything, done, strict=True) if was_ours])
    await attempts.add(db, [s.attempt for s in everything if s.attempt is not None])
    answers = iter(done)
    return [list(islice(answers, len(some))) for some in requests]


def _has_fellows(message: Message) -> bool:
    """Whether there may be, or have been, other deliveries of the same message."""
    recipients = message.envelope.recipients
    first = domain_of(recipients[0].address)
    return any(domain_of(recipient.address) != first for recipient in recipients[1:])


async def _lock_shared(db: Session, settlements: Sequence[Settlement]) -> None:
    """Whoever ends another delivery of the same message waits, or has been waited for."""
    shared = {
        s.delivery.id >> DELIVERY_BITS
        for s in settlements
        if not s.remaining and _has_fellows(s.delivery.message)
    }
    if shared:
        await db.execute(_LOCK_MESSAGES, sorted(shared))


async def _end_all(db: Session, claims: Sequence[tuple[int, Settlement]]) -> dict[Claim, Settled]:
    """End the deliveries whose claims hold, and the messages whose last ones they were."""
    if not claims:
        return {}
    by_id = {s.delivery.id: s for _, s in claims}
    order = sorted((s.delivery.id, epoch) for epoch, s in claims)
    over = await db.fetch(_END, [i for i, _ in order], [epoch for _, epoch in order])
    alone = {i >> DELIVERY_BITS for i, _ in over if not _has_fellows(by_id[i].delivery.message)}
    fellows = {i >> DELIVERY_BITS for i, _ in over} - alone
    if alone:
        await db.execute(_DELETE_MESSAGES, sorted(alone))
    gone = set(alone)
    if fellows:
        done = await db.fetch(f"{_DELETE_DONE_MESSAGES} RETURNING id", sorted(fellows))
        gone.update(row for (row,) in done)
    refs = {by_id[i].delivery.message.body.ref for i, _ in over if i >> DELIVERY_BITS in gone}
    await bodies.let_go(db, refs - {""})
    return {(epoch, i): Settled(True, i >> DELIVERY_BITS in gone) for i, epoch in over}


async def _delay_all(db: Session, claims: Sequence[tuple[int, Settlement]]) -> dict[Claim, Settled]:
    """Put deliveries off whose claims hold."""
    if not claims:
        return {}
    rows = [
        (
            settlement.delivery.id,
            epoch,
            encode_recipients(settlement.remaining),
            settlement.due_at,
            int(settlement.attempted),
            text(settlement.last_reply),
            settlement.keep_claim,
        )
        for epoch, settlement in sorted(claims, key=lambda claim: claim[1].delivery.id)
    ]
    delayed = await db.fetch(_DELAY, *map(list, zip(*rows, strict=True)))
    return {(epoch, identifier): Settled(True) for identifier, epoch in delayed}


async def _report(
    db: Session, settlements: Sequence[Settlement]
) -> dict[int, list[tuple[Message, Suppressed]]]:
    """Queue the reports of attempts; by delivery, the recipients of them who are suppressed."""
    reports = [(s.delivery.id, report) for s in settlements for report in s.reports]
    withheld: dict[int, list[tuple[Message, Suppressed]]] = {}
    if not reports:
        return withheld
    stored = await insert(db, [(report, None) for _, report in reports])
    for (identifier, report), accepted in zip(reports, stored, strict=True):
        for suppressed in accepted.suppressed:
            withheld.setdefault(identifier, []).append((report.message, suppressed))
    return withheld


async def _tell(db: Session, settled: Sequence[Settlement]) -> None:
    """Write down what has happened. An attempt whose claim was gone is another worker's to tell."""
    await outbox.add(
        db,
        [
            told_row(s.delivery.message.id, s.happened.at, s.happened)
            for s in settled
            if s.happened is not None
        ],
    )


async def withdraw(db: Session, requests: Sequence[Accepted]) -> list[None]:
    """Take back inserts that were not acknowledged, except what somebody has claimed since: that
    is sent, and so it stays told of as well."""
    for accepted in requests:
        rows = sorted({delivery.id >> DELIVERY_BITS for delivery in accepted.deliveries})
        await db.execute(_LOCK_MESSAGES, rows)
        stays = False
        for delivery in accepted.deliveries:
            told = await db.execute(
                "DELETE FROM delivery WHERE id = $1 AND epoch IS NOT DISTINCT FROM $2",
                delivery.id,
                delivery.epoch or None,
            )
            stays = stays or rows_of(told) == 0
        if await db.fetch(f"{_DELETE_DONE_MESSAGES} RETURNING id", rows):
            ref = accepted.deliveries[0].message.body.ref
            await bodies.let_go(db, {ref} - {""})
        if not stays:
            await outbox.take_back(db, accepted.outbox_id, alone=bool(accepted.deliveries))
    return [None] * len(requests)


async def body_of(db: Session, message_id: str) -> bytes | None:
    """The inline body of a message; None where the message is gone. Raises Damaged."""
    row = await read_one(
        db,
        f"message {message_id}",
        "SELECT facts, body FROM message WHERE message_id = $1",
        message_id,
    )
    return None if row is None else check_body(message_id, *row)
