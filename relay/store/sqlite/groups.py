"""How the queue divides: deliveries counted by configuration set, domain or pool.

Each is one pass over the table, in the order in which it lies on the disk: about a second for a
million deliveries. It is for people who ask, not for clocks.
"""

import sqlite3

from relay.store.values import QueueGroup, QueueGrouping

_NAMES = {
    "set": "configuration_set, ''",
    "domain": "domain, ''",
    "pool": "configuration_set, pool",
}
_COUNTS = (
    "sum(state = 'queued'), sum(state = 'held'), sum(state = 'suspended'),"
    " sum(state = 'quarantined'), sum(epoch IS NOT NULL), min(accepted_at),"
    " min(CASE WHEN state = 'queued' AND epoch IS NULL THEN due_at END)"
)


def groups(db: sqlite3.Connection, by: QueueGrouping) -> list[QueueGroup]:
    """Every group that has a delivery, in no order."""
    rows = db.execute(
        f"SELECT {_NAMES[by]}, {_COUNTS} FROM delivery GROUP BY 1, 2"  # noqa: S608 - our own words
    )
    return [QueueGroup(*row) for row in rows]
