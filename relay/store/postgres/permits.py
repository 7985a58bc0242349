"""Rolling-window permits, as operations for the writer: see `relay.store.permit_window`.

One clock counts for all nodes, the server's: a node whose own is wrong neither spends what another
has used nor is kept from what is free. Whoever reads the minutes of a key and adds to them holds a
lock on the key, so that of two nodes that ask at once the second sees what the first was granted.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from relay.store.permit_window import MINUTE, first_inside, first_kept, grant
from relay.store.postgres.session import Session
from relay.store.values import PermitRequest, Permits

Clock = Callable[[Session, int], Awaitable[int]]
"""What time it is (UTC ms), given what the node that asks takes it for."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('usage'), hashtext($1))"
_FORGET = "DELETE FROM usage WHERE key = $1 AND bucket < $2"
_MINUTES = "SELECT bucket, used FROM usage WHERE key = $1 AND bucket >= $2 ORDER BY bucket"
_CHARGE = (
    "INSERT INTO usage (key, bucket, used) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, bucket) DO UPDATE SET used = usage.used + excluded.used"
)
_GIVE_BACK = "UPDATE usage SET used = greatest(0, used - $1::bigint) WHERE key = $2 AND bucket = $3"
_USED = (
    "SELECT wanted.key, coalesce(sum(usage.used), 0)::bigint"
    " FROM unnest($1::text[]) AS wanted (key)"
    " LEFT JOIN usage ON usage.key = wanted.key AND usage.bucket >= $2 GROUP BY wanted.key"
)


async def by_the_server(db: Session, asked: int) -> int:
    """The clock of the server, whatever the node says."""
    return int(
        await db.fetchval("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    )


async def as_asked(db: Session, asked: int) -> int:
    """The clock of whoever asks: one process alone has no other to agree with."""
    return asked


class PermitBook:
    """What is granted and given back, by one clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def lease(self, db: Session, requests: Sequence[PermitRequest]) -> list[Permits]:
        """Grant or refuse, in order; see `relay.store.interface.PermitStore`."""
        for key in sorted({request.key for request in requests}):
            await db.execute(_LOCK, key)
        answers = []
        for request in requests:
            # After the lock: who waited for it must not grant as of before.
            now = await self._clock(db, request.now)
            answers.append(await _lease_one(db, replace(request, now=now)))
        return answers

    async def used(self, db: Session, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
        """What counts in the window of each key."""
        first = first_inside(await self._clock(db, now), window)
        found = {row[0]: row[1] for row in await db.fetch(_USED, list(keys), first)}
        return {key: found[key] for key in keys}


async def _lease_one(db: Session, request: PermitRequest) -> Permits:
    await db.execute(_FORGET, request.key, first_kept(request.now, request.window))
    minutes = await db.fetch(_MINUTES, request.key, first_inside(request.now, request.window))
    permits = grant(request, [(bucket, used) for bucket, used in minutes])
    if permits.granted:
        await db.execute(_CHARGE, request.key, permits.at // MINUTE, permits.granted)
    return permits


async def give_back(db: Session, requests: Sequence[tuple[str, int, int]]) -> list[None]:
    """Return unused permits: (key, at, count), `at` as they were granted."""
    for key in sorted({key for key, _, _ in requests}):
        await db.execute(_LOCK, key)
    for key, at, count in requests:
        await db.execute(_GIVE_BACK, max(0, count), key, at // MINUTE)
    return [None] * len(requests)
