"""A running relay as it is now, from what it knows already: for `relay top` and `relay status`.

A look asks the workers and nothing else: depth and limits are those of the last look at the gauges,
a few seconds old. So a view that renews itself costs the store nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.admin.control import LimitStatus, QueueStatus
from relay.admin.top import Look, at_their_edge, flows_of
from relay.delivery.backlog import Backlog, merged
from relay.limits.gatekeeper import Level
from relay.runtime.gauges import wall_ms
from relay.runtime.messages import Report, TellBacklog
from relay.store.values import QueueDepth

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

GLANCE_S = 3.0
"""For how long a worker that does not answer is waited for."""


async def look(relay: "Supervisor") -> Look:
    """See `Look`."""
    states, backlog, families = await asyncio.gather(
        relay.staff.crew.ask(Report(), GLANCE_S), backlog_of(relay), relay.staff.ledger.balance()
    )
    levels = relay.gauges.levels
    return Look(
        at=wall_ms(),
        queue=queue_statuses(relay.gauges.depths),
        flows=flows_of(families),
        lines=backlog.lines,
        unplaced=backlog.unplaced,
        limits=at_their_edge([(limit_status(level), level.limit) for level in levels]),
        restraints=tuple(relay.restraining.in_force()),
        suspensions=relay.suspender.in_force.entries,
        working_set=sum(state.working_set for state in states),
        outbound_connections=sum(state.outbound_connections for state in states),
    )


async def backlog_of(relay: "Supervisor") -> Backlog:
    """What waits in the memory of all workers."""
    return merged(await relay.staff.crew.ask(TellBacklog(), GLANCE_S))


def queue_statuses(depths: Sequence[QueueDepth]) -> tuple[QueueStatus, ...]:
    """The depth of each set, as it is shown."""
    return tuple(
        QueueStatus(
            d.configuration_set, d.queued, d.held, d.oldest_accepted_at, d.quarantined, d.suspended
        )
        for d in depths
    )


def limit_status(level: Level) -> LimitStatus:
    """A limit as it is shown."""
    unit = {1: "s", 60: "min", 3600: "h", 86400: "day"}.get(level.seconds, f"{level.seconds} s")
    limit = f"{level.limit:,}/{unit}"
    free_at = level.free_at if level.free_at > wall_ms() else 0
    return LimitStatus(level.key, level.kind, limit, level.used, free_at, level.share)
