"""Destinations as a node sees them whose scribe does not tell them: by what the log has."""

from relay.config.model import Config
from relay.events.condition import where
from relay.events.matching import matching_of
from relay.events.reader import ReadableLog
from relay.events.states import DestinationState
from relay.store.log_values import TellingCursor


async def states_afar(log: ReadableLog, config: Config, told_by: str) -> list[DestinationState]:
    """All destinations of the configuration, by name; `told_by` is the node that tells them (empty
    where none does now). One that nobody has begun to tell has no backlog. Raises `StoreError`."""
    newest = await log.newest_event()
    cursors = {cursor.destination: cursor for cursor in await log.cursors()}
    letters = await log.count_dead_letters()
    return [
        _state(config, name, cursors.get(name), newest, letters.get(name, 0), told_by)
        for name in sorted(config.events)
    ]


def _state(
    config: Config,
    name: str,
    cursor: TellingCursor | None,
    newest: int,
    dead_letters: int,
    told_by: str,
) -> DestinationState:
    settings = config.events[name]
    backlog = 0 if cursor is None else max(0, newest - cursor.upto - len(cursor.ahead))
    return DestinationState(
        name=name,
        type=settings.type,
        where=where(settings),
        condition="elsewhere" if settings.enabled else "off",
        configuration_sets=tuple(sorted(matching_of(name, settings, config).sets)),
        events=settings.events,
        backlog=backlog,
        dead_letters=dead_letters,
        dropped=0 if cursor is None else cursor.dropped,
        told_by=told_by,
    )
