"""What operators ask and change: the queue by filter, depths, stored login secrets.

What is changed is locked first, in order of id, and then judged: another node may have claimed or
settled it since it was found.
"""

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from relay.store.codec import decode_message
from relay.store.delivery_rows import DELIVERY_BITS
from relay.store.postgres.damage import read_one, read_past
from relay.store.postgres.errors import is_corrupt, is_malformed
from relay.store.postgres.session import Session, rows_of
from relay.store.queue_rows import entry_of, matches
from relay.store.values import (
    Message,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    Secret,
    State,
)

EXAMINED = 20_000
"""Rows that one question looks at, so that it never takes long."""

_COMPARED = 500  # deliveries whose content is read at once
_LAST_ID = (1 << 63) - 1

_ENTRIES = (
    "SELECT d.id, d.state, d.accepted_at, d.due_at, d.attempts, d.configuration_set, d.domain,"
    " d.recipients, d.epoch IS NOT NULL, d.last_reply, d.pool, d.suspended_by,"
    " d.waits_for, d.doubtful, m.message_id, m.facts, m.header"
    " FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20"
    " WHERE d.id = ANY($1::bigint[]) ORDER BY d.id"
)
_ENTRIES_ALONE = (
    "SELECT id, state, accepted_at, due_at, attempts, configuration_set, domain,"
    " recipients, epoch IS NOT NULL, last_reply, pool, suspended_by, waits_for, doubtful,"
    " NULL, NULL, NULL FROM delivery WHERE id = ANY($1::bigint[])"
)
_CONTENTS = (
    "SELECT d.id, d.recipients, m.facts FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20"
    " WHERE d.id = ANY($1::bigint[]) ORDER BY d.id"
)
_ROW_OF = "SELECT id FROM message WHERE message_id = $1"
_LOCK = "SELECT FROM delivery WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"
_SET_STATE = (
    "UPDATE delivery SET state = $1::text WHERE id = ANY($2::bigint[]) AND state <> $1::text"
    " AND CASE $3::text WHEN '' THEN state <> 'quarantined' ELSE state = $3::text END"
)
_RETRY_NOW = (
    "UPDATE delivery SET due_at = $1, waits_for = NULL"
    " WHERE id = ANY($2::bigint[]) AND due_at > $1 AND epoch IS NULL"
)
_MOVE = (
    "UPDATE delivery SET pool = $1::text, state = CASE WHEN state = 'suspended'"
    " AND suspended_by >= 'source:' AND suspended_by < 'source;'"
    " THEN 'queued' ELSE state END, waits_for = NULL, due_at = CASE"
    " WHEN waits_for IS NULL THEN due_at ELSE least(due_at, accepted_at) END"
    " WHERE id = ANY($2::bigint[]) AND pool <> $1::text"
)
_DEPTHS = (
    "SELECT configuration_set, count(*) FILTER (WHERE state = 'queued'),"
    " count(*) FILTER (WHERE state = 'held'), min(accepted_at),"
    " count(*) FILTER (WHERE state = 'quarantined'),"
    " count(*) FILTER (WHERE state = 'suspended')"
    " FROM delivery GROUP BY configuration_set"
)


async def page(
    db: Session,
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
        row = await db.fetchval(_ROW_OF, which.message_id)
        if row is None:
            return [], 0
        first = max(first, (row << DELIVERY_BITS) - 1)
        last = min(last, (row << DELIVERY_BITS) + (1 << DELIVERY_BITS) - 1)
    bounds = first, last
    try:
        return await _page(db, which, bounds, unclaimed, quarantined)
    except Exception as error:
        if not (is_malformed(error) or is_corrupt(error)):
            raise
    # Something in there is damaged, and the server gives the others up with it.
    plain = replace(which, recipient="", credential="", sender="")
    found, end = await _page(db, plain, bounds, unclaimed, quarantined)
    return await _compare_here(db, which, found), end


async def _page(
    db: Session, which: QueueFilter, bounds: tuple[int, int], unclaimed: bool, quarantined: bool
) -> tuple[list[int], int]:
    table, conditions, parameters = _conditions(which, unclaimed, quarantined)
    rows = await db.fetch(
        f"SELECT d.id, {conditions} FROM (SELECT * FROM delivery WHERE id > $1 AND id <= $2"  # noqa: S608
        f" ORDER BY id LIMIT {EXAMINED}) d {table} ORDER BY d.id",
        *bounds,
        *parameters,
    )
    found = [identifier for identifier, matches in rows if matches]
    return found, rows[-1][0] if len(rows) == EXAMINED else 0


async def _compare_here(db: Session, which: QueueFilter, found: Sequence[int]) -> list[int]:
    """Those of `found` whose content matches; what is damaged matches nothing."""
    matching: list[int] = []
    for start in range(0, len(found), _COMPARED):
        rows, _ = await read_past(db, _CONTENTS, found[start : start + _COMPARED])
        matching += [i for i, recipients, facts in rows if matches(which, recipients, facts)]
    return matching


_FACTS = "convert_from(m.facts, 'UTF8')::json"
_TO = (
    "EXISTS (SELECT FROM json_array_elements(convert_from(d.recipients, 'UTF8')::json) AS r"
    " WHERE lower((r.value ->> 'address') COLLATE \"C\") = {})"
)


def _conditions(
    which: QueueFilter, unclaimed: bool, quarantined: bool
) -> tuple[str, str, list[object]]:
    """What else to join, the conditions, and their parameters, from `$3` on."""
    conditions: list[str] = []
    parameters: list[object] = []

    def add(condition: str, *values: object) -> None:
        """Each `{}` of the condition is the place of a value."""
        places = range(len(parameters) + 3, len(parameters) + 3 + len(values))
        conditions.append(condition.format(*(f"${place}" for place in places)))
        parameters.extend(values)

    if which.domain:
        add("d.domain = {}", which.domain.lower())
    if which.configuration_set:
        add("d.configuration_set = {}", which.configuration_set)
    if which.state:
        add("d.state = {}", which.state)
    if not quarantined and which.state != "quarantined":
        add("d.state <> 'quarantined'")
    if unclaimed:
        add("d.epoch IS NULL")
    if which.pool:
        sets = "(d.pool = '' AND d.configuration_set = ANY({}::text[]))"
        add(f"(d.pool = {{}} OR {sets})", which.pool, list(which.pool_sets))
    if which.recipient:
        add(_TO, which.recipient.lower())
    if which.credential:
        add(f"{_FACTS} ->> 'credential' = {{}}", which.credential)
    if which.sender:
        path = f"{_FACTS} -> 'envelope' ->> 'reverse_path'"
        add(f'lower(({path}) COLLATE "C") = {{}}', which.sender.lower())
    needs_message = bool(which.credential or which.sender)
    table = "LEFT JOIN message m ON m.id = d.id >> 20" if needs_message else ""
    return table, " AND ".join(conditions) or "true", parameters


async def newest(db: Session) -> int:
    """The highest id of a delivery; 0 where there is none."""
    return await db.fetchval("SELECT max(id) FROM delivery") or 0


async def entries(db: Session, identifiers: Sequence[int]) -> list[QueueEntry]:
    """Those deliveries, in order of id. Damaged ones show what can be read of them."""
    rows, torn = await read_past(db, _ENTRIES, identifiers)
    if torn:
        # The message cannot be read; the delivery beside it can.
        rows += await db.fetch(_ENTRIES_ALONE, list(torn))
        rows.sort(key=itemgetter(0))
    return [entry_of(row) for row in rows]


async def depths(db: Session) -> list[QueueDepth]:
    """How much each configuration set has queued, held and in quarantine."""
    return [QueueDepth(*row) for row in await db.fetch(_DEPTHS)]


async def set_state(db: Session, requests: Sequence[tuple[Sequence[int], str, State]]) -> list[int]:
    """Put deliveries that are in a state (empty: in any but quarantine) into another; how many. The
    mark holds for claimed ones when they come back."""
    return [
        await _change(db, _SET_STATE, state, identifiers, before)
        for identifiers, before, state in requests
    ]


async def retry_now(db: Session, requests: Sequence[tuple[Sequence[int], int]]) -> list[int]:
    """Make unclaimed deliveries due."""
    return [await _change(db, _RETRY_NOW, now, identifiers) for identifiers, now in requests]


async def move(db: Session, requests: Sequence[tuple[Sequence[int], str]]) -> list[int]:
    """Have deliveries go through a pool (`""`: that of their set). What waits for suspended sources
    is queued again, and what was put off for want of one is due as when it was accepted: the other
    pool may have some."""
    return [await _change(db, _MOVE, pool, identifiers) for identifiers, pool in requests]


async def _change(
    db: Session, statement: str, value: object, identifiers: Sequence[int], *more: object
) -> int:
    """Run `statement` over deliveries that nobody else changes meanwhile; how many it changed."""
    await db.execute(_LOCK, list(identifiers))
    return rows_of(await db.execute(statement, value, list(identifiers), *more))


async def find_message(db: Session, message_id: str) -> Message | None:
    """A stored message, without its body. Raises Damaged."""
    row = await read_one(
        db,
        f"message {message_id}",
        "SELECT message_id, facts, ref, header FROM message WHERE message_id = $1",
        message_id,
    )
    return None if row is None else decode_message(*row)


async def add_secret(db: Session, requests: Sequence[Secret]) -> list[None]:
    """Keep login secrets."""
    await db.executemany(
        "INSERT INTO secret (credential, salt, digest, created_at, revoked_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        [(s.credential, s.salt, s.digest, s.created_at, s.revoked_at) for s in requests],
    )
    return [None] * len(requests)


async def secrets(db: Session) -> list[Secret]:
    """All that were ever made, in order."""
    rows = await db.fetch(
        "SELECT credential, salt, digest, created_at, id, revoked_at FROM secret ORDER BY id"
    )
    return [Secret(*row) for row in rows]


async def revoke_secrets(db: Session, requests: Sequence[tuple[str, int]]) -> list[int]:
    """Revoke what is not revoked yet: (credential, now)."""
    return [
        rows_of(
            await db.execute(
                "UPDATE secret SET revoked_at = $2 WHERE credential = $1 AND revoked_at IS NULL",
                credential,
                now,
            )
        )
        for credential, now in requests
    ]
