"""What owners are sending: notes that outlive the process that made them.

Each delivery whose content is on its way is a row of `sending`; the row of delivery 0 stands for
the owner itself, and goes when it ends. Few rows come and go with each note, and none is written
again and again: a backup that runs for an hour keeps all versions of a row.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from relay.store.interface import StoreUnavailable
from relay.store.postgres.session import Session
from relay.store.values import Owner

_NOTE = (
    "WITH owner AS (SELECT epoch FROM sending WHERE epoch = $1 AND delivery = 0 FOR KEY SHARE),"
    " over AS (DELETE FROM sending USING owner WHERE sending.epoch = owner.epoch"
    " AND sending.delivery = ANY($3::bigint[])),"
    " begun AS (INSERT INTO sending (epoch, delivery)"
    " SELECT owner.epoch, id FROM owner, unnest($2::bigint[]) AS id ON CONFLICT DO NOTHING)"
    " SELECT EXISTS (SELECT FROM owner)"
)

Write = Callable[[Callable[[Session], Awaitable[frozenset[int]]]], Awaitable[frozenset[int]]]


class Notes:
    """Keeps the notes of this process's owners. Who asks while one is written waits for the next,
    with all others who do: the newest word of an owner holds for those before it."""

    def __init__(self, write: Write) -> None:
        """`write` runs one or several short statements, and raises StoreError."""
        self._write = write
        self._wanted: dict[int, Collection[int]] = {}
        self._noted: dict[int, frozenset[int]] = {}
        self._next: asyncio.Task[frozenset[int]] | None = None
        self._turn = asyncio.Lock()

    async def note(self, owner: Owner, deliveries: Collection[int]) -> None:
        """Have these deliveries, and no others, noted. Raises StoreError, also where the owner
        was declared dead: what it holds is for others to send."""
        self._wanted[owner.epoch] = deliveries
        if self._next is None:
            self._next = asyncio.create_task(self._write_next())
            self._next.add_done_callback(_hear)
        if owner.epoch in await asyncio.shield(self._next):
            raise StoreUnavailable(f"The worker {owner.name} was declared dead: it sends nothing.")

    async def _write_next(self) -> frozenset[int]:
        async with self._turn:
            wanted = {epoch: frozenset(ids) for epoch, ids in self._wanted.items()}
            self._wanted, self._next = {}, None
            # Until it is certain that they are: after a failure all are written again.
            noted, self._noted = self._noted, {}
            dead = await self._write(lambda db: _note_all(db, wanted, noted))
            self._noted = {**noted, **wanted}
            for epoch in dead:
                del self._noted[epoch]
            return dead


async def _note_all(
    db: Session, wanted: Mapping[int, frozenset[int]], noted: Mapping[int, frozenset[int]]
) -> frozenset[int]:
    """Write what has changed; the epochs of owners that have ended."""
    dead = set()
    for epoch, deliveries in wanted.items():
        known = noted.get(epoch, frozenset())
        if not await db.fetchval(_NOTE, epoch, list(deliveries - known), list(known - deliveries)):
            dead.add(epoch)
    return frozenset(dead)


def _hear(task: "asyncio.Task[Any]") -> None:
    """Whoever asked may be gone, and has no ear for what went wrong."""
    if not task.cancelled():
        task.exception()
