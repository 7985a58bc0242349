"""Claims, as operations for the writer and questions for a reader.

A claim is the owner's epoch in the delivery's row. What others are claiming now is passed over
(`SKIP LOCKED`), and no claim is given to an owner that has ended. What an owner asks for after that
changes nothing.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg

from relay.store.codec import Damaged, decode_message, decode_recipients
from relay.store.postgres.damage import read_past
from relay.store.postgres.errors import is_corrupt
from relay.store.postgres.owners import alive
from relay.store.postgres.session import Session, rows_of
from relay.store.values import Delivery, Owner

_ROWS = (
    "SELECT d.id, d.domain, d.due_at, d.attempts, d.recipients, d.last_reply, d.pool, d.doubtful,"
    " m.message_id, m.facts, m.ref, m.header"
    " FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20 WHERE d.id = ANY($1::bigint[])"
)
_LONGEST_DUE = (
    "SELECT id FROM delivery WHERE epoch IS NULL AND state = 'queued' AND id >= 0"
    " AND due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED"
)
STILL_FREE = (
    "SELECT id FROM delivery WHERE epoch IS NULL AND state IN ('queued', 'suspended')"
    " AND id = ANY($1::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED"
)
_UNCLAIMED = (
    "SELECT id FROM delivery WHERE epoch IS NULL AND id = ANY($1::bigint[])"
    " ORDER BY id FOR UPDATE SKIP LOCKED"
)
_CLAIM = "UPDATE delivery SET epoch = $1, waits_for = NULL WHERE id = ANY($2::bigint[])"
_FREE = (
    "WITH freed AS (UPDATE delivery AS d SET epoch = NULL, doubtful = d.doubtful OR EXISTS"
    " (SELECT FROM sending WHERE sending.epoch = $1 AND sending.delivery = d.id)"
    " WHERE d.epoch = $1 AND d.id = ANY($2::bigint[]) RETURNING d.doubtful),"
    " longer AS (UPDATE worker SET heir_until = clock_timestamp() + interval '10 seconds'"
    " WHERE epoch = $1 AND ended)"
    " SELECT count(*) FROM freed WHERE doubtful"
)
_RELEASE = (
    "UPDATE delivery AS d SET epoch = NULL, due_at = back.due_at"
    " FROM unnest($2::bigint[], $3::bigint[]) AS back (id, due_at)"
    " WHERE d.id = back.id AND d.epoch = $1"
)

Claimed = tuple[list[Delivery], list[Damaged]]


class Torn(Exception):
    """The rows of some of these deliveries cannot be read, and nothing more can be done in this
    transaction: `unreadable` finds them, and they are set apart in another one."""

    def __init__(self, identifiers: Sequence[int], cause: Exception) -> None:
        super().__init__(str(cause))
        self.identifiers = identifiers


async def claimed_by(db: Session, epoch: int) -> list[int]:
    """The ids of an owner's claims, in order. Reads the whole queue (no index leads from an epoch
    to its claims: it would cost every message, and this is rare): a question for a reader."""
    return sorted(i for (i,) in await db.fetch("SELECT id FROM delivery WHERE epoch = $1", epoch))


async def free(db: Session, requests: Sequence[tuple[int, Sequence[int]]]) -> list[int]:
    """Free claims of owners that have ended: pairs of (epoch, ids). What the owner may have been
    sending when it died is marked; how many are."""
    return [await db.fetchval(_FREE, epoch, list(identifiers)) for epoch, identifiers in requests]


async def release(
    db: Session, requests: Sequence[tuple[Owner, Sequence[tuple[int, int]]]]
) -> list[None]:
    """Give deliveries back unattempted: pairs of (delivery id, due_at)."""
    for owner, deliveries in requests:
        ordered = sorted(deliveries)
        await db.execute(
            _RELEASE, owner.epoch, [i for i, _ in ordered], [due_at for _, due_at in ordered]
        )
    return [None] * len(requests)


async def claim(db: Session, requests: Sequence[tuple[Owner, int, int]]) -> list[Claimed]:
    """Claim queued deliveries that are due, longest due first: requests are (owner, now, limit).
    Those that others are claiming now are passed over."""
    claimed = []
    for owner, now, limit in requests:
        found = await db.fetch(_LONGEST_DUE, now, limit)
        claimed.append(await take(db, owner, [identifier for (identifier,) in found]))
    return claimed


async def claim_found(
    db: Session, requests: Sequence[tuple[Owner, Sequence[int]]]
) -> list[Claimed]:
    """Claim deliveries that were found free a moment ago, and are so still."""
    claimed = []
    for owner, found in requests:
        free_still = {i for (i,) in await db.fetch(STILL_FREE, list(found))}
        claimed.append(await take(db, owner, [i for i in found if i in free_still]))
    return claimed


async def take_any(db: Session, requests: Sequence[tuple[Owner, Sequence[int]]]) -> list[Claimed]:
    """Claim deliveries that nobody has claimed, whatever their due time or state."""
    claimed = []
    for owner, identifiers in requests:
        free_still = {i for (i,) in await db.fetch(_UNCLAIMED, list(identifiers))}
        claimed.append(await take(db, owner, [i for i in identifiers if i in free_still]))
    return claimed


async def take(db: Session, owner: Owner, identifiers: Sequence[int]) -> Claimed:
    """Claim the deliveries with these ids, whose rows are locked, in their order. Those that are
    damaged are quarantined. A worker that was declared dead is given nothing. Raises Torn."""
    deliveries: list[Delivery] = []
    damaged: list[Damaged] = []
    if not identifiers or not await alive(db, {owner.epoch}):
        return deliveries, damaged
    for identifier, *columns in await _rows(db, identifiers):
        try:
            deliveries.append(_delivery(identifier, columns, owner.epoch))
        except Damaged as error:
            await quarantine(db, [identifier])
            damaged.append(error)
    await db.execute(_CLAIM, owner.epoch, sorted(delivery.id for delivery in deliveries))
    position = {identifier: number for number, identifier in enumerate(identifiers)}
    deliveries.sort(key=lambda delivery: position[delivery.id])
    return deliveries, damaged


async def _rows(db: Session, identifiers: Sequence[int]) -> list[asyncpg.Record]:
    try:
        return await db.fetch(_ROWS, list(identifiers))
    except Exception as error:
        if is_corrupt(error):
            raise Torn(identifiers, error) from error
        raise


async def unreadable(db: Session, identifiers: Sequence[int]) -> dict[int, Damaged]:
    """Those of the deliveries that cannot be read: a question for a reader."""
    _, torn = await read_past(db, _ROWS, identifiers)
    return torn


async def quarantine(db: Session, requests: Sequence[int]) -> list[None]:
    """Set damaged deliveries apart: kept for people to look at, never claimed again."""
    await db.execute(
        "UPDATE delivery SET state = 'quarantined', epoch = NULL WHERE id = ANY($1::bigint[])",
        sorted(requests),
    )
    return [None] * len(requests)


async def quarantine_message(db: Session, requests: Sequence[str]) -> list[int]:
    """Set apart all deliveries of messages; how many each had."""
    return [
        rows_of(
            await db.execute(
                "UPDATE delivery SET state = 'quarantined', epoch = NULL FROM message AS m"
                " WHERE m.message_id = $1 AND delivery.id >= m.id << 20"
                " AND delivery.id < (m.id + 1) << 20",
                message_id,
            )
        )
        for message_id in requests
    ]


def _delivery(identifier: int, columns: Sequence[Any], epoch: int) -> Delivery:
    """A claimed delivery from its row. Raises Damaged."""
    domain, due_at, attempts, recipients, last_reply, pool, doubtful = columns[:7]
    message_id, facts, ref, header = columns[7:]
    if message_id is None:
        raise Damaged(f"delivery {identifier}: its message is missing")
    return Delivery(
        id=identifier,
        message=decode_message(message_id, facts, ref, header),
        domain=domain,
        recipients=decode_recipients(recipients),
        due_at=due_at,
        attempts=attempts,
        epoch=epoch,
        last_reply=last_reply,
        pool=pool,
        doubtful=doubtful,
    )


async def next_due(db: Session, after: int) -> int | None:
    """When the earliest free, queued delivery is due, of those that are due later than `after`."""
    found: int | None = await db.fetchval(
        "SELECT due_at FROM delivery WHERE epoch IS NULL AND state = 'queued' AND id >= 0"
        " AND due_at > $1 ORDER BY due_at LIMIT 1",
        after,
    )
    return found


async def expired(db: Session, after: int, until: int, limit: int) -> list[int]:
    """Free deliveries whose time has passed: later than `after`, not later than `until`."""
    found = await db.fetch(
        "SELECT id FROM delivery WHERE epoch IS NULL AND state IN ('queued', 'suspended')"
        " AND attempts >= 0 AND expires_at > $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3",
        after,
        until,
        limit,
    )
    return [identifier for (identifier,) in found]
