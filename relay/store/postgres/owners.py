"""Owners of claims: how they begin, show that they live, and end. Operations for the writer.

An owner that ends, or is declared dead, is marked as ended: it claims nothing more and notes
nothing more, so its claims only become fewer. One process at a time frees them, and goes on with
what another left that died over it; the row of the owner goes last.

Who is dead is decided by the clock of the server, whose silence nobody else has caused: only an
owner that has itself renewed without a gap for the time of that lease buries. After the server was
away, or its clock has jumped, everybody has been silent, and nobody is buried for it.
"""

from collections.abc import Collection, Sequence

from relay.store.postgres.session import Session, rows_of
from relay.store.values import Owner

_ALIVE = "SELECT epoch FROM worker WHERE epoch = ANY($1::bigint[]) AND NOT ended FOR SHARE"
_REGISTER = (
    "WITH new AS (INSERT INTO worker (name, lease) VALUES ($1, $2) RETURNING epoch),"
    " noting AS (INSERT INTO sending (epoch, delivery) SELECT epoch, 0 FROM new)"
    " SELECT epoch FROM new"
)
# Who has renewed late was away, or the clock was: from now on it is steady.
_RENEW = (
    "UPDATE worker SET lease = $2, renewed_at = clock_timestamp(), steady_since ="
    " CASE WHEN clock_timestamp() - renewed_at BETWEEN lease * interval '-500 microseconds'"
    " AND lease * interval '500 microseconds' THEN steady_since ELSE clock_timestamp() END"
    " WHERE epoch = $1 AND NOT ended"
)
# It waits for a note that is being written. What comes later finds no row to hang on.
_END = (
    "WITH ended AS (UPDATE worker SET ended = true WHERE epoch IN (%s) RETURNING epoch, name),"
    " silenced AS (DELETE FROM sending USING ended"
    " WHERE sending.epoch = ended.epoch AND sending.delivery = 0)"
    " SELECT name FROM ended"
)
_OF_NAME = "SELECT epoch FROM worker WHERE name = $1 AND NOT ended ORDER BY epoch FOR UPDATE"
_ITSELF = "SELECT epoch FROM worker WHERE epoch = $1 AND NOT ended FOR UPDATE"
# One whose last word is of a time to come died before the clock was put back.
_SILENT = (
    "SELECT dead.epoch FROM worker AS dead, worker AS burier"
    " WHERE burier.epoch = $1 AND NOT burier.ended AND dead.epoch <> $1 AND NOT dead.ended"
    " AND clock_timestamp() - dead.renewed_at NOT BETWEEN dead.lease * interval '-1 millisecond'"
    " AND dead.lease * interval '1 millisecond'"
    " AND clock_timestamp() - burier.steady_since > dead.lease * interval '1 millisecond'"
    " AND clock_timestamp() - burier.renewed_at < burier.lease * interval '500 microseconds'"
    " FOR UPDATE OF dead SKIP LOCKED"
)
_INHERIT = (
    "UPDATE worker SET heir_until = clock_timestamp() + interval '10 seconds' WHERE epoch IN"
    " (SELECT epoch FROM worker WHERE ended AND heir_until < clock_timestamp()"
    " ORDER BY epoch FOR UPDATE SKIP LOCKED) RETURNING epoch"
)


async def alive(db: Session, epochs: Collection[int]) -> set[int]:
    """Those of the owners that have not ended, and do not until this transaction has: a burial
    waits, so that no claim is committed for an owner whose claims have been freed."""
    if not epochs:
        return set()
    return {epoch for (epoch,) in await db.fetch(_ALIVE, sorted(epochs))}


async def register(db: Session, requests: Sequence[tuple[str, int]]) -> list[Owner]:
    """New epochs; requests are (name, lease in ms). Earlier ones of the name end."""
    owners = []
    for name, lease in requests:
        await db.fetch(_END % _OF_NAME, name)
        owners.append(Owner(name, await db.fetchval(_REGISTER, name, lease)))
    return owners


async def renew(db: Session, requests: Sequence[tuple[Owner, int]]) -> list[bool]:
    """Show that owners live; False for those that have been declared dead."""
    return [rows_of(await db.execute(_RENEW, owner.epoch, lease)) == 1 for owner, lease in requests]


async def resign(db: Session, requests: Sequence[Owner]) -> list[None]:
    """End owners of their own will."""
    for owner in requests:
        await db.fetch(_END % _ITSELF, owner.epoch)
    return [None] * len(requests)


async def bury(db: Session, requests: Sequence[Owner]) -> list[list[str]]:
    """End those who were silent for longer than their lease; their names."""
    return [[n for (n,) in await db.fetch(_END % _SILENT, o.epoch)] for o in requests]


async def ended(db: Session) -> bool:
    """Whether an owner has ended that may have claims yet."""
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM worker WHERE ended)"))


async def inherit(db: Session, requests: Sequence[None]) -> list[list[int]]:
    """The epochs of owners that have ended, and whose claims are now for the first of those who
    ask to free: nobody else is told of them for some seconds."""
    inherited = [epoch for (epoch,) in await db.fetch(_INHERIT)]
    return [inherited, *([] for _ in requests[1:])]


async def forget(db: Session, requests: Sequence[int]) -> list[None]:
    """Owners that have ended and whose claims are free."""
    for epoch in requests:
        await db.execute("DELETE FROM worker WHERE epoch = $1 AND ended", epoch)
        await db.execute("DELETE FROM sending WHERE epoch = $1", epoch)
    return [None] * len(requests)
