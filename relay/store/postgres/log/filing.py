"""Filing: what the outbox held goes into the log in one transaction, with statements of many rows.

Whoever files locks the one row of `log_state` first, and finds there the number of the last event:
numbers are given in the order of the commits, without gaps, and nobody who reads them in order
passes over one that comes later.
"""

from collections.abc import Sequence
from dataclasses import replace

from relay.mail.address import suppression_key
from relay.store.log_rows import Statuses, encode, is_filed, statuses_of
from relay.store.log_values import Filing, LoggedEvent, LoggedMessage, Tally
from relay.store.postgres.log import weights
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of

_LOCK = "SELECT newest_event, octets FROM log_state FOR UPDATE"
_FILED = "SELECT upto FROM log_filed WHERE outbox = $1"
_PLACE = (
    "INSERT INTO log_filed (outbox, upto) VALUES ($1, $2)"
    " ON CONFLICT (outbox) DO UPDATE SET upto = excluded.upto"
)
_GROW = "UPDATE log_state SET newest_event = newest_event + $1, octets = greatest(0, octets + $2)"
_NUMBERS = "SELECT message_id, id FROM log_message WHERE message_id = ANY($1::text[])"
_ADD_MESSAGES = (
    "INSERT INTO log_message (message_id, accepted_at, expires_at, sender, configuration_set,"
    " credential, subject, tags, told, header)"
    " SELECT message_id, accepted_at, expires_at, sender, configuration_set, credential, subject,"
    " string_to_array(tags, chr(30)), told, header"
    " FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],"
    " $7::text[], $8::text[], $9::bytea[], $10::bytea[]) WITH ORDINALITY AS new (message_id,"
    " accepted_at, expires_at, sender, configuration_set, credential, subject, tags, told, header,"
    " place) ORDER BY place ON CONFLICT (message_id) DO NOTHING"
    " RETURNING message_id, id, octet_length(told) + octet_length(header)"
)
_ADD_RECIPIENTS = (
    "INSERT INTO log_recipient (message, position, key, status)"
    " SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING"
)
_ADD_EVENTS = (
    "INSERT INTO log_event (number, message, at, told)"
    " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])"
)
_NOTE_STATUSES = (
    "UPDATE log_recipient AS r SET status = new.status"
    " FROM unnest($1::bigint[], $2::text[], $3::text[]) AS new (message, key, status)"
    " WHERE r.message = new.message AND r.key = new.key AND r.status <> new.status"
)
_ADD_TALLIES = (
    "INSERT INTO tally AS t (hour, dimension, sent, bounced, complained)"
    " SELECT hour, dimension, sum(sent), sum(bounced), sum(complained)"
    " FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])"
    " AS new (hour, dimension, sent, bounced, complained) GROUP BY hour, dimension"
    " ON CONFLICT (hour, dimension) DO UPDATE SET sent = t.sent + excluded.sent,"
    " bounced = t.bounced + excluded.bounced, complained = t.complained + excluded.complained"
)
_TALLIES = (
    "SELECT dimension, hour, sent, bounced, complained FROM tally WHERE hour >= $1"
    " ORDER BY hour, dimension"
)
_SEPARATOR = "\x1e"  # between the words of tags, which are printable
_VALUE = "\x1f"  # between the name of a tag and its value

Known = dict[str, int]
"""Rows of messages, by id."""


async def filed_upto(db: Session, outbox: str) -> int:
    """The last entry of that outbox that is filed."""
    return int(await db.fetchval(_FILED, outbox) or 0)


async def file(db: Session, requests: Sequence[Filing]) -> list[None]:
    """File, in the transaction that is open. Raises `FiledElsewhere`."""
    for filing in requests:
        await _file(db, filing)
    return [None] * len(requests)


async def _file(db: Session, filing: Filing) -> None:
    newest, _ = await db.fetchrow(_LOCK) or (0, 0)
    if is_filed(filing, await filed_upto(db, filing.outbox)):
        return
    statuses = statuses_of(filing.events)
    new, octets = await _add_messages(db, filing.messages)
    octets += await _add_recipients(db, filing.messages, new, statuses)
    known = new | await _numbers_of(db, {e.message_id for e in filing.events} - {*new, ""})
    octets += await _add_events(db, filing.events, known, newest)
    await _note_statuses(db, statuses, known, new)
    await _add_tallies(db, filing.tallies)
    await db.execute(_PLACE, filing.outbox, filing.upto)
    await db.execute(_GROW, len(filing.events), octets)


def words_of(tags: Sequence[tuple[str, str]]) -> list[str]:
    """What a message is found by that has these tags: their names, and names with values."""
    return [word for name, value in tags for word in (tag_word(name), tag_word(name, value))]


def tag_word(name: str, value: str | None = None) -> str:
    """For a tag of that name with a value, or with any (None)."""
    return text(name if value is None else f"{name}{_VALUE}{value}").replace(_SEPARATOR, " ")


async def _numbers_of(db: Session, ids: set[str]) -> Known:
    if not ids:
        return {}
    found = await db.fetch(_NUMBERS, [text(one) for one in ids])
    return {message_id: row for message_id, row in found}  # noqa: C416 - rows are no pairs


async def _add_messages(db: Session, messages: Sequence[LoggedMessage]) -> tuple[Known, int]:
    """Those that the log has already stay as they are: the rows of the others, and the octets that
    these take."""
    if not messages:
        return {}, 0
    columns = zip(*map(_columns, messages), strict=True)
    added = await db.fetch(_ADD_MESSAGES, *map(list, columns))
    known = {message_id: row for message_id, row, _ in added}
    return known, sum(size + weights.MESSAGE for _, _, size in added)


def _columns(message: LoggedMessage) -> tuple[object, ...]:
    return (
        message.id,
        message.accepted_at,
        message.expires_at,
        text(suppression_key(message.reverse_path)),
        text(message.configuration_set),
        text(message.credential),
        text(message.subject),
        _SEPARATOR.join(words_of(message.tags)),
        encode(replace(message, header=b"")),
        message.header,
    )


async def _add_recipients(
    db: Session, messages: Sequence[LoggedMessage], new: Known, statuses: Statuses
) -> int:
    """Of new messages; the octets that they take."""
    rows = []
    for message in messages:
        if message.id in new:
            for position, address in enumerate(message.recipients):
                key = suppression_key(address)
                status = statuses.get((message.id, key), "queued")
                rows.append((new[message.id], position, text(key), status))
    if rows:
        await db.execute(_ADD_RECIPIENTS, *map(list, zip(*rows, strict=True)))
    return len(rows) * weights.RECIPIENT


async def _add_events(db: Session, events: Sequence[LoggedEvent], known: Known, newest: int) -> int:
    """The octets that they take."""
    if not events:
        return 0
    told = [encode(event) for event in events]
    await db.execute(
        _ADD_EVENTS,
        list(range(newest + 1, newest + 1 + len(events))),
        [known.get(event.message_id, 0) for event in events],
        [event.at for event in events],
        told,
    )
    return sum(map(len, told)) + len(told) * weights.EVENT


async def _note_statuses(db: Session, statuses: Statuses, known: Known, new: Known) -> None:
    """Of messages that were filed before; new ones have theirs."""
    changed = [
        (known[message_id], text(key), status)
        for (message_id, key), status in statuses.items()
        if message_id in known and message_id not in new
    ]
    if changed:
        await db.execute(_NOTE_STATUSES, *map(list, zip(*changed, strict=True)))


async def _add_tallies(db: Session, tallies: Sequence[Tally]) -> None:
    if tallies:
        rows = [(t.hour, text(t.dimension), t.sent, t.bounced, t.complained) for t in tallies]
        await db.execute(_ADD_TALLIES, *map(list, zip(*rows, strict=True)))


async def tallies_since(db: Session, hour: int) -> list[Tally]:
    """Oldest first."""
    return [Tally(*fields) for fields in await db.fetch(_TALLIES, hour)]


async def prune_tallies(db: Session, requests: Sequence[int]) -> list[int]:
    """How many rows went, that were before an hour."""
    return [
        rows_of(await db.execute("DELETE FROM tally WHERE hour < $1", hour)) for hour in requests
    ]
