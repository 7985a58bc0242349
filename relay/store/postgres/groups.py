"""How the queue divides: deliveries counted by configuration set, domain or pool.

Each is one pass over the table: about a second for a million deliveries. It is for people who ask,
not for clocks.
"""

from relay.store.postgres.session import Session
from relay.store.values import QueueGroup, QueueGrouping

_NAMES = {
    "set": "configuration_set, ''",
    "domain": "domain, ''",
    "pool": "configuration_set, pool",
}
_COUNTS = (
    "count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'held'),"
    " count(*) FILTER (WHERE state = 'suspended'), count(*) FILTER (WHERE state = 'quarantined'),"
    " count(epoch), min(accepted_at),"
    " min(due_at) FILTER (WHERE state = 'queued' AND epoch IS NULL)"
)


async def groups(db: Session, by: QueueGrouping) -> list[QueueGroup]:
    """Every group that has a delivery, in no order."""
    rows = await db.fetch(
        f"SELECT {_NAMES[by]}, {_COUNTS} FROM delivery GROUP BY 1, 2"  # noqa: S608 - our own words
    )
    return [QueueGroup(*row) for row in rows]
