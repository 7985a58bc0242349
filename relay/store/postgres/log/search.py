"""Looking messages up, newest first.

An index leads from one message that may be wanted to the next older one: by message id, recipient
or sender where one is named, else by the number of the row. From there a window of rows is looked
through, and so on, until enough are found or the time is up: no statement looks through more than
one window, whatever the server's statistics make of it.

Rows are numbered as they are filed, which is but for moments the order in which messages were
accepted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.mail.address import suppression_key
from relay.store import log_rows
from relay.store.log_matching import escaped, is_address
from relay.store.log_values import (
    FoundMessage,
    LoggedEvent,
    LoggedMessage,
    MessageQuery,
    RecipientStatus,
    SearchResult,
)
from relay.store.postgres.log.filing import tag_word
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session

_WINDOW = 20_000
_SECONDS = 10.0
_ABREAST = 1_000  # messages that may be filed in another order than they were accepted
_BEYOND = 1 << 62  # no row has that number

_MESSAGES = "SELECT told, header FROM log_message WHERE message_id = ANY($1::text[])"
_EVENTS_OF = (
    "SELECT number, told FROM log_event WHERE message ="
    " (SELECT id FROM log_message WHERE message_id = $1) ORDER BY number LIMIT $2"
)
_STATUSES = (
    "SELECT message, position, status FROM log_recipient WHERE message = ANY($1::bigint[])"
    " ORDER BY message, position"
)
_NEWEST_UNTIL = (
    "SELECT max(id) FROM (SELECT id FROM log_message WHERE accepted_at < $1"
    " ORDER BY accepted_at DESC LIMIT $2) AS these"
)
_OLDEST_SINCE = (
    "SELECT min(id) FROM (SELECT id FROM log_message WHERE accepted_at >= $1"
    " ORDER BY accepted_at LIMIT $2) AS these"
)
_ACCEPTED = "SELECT accepted_at FROM log_message WHERE id >= $1 ORDER BY id LIMIT 1"
_BY_ROW = "SELECT max(id) FROM log_message WHERE id < $1"
_BY_ID = "SELECT max(id) FROM log_message WHERE id < $1 AND message_id = $2"
_BY_RECIPIENT = "SELECT max(message) FROM log_recipient WHERE message < $1 AND key = $2"
_BY_SENDER = "SELECT max(id) FROM log_message WHERE id < $1 AND sender = $2"


@dataclass(slots=True)
class _Wanted:
    """Conditions, and what is put into them."""

    conditions: list[str] = field(default_factory=list)
    parameters: list[object] = field(default_factory=list)

    def put(self, value: object) -> str:
        """A place in a condition."""
        self.parameters.append(value)
        return f"${len(self.parameters)}"


async def messages(db: Session, ids: Sequence[str]) -> dict[str, LoggedMessage]:
    """Those that are known."""
    found = await db.fetch(_MESSAGES, [text(one) for one in ids])
    return {one.id: one for one in log_rows.messages((told, header) for told, header in found)}


async def events_of(db: Session, message_id: str, limit: int) -> list[LoggedEvent]:
    """In order of number."""
    found = await db.fetch(_EVENTS_OF, text(message_id), limit)
    return log_rows.events((number, told) for number, told in found)


async def search(db: Session, query: MessageQuery) -> SearchResult:
    """See `MessageLog.search`."""
    top, last = await _top(db, query), await _last_row(db, query)
    lead, key = _lead(query)
    found: list[Any] = []
    deadline = time.monotonic() + _SECONDS
    newest = await _newest_below(db, top, lead, key)
    while len(found) < query.limit and newest > last:
        bottom = newest + 1 - _WINDOW
        found += await _look_through(db, query, bottom, newest, query.limit - len(found))
        newest = await _newest_below(db, bottom, lead, key)
        if time.monotonic() >= deadline:
            break
    looked_back_to = 0
    if len(found) < query.limit and newest > last:
        looked_back_to = await db.fetchval(_ACCEPTED, bottom) or 0
    return SearchResult(await _shown(db, found), looked_back_to)


async def _top(db: Session, query: MessageQuery) -> int:
    """The row below which is looked."""
    if query.before:
        found = await db.fetchval(
            "SELECT id FROM log_message WHERE message_id = $1", text(query.before)
        )
        return found or 0
    if query.until is None:
        return _BEYOND
    return (await db.fetchval(_NEWEST_UNTIL, query.until, _ABREAST) or 0) + 1


async def _last_row(db: Session, query: MessageQuery) -> int:
    """The row down to which, but without which, is looked."""
    oldest = await db.fetchval(_OLDEST_SINCE, query.since, _ABREAST)
    return _BEYOND if oldest is None else oldest - 1


def _lead(query: MessageQuery) -> tuple[str, str]:
    """The question for the next row, and what is put into it beside the last (empty: nothing)."""
    if query.message_id:
        return _BY_ID, text(query.message_id)
    if is_address(query.recipient):
        return _BY_RECIPIENT, text(suppression_key(query.recipient))
    if is_address(query.sender):
        return _BY_SENDER, text(suppression_key(query.sender))
    return _BY_ROW, ""


async def _newest_below(db: Session, row: int, lead: str, key: str) -> int:
    """0 where there is none."""
    return await db.fetchval(lead, row, *((key,) if key else ())) or 0


async def _look_through(
    db: Session, query: MessageQuery, bottom: int, newest: int, limit: int
) -> list[Any]:
    """Rows that are wanted among those of a window, newest first."""
    wanted = _Wanted()
    first, last, most = wanted.put(bottom), wanted.put(newest), wanted.put(limit)
    _describe(query, wanted)
    conditions = "".join(f" AND {condition}" for condition in wanted.conditions)
    return await db.fetch(
        f"SELECT id, told, header FROM log_message AS m WHERE id >= {first} AND id <= {last}"  # noqa: S608 - our own words
        f"{conditions} ORDER BY id DESC LIMIT {most}",
        *wanted.parameters,
    )


def _describe(query: MessageQuery, wanted: _Wanted) -> None:
    put, conditions = wanted.put, wanted.conditions
    if query.message_id:
        conditions.append(f"message_id = {put(text(query.message_id))}")
    if query.recipient or query.status:
        conditions.append(_about_recipients(query, wanted))
    if query.sender:
        conditions.append(_about_key("sender", query.sender, wanted))
    if query.subject:
        conditions.append(f"subject ILIKE {put(f'%{escaped(text(query.subject))}%')}")
    if query.configuration_set:
        conditions.append(f"configuration_set = {put(text(query.configuration_set))}")
    if query.credential:
        conditions.append(f"credential = {put(text(query.credential))}")
    if query.tag is not None:
        name, value = query.tag
        conditions.append(f"{put(tag_word(name, value or None))} = ANY(tags)")
    if query.since:
        conditions.append(f"accepted_at >= {put(query.since)}")
    if query.until is not None:
        conditions.append(f"accepted_at < {put(query.until)}")


def _about_recipients(query: MessageQuery, wanted: _Wanted) -> str:
    conditions = ["r.message = m.id"]
    if query.recipient:
        conditions.append(_about_key("r.key", query.recipient, wanted))
    if query.status:
        conditions.append(f"r.status = {wanted.put(query.status)}")
    return f"EXISTS (SELECT FROM log_recipient AS r WHERE {' AND '.join(conditions)})"


def _about_key(column: str, looked_for: str, wanted: _Wanted) -> str:
    """An address, or all of a domain."""
    if is_address(looked_for):
        return f"{column} = {wanted.put(text(suppression_key(looked_for)))}"
    return f"{column} LIKE {wanted.put(f'%{escaped(text(looked_for.lower()))}')}"


async def _shown(db: Session, found: Sequence[Any]) -> tuple[FoundMessage, ...]:
    """With the statuses of their recipients. What cannot be read is left out."""
    known = {row: one for row, told, header in found for one in log_rows.messages([(told, header)])}
    statuses: dict[int, list[tuple[str, RecipientStatus]]] = {row: [] for row in known}
    for row, position, status in await db.fetch(_STATUSES, list(known)) if known else ():
        statuses[row].append((known[row].recipients[position], status))
    return tuple(FoundMessage(one, tuple(statuses[row])) for row, one in known.items())
