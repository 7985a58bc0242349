"""Bodies too large for a row: in chunks, written as they arrive, in short transactions.

As long as no message names the chunks of a body, or when none does any more, a row of `spooling`
does: the insert of the message takes it away, the end of the message puts it back. Chunks are
committed without waiting for the disk: the commit of the message that names them comes later in the
log of the server, and waits for all that is before it.

What a process that died leaves in `spooling` is an orphan. Those are swept up once they have not
grown for `ORPHANED`; a part that comes later finds its row gone, and is refused. Each statement
here does all that belongs together, and may be repeated.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Protocol
from zlib import crc32

from relay.store.codec import Damaged
from relay.store.interface import StoreUnavailable
from relay.store.postgres.damage import read_one
from relay.store.postgres.session import Session, rows_of
from relay.store.reading import BLOCK

ORPHANED = "1 hour"
_NAME_OCTETS = 16
_MOST_SWEPT = 1_000  # at a time

_ADD = (
    "WITH body AS (INSERT INTO spooling (ref) VALUES ($1) ON CONFLICT (ref)"
    " DO UPDATE SET grown_at = clock_timestamp() RETURNING ref)"
    " INSERT INTO chunk (ref, number, data) SELECT ref, $2::integer, $3::bytea FROM body"
    " ON CONFLICT (ref, number) DO UPDATE SET data = excluded.data"
)
_GROW = (
    "WITH body AS (UPDATE spooling SET grown_at = clock_timestamp() WHERE ref = $1 RETURNING ref)"
    " INSERT INTO chunk (ref, number, data) SELECT ref, $2::integer, $3::bytea FROM body"
    " ON CONFLICT (ref, number) DO UPDATE SET data = excluded.data"
)
_READ = "SELECT data FROM chunk WHERE ref = $1 AND number = $2"
_DISCARD = (
    "WITH body AS (DELETE FROM spooling WHERE ref = $1 RETURNING ref)"
    " DELETE FROM chunk USING body WHERE chunk.ref = body.ref"
)
_SWEEP = (
    "WITH body AS (DELETE FROM spooling WHERE ref IN (SELECT ref FROM spooling"
    " WHERE grown_at < clock_timestamp() - $1::text::interval"
    " ORDER BY ref LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING ref),"
    " gone AS (DELETE FROM chunk USING body WHERE chunk.ref = body.ref)"
    " SELECT count(*) FROM body"
)
_KEEP = "DELETE FROM spooling WHERE ref = ANY($1::text[])"
_LET_GO = "INSERT INTO spooling (ref) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"

Work = Callable[[Session], Awaitable[None]]


class Depot(Protocol):
    """Where chunks are put, and taken from. Raises StoreError."""

    async def keep(self, work: Work) -> None: ...

    async def remove(self, work: Work) -> None: ...

    async def chunk(self, name: str, number: int) -> bytes | None: ...


class Chunks:
    """A `Spill`: the chunks of one body."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._name = ""
        self._number = 0
        self._checksum = 0
        self._is_whole = True  # nothing has failed

    async def append(self, block: bytes) -> None:
        for start in range(0, len(block), BLOCK):
            await self._put(block[start : start + BLOCK])

    async def complete(self) -> str:
        self._must_be_whole()
        return f"{self._name}-{self._checksum:08x}"

    async def abandon(self) -> None:
        self._is_whole = False
        if self._name:
            name, self._name = self._name, ""
            await self._depot.remove(lambda db: discard(db, name))

    async def _put(self, block: bytes) -> None:
        self._must_be_whole()
        self._is_whole = False  # until this part is stored
        self._name = self._name or secrets.token_hex(_NAME_OCTETS)
        name, number = self._name, self._number
        await self._depot.keep(lambda db: _put(db, name, number, block))
        self._is_whole = True
        self._checksum = crc32(block, self._checksum)
        self._number += 1

    def _must_be_whole(self) -> None:
        """What has failed once stays failed: the body has a hole."""
        if not self._is_whole:
            raise StoreUnavailable("A part of this body could not be stored, or it was discarded.")


async def _put(db: Session, name: str, number: int, block: bytes) -> None:
    told = await db.execute(_GROW if number else _ADD, name, number, block)
    if not rows_of(told):
        raise StoreUnavailable("A body took too long to arrive, and was swept up.")


async def keep(db: Session, references: Collection[str]) -> None:
    """From now on messages name these bodies. Raises StoreUnavailable where some were swept up."""
    if references:
        told = await db.execute(_KEEP, sorted(map(name_of, references)))
        if rows_of(told) != len(references):
            raise StoreUnavailable("A body waited for too long to be accepted, and was swept up.")


async def let_go(db: Session, references: Collection[str]) -> None:
    """No message names these bodies any more; `discard` removes them."""
    if references:
        await db.execute(_LET_GO, sorted(map(name_of, references)))


async def discard(db: Session, reference: str) -> None:
    """Remove a body, unless a message names it."""
    await db.execute(_DISCARD, name_of(reference))


async def chunk_of(db: Session, name: str, number: int) -> bytes | None:
    """One chunk; None where there is none of that number. Raises Damaged."""
    row = await read_one(db, f"body {name}", _READ, name, number)
    return None if row is None else row[0]


async def sweep(db: Session) -> int:
    """Remove orphans, one by one; how many."""
    swept = 0
    while swept < _MOST_SWEPT and await db.fetchval(_SWEEP, ORPHANED):
        swept += 1
    return swept


async def read(depot: Depot, reference: str, size: int) -> AsyncIterator[bytes]:
    """The content in blocks. Raises Damaged: where a chunk is missing, and after the last one when
    its size or checksum differs."""
    name, expected = _split(reference)
    checksum = read_so_far = number = 0
    while read_so_far < size:
        block = await depot.chunk(name, number)
        if block is None:
            raise Damaged(f"chunk {number} of body {name} is missing")
        checksum = crc32(block, checksum)
        read_so_far += len(block)
        number += 1
        yield block
    if read_so_far != size or checksum != expected:
        raise Damaged(f"body {name} is not what was stored")


def name_of(reference: str) -> str:
    """The name under which the chunks of a reference are stored."""
    return reference.partition("-")[0]


def _split(reference: str) -> tuple[str, int]:
    """Name and checksum. Raises Damaged for what `Chunks` did not write."""
    name, _, checksum = reference.partition("-")
    try:
        if len(bytes.fromhex(name)) != _NAME_OCTETS:
            raise ValueError
        return name, int(checksum, 16)
    except ValueError:
        raise Damaged(f"{reference!r} does not refer to a body") from None
