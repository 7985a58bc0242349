"""Pruning: the oldest messages go, with their events, in steps that keep nobody waiting."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.store.postgres.log import weights
from relay.store.postgres.session import Session, rows_of

_EVER = 1 << 62
_ROWS = 5_000  # of events and recipients that a step removes, until the last message's are gone
_GRACE_MS = 86_400_000  # in which what has expired is given up, and told of

_LOCK = "SELECT octets FROM log_state FOR UPDATE"
_SHRINK = "UPDATE log_state SET octets = greatest(0, octets - $1)"
# Each condition is asked of one message after the other, in the order of their age. Mail that is
# still tried stays: events to come are told with what is known of it.
_OLDEST = (
    "SELECT id, accepted_at, (SELECT count(*) FROM log_event WHERE message = m.id),"
    " (SELECT count(*) FROM log_recipient WHERE message = m.id)"
    " FROM log_message AS m WHERE accepted_at >= $1 AND accepted_at < $2"
    " AND coalesce((SELECT max(number) FROM log_event WHERE message = m.id), 0) < $3"
    " AND (expires_at <= $4 OR (SELECT bool_or(status IN ('queued', 'delayed'))"
    " FROM log_recipient WHERE message = m.id) IS NOT TRUE)"
    " ORDER BY accepted_at LIMIT $5"
)
_REMOVE_EVENTS = (
    "WITH gone AS (DELETE FROM log_event WHERE message = ANY($1::bigint[]) RETURNING told)"
    " SELECT coalesce(sum(octet_length(told) + $2::bigint), 0)::bigint FROM gone"
)
_REMOVE_RECIPIENTS = "DELETE FROM log_recipient WHERE message = ANY($1::bigint[])"
_REMOVE_MESSAGES = (
    "WITH gone AS (DELETE FROM log_message WHERE id = ANY($1::bigint[]) RETURNING told, header)"
    " SELECT coalesce(sum(octet_length(told) + octet_length(header) + $2::bigint), 0)::bigint"
    " FROM gone"
)
_REMOVE_STRAY = (
    "WITH gone AS (DELETE FROM log_event WHERE number IN (SELECT number FROM log_event"
    " WHERE message = 0 AND at < $1 AND number < $2 ORDER BY number LIMIT $3) RETURNING told)"
    " SELECT coalesce(sum(octet_length(told) + $4::bigint), 0)::bigint FROM gone"
)


@dataclass(frozen=True, slots=True)
class Step:
    """What `MessageLog.prune` is asked for; messages that were accepted before `since` are passed
    over: what has to stay is looked at once, and not in each step."""

    before: int
    most_octets: int
    keep_from: int
    limit: int
    now: int
    since: int


async def prune(db: Session, requests: Sequence[Step]) -> list[tuple[int, int]]:
    """How many messages went, and from where the next step goes on (0: from the oldest)."""
    return [await _prune(db, step) for step in requests]


async def _prune(db: Session, step: Step) -> tuple[int, int]:
    octets = await db.fetchval(_LOCK)
    before = _EVER if octets > step.most_octets else step.before
    gone, reached = await _oldest(db, step, before)
    freed = await db.fetchval(_REMOVE_STRAY, step.before, step.keep_from, _ROWS, weights.EVENT)
    if gone:
        freed += await db.fetchval(_REMOVE_EVENTS, gone, weights.EVENT)
        freed += rows_of(await db.execute(_REMOVE_RECIPIENTS, gone)) * weights.RECIPIENT
        freed += await db.fetchval(_REMOVE_MESSAGES, gone, weights.MESSAGE)
    if freed:
        await db.execute(_SHRINK, freed)
    return len(gone), reached


async def _oldest(db: Session, step: Step, before: int) -> tuple[list[int], int]:
    """Rows of the oldest messages that are tried no more and of which nobody is still to be told,
    as many as one step may remove; and when the last of them was accepted (0: there is none)."""
    gone: list[int] = []
    removed = reached = 0
    for row, accepted_at, events, recipients in await db.fetch(
        _OLDEST, step.since, before, step.keep_from, step.now - _GRACE_MS, step.limit
    ):
        gone.append(row)
        reached = accepted_at
        removed += events + recipients
        if removed >= _ROWS:
            break
    return gone, reached
