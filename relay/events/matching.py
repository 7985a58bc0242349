"""Which events a destination is told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from relay.config.events import EventDestination, EventWord
from relay.config.model import Config
from relay.config.names import RESERVED_CREDENTIAL
from relay.store.log_values import EventType, LoggedEvent, LoggedMessage, PauseFacts

TYPES: Mapping[EventWord, EventType] = {
    "send": "Send",
    "reject": "Reject",
    "delivery": "Delivery",
    "delivery_delay": "DeliveryDelay",
    "bounce": "Bounce",
    "complaint": "Complaint",
    "sending_paused": "SendingPaused",
    "sending_resumed": "SendingResumed",
}


@dataclass(frozen=True, slots=True)
class Matching:
    """Types of events, and the configuration sets whose mail they are about."""

    types: frozenset[EventType]
    sets: frozenset[str]

    def wants(self, event: LoggedEvent, message: LoggedMessage | None) -> bool:
        """Whether the destination is told. `message` is what the log knows of the event's. Nobody
        is told of the reports that the relay writes itself. A pause of a credential, which has no
        set, is told to all who want pauses."""
        if event.type not in self.types:
            return False
        if isinstance(event.facts, PauseFacts):
            return event.facts.kind != "set" or event.facts.name in self.sets
        return (
            message is not None
            and message.credential != RESERVED_CREDENTIAL
            and message.configuration_set in self.sets
        )


def matching_of(name: str, destination: EventDestination, config: Config) -> Matching:
    """What the configuration says that a destination is told."""
    return Matching(
        frozenset(TYPES[word] for word in destination.events),
        frozenset(set_ for set_, of in config.configuration_sets.items() if name in of.events),
    )
