"""What deliveries in the queue wait for, in words.

The store knows of what was put off and of what is suspended. Of mail that is due and lies in the
store, because nothing can be done with it now, only the workers of a running relay know why.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from relay.routing.elsewhere import why_it_waited
from relay.store.values import Line, QueueEntry

AskWhy = Callable[[Sequence[Line]], Awaitable[Mapping[Line, str]]]
Carriers = Mapping[str, Sequence[str]]
"""The other nodes that have addresses of a pool of which this node has none, by pool."""

MOST_LINES = 1_000
"""Lines that are asked for at once."""


async def nobody_knows(_: Sequence[Line]) -> Mapping[Line, str]:
    """The answer where no relay runs."""
    return {}


async def with_reasons(
    entries: Sequence[QueueEntry], ask: AskWhy, carriers: Carriers, now: int
) -> list[QueueEntry]:
    """The entries with `why`, at `now` in UTC ms. `ask` is asked for lines of a set and a domain,
    once."""
    lines = dict.fromkeys(_line(entry) for entry in entries if _only_lies_there(entry, now))
    known = await ask(tuple(lines)[:MOST_LINES]) if lines else {}
    return [
        replace(entry, why=known.get(_line(entry), ""))
        if _only_lies_there(entry, now)
        else replace(entry, why=stored_reason(entry, carriers))
        for entry in entries
    ]


def stored_reason(entry: QueueEntry, carriers: Carriers) -> str:
    """What the store itself says of a delivery that waits; `""` where that is nothing."""
    if entry.suspended_by:
        orders = [key.replace(":", " ", 1) for key in entry.suspended_by.split()]
        return f"suspended: {', '.join(orders)}"
    kind, _, name = entry.waits_for.partition(":")
    if kind == "rest":
        return f"every source that it may leave from rests for {name}"
    if kind == "warmup":
        return f"{name} is warming up, and may not send more yet"
    if kind == "pool":
        return why_it_waited(name, carriers.get(name, ()))
    return ""


def _only_lies_there(entry: QueueEntry, now: int) -> bool:
    return (
        entry.state == "queued"
        and not entry.claimed
        and not entry.waits_for
        and entry.due_at <= now
    )


def _line(entry: QueueEntry) -> Line:
    return entry.configuration_set, entry.domain
