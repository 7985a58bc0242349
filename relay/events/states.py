"""What operators see of destinations. Times are UTC milliseconds."""

from dataclasses import dataclass
from typing import Literal

from relay.store.log_values import DeadLetter

DestinationCondition = Literal["up", "down", "off", "elsewhere"]


@dataclass(frozen=True, slots=True)
class DestinationState:
    """One destination now. `down` is one that has taken nothing since `failing_since`, for the
    reason in `last_error`; it is tried again at `next_try_at`. `off` is one that is not enabled.
    `elsewhere` is one that the node `told_by` tells: how it fares there is not known here.
    `backlog` events wait, the oldest of which happened at `oldest_at` (0: none). `told` and
    `last_told_at` are since the relay started."""

    name: str
    type: str
    where: str
    condition: DestinationCondition
    configuration_sets: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    backlog: int = 0
    in_flight: int = 0
    oldest_at: int = 0
    told: int = 0
    last_told_at: int = 0
    last_error: str = ""
    last_error_at: int = 0
    failing_since: int = 0
    next_try_at: int = 0
    dead_letters: int = 0
    dropped: int = 0
    told_by: str = ""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a destination said to a test event."""

    type: str
    event_id: str
    told: bool
    answer: str


@dataclass(frozen=True, slots=True)
class ShownLetter:
    """A dead letter for people; `content` is the JSON that would be told."""

    id: int
    destination: str
    event_id: str
    type: str
    message_id: str
    happened_at: int
    recipients: tuple[str, ...]
    attempts: int
    error: str
    at: int
    content: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a part of a replay went. `after` is where to go on, 0 where it is at its end; `error` is
    what ended it early: the destination takes nothing."""

    told: int = 0
    refused: int = 0
    after: int = 0
    error: str = ""


def shown(letter: DeadLetter, content: bytes = b"") -> ShownLetter:
    """A dead letter as it is shown."""
    event = letter.event
    return ShownLetter(
        id=letter.id,
        destination=letter.destination,
        event_id=event.id,
        type=event.type,
        message_id=event.message_id,
        happened_at=event.at,
        recipients=event.recipients,
        attempts=letter.attempts,
        error=letter.error,
        at=letter.at,
        content=content.decode(),
    )
