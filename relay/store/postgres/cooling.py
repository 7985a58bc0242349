"""What nodes have given up of limits and what counts in their windows all the same."""

from relay.store.postgres.session import Session

_COOL_ALL = (
    "WITH given_up AS (DELETE FROM share WHERE epoch = $1 RETURNING key, span, held)"
    " INSERT INTO cooling (key, until, amount)"
    " SELECT key, clock_timestamp() + span * interval '1 millisecond', held"
    " FROM given_up WHERE span > 0 AND held > 0"
)


async def cool_all(db: Session, epoch: int) -> None:
    """Take all that a node holds from it. Permits count as used until their window is over;
    connections end with the node."""
    await db.execute(_COOL_ALL, epoch)
