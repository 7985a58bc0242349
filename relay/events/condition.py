"""The state of a destination as operators see it."""

from relay.config.events import EventDestination
from relay.events.states import DestinationState
from relay.events.teller import Teller


def state_of(teller: Teller, dead_letters: int, now: float, clock: int) -> DestinationState:
    """As of `now` on the loop's clock (seconds) and `clock` (UTC ms)."""
    standing = teller.standing
    trouble = standing.patience
    is_down = trouble.since is not None
    return DestinationState(
        name=teller.name,
        type=teller.config.type,
        where=where(teller.config),
        condition="off" if not teller.config.enabled else "down" if is_down else "up",
        configuration_sets=tuple(sorted(teller.matching.sets)),
        events=teller.config.events,
        backlog=teller.backlog,
        in_flight=teller.in_flight,
        oldest_at=teller.oldest_at,
        told=standing.told,
        last_told_at=standing.last_told_at,
        last_error=standing.last_error,
        last_error_at=standing.last_error_at,
        failing_since=clock - round((now - trouble.since) * 1000) if trouble.since else 0,
        next_try_at=clock + round((trouble.again_at - now) * 1000) if is_down else 0,
        dead_letters=dead_letters,
        dropped=teller.dropped,
    )


def where(config: EventDestination) -> str:
    """Where a destination is, for people, without its secrets."""
    match config.type:
        case "webhook" | "sns":
            return config.url.partition("?")[0]
        case "file":
            return str(config.path)
        case "prometheus":
            return "relay_sending_events_total"
        case "nats":
            return f"{config.servers[0]} {config.subject}"
        case "kafka":
            return f"{config.brokers[0]} {config.topic}"
