"""Whether owners of claims live, for as long as a transaction lasts."""

from collections.abc import Collection

from relay.store.postgres.session import Session

_ALIVE = "SELECT epoch FROM worker WHERE epoch = ANY($1::bigint[]) AND NOT ended FOR SHARE"


async def alive(db: Session, epochs: Collection[int]) -> set[int]:
    """Those of the owners that have not ended, and do not until this transaction has: a burial
    waits, so that no claim is committed for an owner whose claims have been freed."""
    if not epochs:
        return set()
    return {epoch for (epoch,) in await db.fetch(_ALIVE, sorted(epochs))}
