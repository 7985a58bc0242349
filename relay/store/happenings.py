"""What happened to messages, as the outbox keeps it until the message log has it.

Each happening is written in the transaction that makes it true, so that a crash neither loses nor
invents one, and read in the order in which they were committed. They are what was decided, in short
and without rendering: events, the log and what is counted of senders are made from them later
(`relay.events`). Times are UTC milliseconds.
"""

from dataclasses import dataclass
from typing import Literal

from relay.store.attempted import Attempted
from relay.store.values import Message, Suppressed

__all__ = [
    "Attempted",
    "Complained",
    "Happening",
    "OutboxEntry",
    "Paused",
    "PausedKind",
    "Rejected",
    "Returned",
    "Sent",
    "Unreadable",
]

ReturnedAction = Literal["failed", "delayed", "delivered", "relayed", "expanded"]
PausedKind = Literal["set", "credential"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A message was accepted. `suppressed` are those of its recipients who are not sent to; where
    these are all of them the message was never queued. Its body is not at hand, and of its header
    block no more than `log_values.MOST_LOGGED_HEADER` octets and one."""

    message: Message
    suppressed: tuple[Suppressed, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that was accepted is not sent, for what it holds. `reason` is SES's `Bad content`,
    or says more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A delivery status notification came back to a return-path of ours (RFC 3464).

    `recipient` is the number of the recipient in the envelope, from the return-path; None where the
    transaction had several, and `address`, what the report says, must tell. Texts are made harmless
    and bounded. `reporting_mta` and `remote_mta` are names as in the report's fields, without type.
    """

    recipient: int | None
    address: str
    action: ReturnedAction
    status: str = ""
    diagnostic: str = ""
    reporting_mta: str = ""
    remote_mta: str = ""


@dataclass(frozen=True, slots=True)
class Complained:
    """A recipient complained (RFC 5965). `feedback_type` and `user_agent` are the report's;
    `arrived_at` is when its reporter says that the message had arrived (None: it does not)."""

    recipient: int | None
    address: str = ""
    feedback_type: str = "abuse"
    user_agent: str = ""
    arrived_at: int | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """Sending was paused for a bad reputation, or goes on again (`paused` False). `reason` is a
    sentence with the figures. It belongs to no message."""

    kind: PausedKind
    name: str
    paused: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that is damaged. What it told of is true all the same."""

    error: str


Happening = Sent | Attempted | Rejected | Returned | Complained | Paused | Unreadable


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One happening with its place in the order of all. `id` is never used again."""

    id: int
    message_id: str
    at: int
    what: Happening
