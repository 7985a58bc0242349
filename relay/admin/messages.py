"""What became of messages, as operators look it up: answered from the message log, and from what is
kept of attempts, with or without a running relay."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from relay.admin.control import Refused
from relay.admin.timeline import summary
from relay.mail.message_id import is_message_id
from relay.store.interface import AttemptStore
from relay.store.log_interface import Filed
from relay.store.log_values import (
    FoundMessage,
    LoggedEvent,
    LoggedMessage,
    MessageQuery,
    RecipientStatus,
    SearchResult,
)
from relay.store.values import Attempt

MOST_LISTED = 1_000
MOST_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event of a message: `summary` is a line for people, `facts` what is kept of it, field for
    field as in `relay.store.log_values`."""

    id: str
    type: str
    at: int
    recipients: tuple[str, ...]
    summary: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TimelineRequest:
    """One message."""

    message_id: str


@dataclass(frozen=True, slots=True)
class MessageTimeline:
    """A message, what its recipients' last events say, and all that happened to it: events and
    attempts, each in order of time. `header` is its header block, as far as it is kept. `is_cut`:
    there are more than `MOST_TOLD` of either, and these are the first events and the last
    attempts."""

    message: LoggedMessage
    header: str
    statuses: tuple[tuple[str, RecipientStatus], ...]
    events: tuple[ToldEvent, ...]
    attempts: tuple[Attempt, ...]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class MessageOperations:
    """Looks messages up."""

    log: Filed
    attempts: AttemptStore

    async def search(self, query: MessageQuery) -> SearchResult:
        """Newest first, without header blocks. Raises `Refused`."""
        if not 1 <= query.limit <= MOST_LISTED:
            raise Refused(f"the limit of a listing is from 1 to {MOST_LISTED}, not {query.limit}")
        if query.before and not is_message_id(query.before):
            raise Refused(f"{query.before!r} is not a message id")
        result = await self.log.search(query)
        return replace(result, messages=tuple(_without_header(one) for one in result.messages))

    async def timeline(self, request: TimelineRequest) -> MessageTimeline:
        """Raises `Refused` where the log has no such message."""
        result = await self.log.search(MessageQuery(message_id=request.message_id, limit=1))
        if not result.messages:
            raise Refused(
                f"the message log has no message {request.message_id}: it keeps them for a time"
                " (message_log.keep), and is about a second behind the mail",
                "not_found",
            )
        found = result.messages[0]
        message = found.message
        events = await self.log.events_of(message.id, MOST_TOLD + 1)
        attempts = await self.attempts.of(message.id, MOST_TOLD + 1)
        return MessageTimeline(
            message=replace(message, header=b""),
            header=message.header.decode("utf-8", "backslashreplace"),
            statuses=found.statuses,
            events=tuple(_told(event) for event in events[:MOST_TOLD]),
            attempts=tuple(attempts[-MOST_TOLD:]),
            is_cut=max(len(events), len(attempts)) > MOST_TOLD,
        )


def _without_header(found: FoundMessage) -> FoundMessage:
    return replace(found, message=replace(found.message, header=b""))


def _told(event: LoggedEvent) -> ToldEvent:
    return ToldEvent(
        event.id,
        event.type,
        event.at,
        event.recipients,
        summary(event),
        msgspec.to_builtins(event.facts),
    )
