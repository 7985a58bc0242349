"""What nodes have given up of limits and what counts in their windows all the same.

Nodes give something up each second, and a window may last for hours: what cools at about the same
time is one row, and counts until the last of it is over.
"""

from collections.abc import Sequence

from relay.store.postgres.session import Session

_GRAINS = 16  # rows of one limit in one of its windows, and not many more
_INTO = (
    "INSERT INTO cooling (key, until, amount) SELECT key, until, sum(amount)"
    " FROM ({}) AS given_up (key, until, amount) GROUP BY key, until ORDER BY key, until"
    " ON CONFLICT (key, until) DO UPDATE SET amount = cooling.amount + excluded.amount"
)
_COOL = _INTO.format(
    "SELECT key, to_timestamp(until / 1000.0), amount"
    " FROM unnest($1::text[], $2::bigint[], $3::integer[]) AS new (key, until, amount)"
)
_COOL_ALL = "WITH held AS (DELETE FROM share WHERE epoch = $1 RETURNING *) " + _INTO.format(  # noqa: S608 - our own words
    "SELECT key, clock_timestamp() + span * interval '1 millisecond', held FROM held"
    " WHERE span > 0 AND held > 0"
)

Cooled = tuple[str, int, int, int]
"""Key, until when (UTC ms of the server), how many, and the window (ms)."""


async def cool(db: Session, given_up: Sequence[Cooled]) -> None:
    """Count these for a while yet."""
    if given_up:
        await db.execute(
            _COOL,
            [key for key, _, _, _ in given_up],
            [_late(until, window) for _, until, _, window in given_up],
            [amount for _, _, amount, _ in given_up],
        )


def _late(until: int, window: int) -> int:
    """The end of the part of the window in which `until` lies."""
    grain = max(1, window // _GRAINS)
    return -(-until // grain) * grain


async def cool_all(db: Session, epoch: int) -> None:
    """Take all that a node holds from it. Permits count as used until their window is over;
    connections end with the node."""
    await db.execute(_COOL_ALL, epoch)


async def forget_cold(db: Session, requests: Sequence[None]) -> list[None]:
    """Remove what counts no more."""
    await db.execute("DELETE FROM cooling WHERE until < clock_timestamp()")
    return [None] * len(requests)
