"""The destination that a section of the configuration describes."""

from collections.abc import Callable
from typing import assert_never

from relay.config.events import (
    EventDestination,
    EventFile,
    KafkaTopic,
    NatsStream,
    PrometheusCounters,
    SnsEndpoint,
    Webhook,
)
from relay.events.destinations.counters import CountersDestination
from relay.events.destinations.file import FileDestination
from relay.events.destinations.interface import Destination
from relay.events.destinations.webhook import HttpDestination
from relay.observe.sending_events import SendingEvents


def make_destination(
    name: str, config: EventDestination, counters: SendingEvents, wall: Callable[[], int]
) -> Destination:
    """Opens nothing yet. Raises `DestinationError`. Clients of streams are optional, and imported
    where one is configured."""
    match config:
        case Webhook() | SnsEndpoint():
            return HttpDestination(config, wall)
        case EventFile():
            return FileDestination(config)
        case PrometheusCounters():
            return CountersDestination(name, config, counters)
        case NatsStream():
            from relay.events.destinations.nats import NatsDestination  # noqa: PLC0415

            return NatsDestination(config)
        case KafkaTopic():
            from relay.events.destinations.kafka import KafkaDestination  # noqa: PLC0415

            return KafkaDestination(config)
        case _:
            assert_never(config)


def takes_whole(config: EventDestination) -> bool:
    """Whether the destination takes all of a telling or nothing of it, one telling at a time: then
    several events of one message may be in it."""
    return isinstance(config, EventFile | PrometheusCounters)
