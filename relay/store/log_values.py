"""What the message log keeps: messages, what became of them, and who has been told.

A *logged message* is what is known of a message without its body. A *logged event* is one thing
that happened to some of its recipients: SES's events, each with facts of its own kind, which
`relay.events.ses` renders. Times are UTC milliseconds, addresses as the client gave them.
"""

from dataclasses import dataclass, field
from typing import Literal

from relay.store.attempted import NO_WAY, Way

EventType = Literal[
    "Send",
    "Reject",
    "Delivery",
    "DeliveryDelay",
    "Bounce",
    "Complaint",
    "SendingPaused",
    "SendingResumed",
]
"""As SES spells `eventType`. The last two are the relay's own: SES has no such events."""
RecipientStatus = Literal[
    "queued", "delayed", "delivered", "bounced", "suppressed", "complained", "rejected"
]
"""What the last event says of a recipient."""

MOST_LOGGED_HEADER = 10_240
"""Octets of the header block that are kept: as much as SES tells in events."""


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message as it was accepted.

    `header` are whole fields, CRLF at the end of each, at most `MOST_LOGGED_HEADER` octets of them;
    `header_is_cut` says that there were more. `subject` is decoded, for people. `client` is the
    IP address it came from, `tls` the version that the client used. `is_simulated`: all recipients
    are addresses of the mailbox simulator, so that it counts nowhere.
    """

    id: str
    accepted_at: int
    expires_at: int
    reverse_path: str
    recipients: tuple[str, ...]
    credential: str
    configuration_set: str
    identity: str
    size: int
    subject: str = ""
    client: str = ""
    tls: str = ""
    header: bytes = field(default=b"", repr=False)
    header_is_cut: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class EventRecipient:
    """A recipient of a bounce or a delay: `status` is an enhanced code, `diagnostic` what was said
    (without `smtp; `), `action` a word of RFC 3464."""

    address: str
    status: str = ""
    diagnostic: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class SendFacts:
    """The message was accepted."""


@dataclass(frozen=True, slots=True)
class RejectFacts:
    """The message is not sent, for what it holds."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """A receiving server took it. `processing_ms` since it was accepted."""

    processing_ms: int
    smtp_response: str
    way: Way = NO_WAY


@dataclass(frozen=True, slots=True)
class DelayFacts:
    """It is tried again until `expires_at`. `delay_type` is one of SES's words."""

    delay_type: str
    recipients: tuple[EventRecipient, ...]
    expires_at: int
    way: Way = NO_WAY


@dataclass(frozen=True, slots=True)
class BounceFacts:
    """It will not be delivered. `type` and `subtype` are SES's, `category` and `rule` the relay's
    own finer words. `reporting_mta` is a host's name. `is_returned`: a report that came later said
    so, after a server had taken it. `counts`: it is a hard bounce that reputation counts."""

    type: str
    subtype: str
    recipients: tuple[EventRecipient, ...]
    feedback_id: str
    reporting_mta: str = ""
    category: str = ""
    rule: str = ""
    is_returned: bool = False
    counts: bool = False
    way: Way = NO_WAY


@dataclass(frozen=True, slots=True)
class ComplaintFacts:
    """A recipient called it spam. `subtype` is None, or `OnAccountSuppressionList`."""

    feedback_id: str
    subtype: str | None = None
    user_agent: str = ""
    feedback_type: str = ""
    arrived_at: int | None = None
    counts: bool = True
    way: Way = NO_WAY


@dataclass(frozen=True, slots=True)
class PauseFacts:
    """Sending of a configuration set or credential (`kind`, `name`) was paused, or goes on."""

    kind: str
    name: str
    reason: str


EventFacts = (
    SendFacts | RejectFacts | DeliveryFacts | DelayFacts | BounceFacts | ComplaintFacts | PauseFacts
)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event. `id` is the same whenever it is told, for consumers to tell duplicates by;
    `number` is its place in the log (0 before it is filed). Of one message, events are numbered in
    the order in which they happened."""

    id: str
    type: EventType
    message_id: str
    at: int
    recipients: tuple[str, ...]
    facts: EventFacts
    number: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What reputation counts of one `dimension` (`account`, `set:NAME`, `credential:NAME`,
    `identity:NAME`, `pool:NAME`, `source:ADDRESS`, `provider:NAME`) in one hour (hours since the
    epoch): recipients with an outcome, hard bounces and complaints among them."""

    dimension: str
    hour: int
    sent: int = 0
    bounced: int = 0
    complained: int = 0

    def __add__(self, more: "Tally") -> "Tally":
        """Of the same dimension and hour."""
        return Tally(
            self.dimension,
            self.hour,
            self.sent + more.sent,
            self.bounced + more.bounced,
            self.complained + more.complained,
        )


@dataclass(frozen=True, slots=True)
class Filing:
    """What is put into the log in one transaction: all that the outbox of that name held up to the
    entry `upto`. A second filing of the same entries changes nothing. `after` is the entry that was
    filed last when this one was made (None: whichever it was)."""

    outbox: str
    upto: int
    messages: tuple[LoggedMessage, ...] = ()
    events: tuple[LoggedEvent, ...] = ()
    tallies: tuple[Tally, ...] = ()
    after: int | None = None


@dataclass(frozen=True, slots=True)
class MessageQuery:
    """Which messages are looked for; empty fields match all. Texts are found in any case; `sender`
    and `recipient` may be an address or `@domain`; `subject` is a part of it. `tag` is a name with
    a value (`""`: any). `before` is the id of the last message of the page before: newest come
    first."""

    message_id: str = ""
    recipient: str = ""
    sender: str = ""
    subject: str = ""
    tag: tuple[str, str] | None = None
    configuration_set: str = ""
    credential: str = ""
    status: RecipientStatus | Literal[""] = ""
    since: int = 0
    until: int | None = None
    limit: int = 50
    before: str = ""


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message that was looked for, and what its recipients' last events say, in their order."""

    message: LoggedMessage
    statuses: tuple[tuple[str, RecipientStatus], ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search has found. `looked_back_to`: its time was up, and it looked no further back
    than to messages that were accepted then (UTC ms); 0 where it looked at all of them, or found
    as many as were wanted."""

    messages: tuple[FoundMessage, ...] = ()
    looked_back_to: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a destination would not take, after `attempts`; `error` says why."""

    destination: str
    event: LoggedEvent
    attempts: int
    error: str
    at: int
    id: int = 0


@dataclass(frozen=True, slots=True)
class TellingCursor:
    """How far a destination has come: all events up to `upto` are done. `ahead` are the numbers of
    those beyond it that are done already; `dropped` those that it will never get, for its backlog
    was full or they were pruned."""

    destination: str
    upto: int
    ahead: tuple[int, ...] = ()
    dropped: int = 0
