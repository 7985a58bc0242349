"""Bodies too large for a row: in chunks, written as they arrive, in short transactions.

The chunks of a body and the row of `spooling` that says when it began are there before a message
names them; the insert takes that row away. Chunks are committed without waiting for the disk: the
commit of the message that names them comes later in the log of the server, and waits for all that
is before it. Chunks that no message names are an orphan: what a crash left between the two. Orphans
are swept up once they have not grown for `ORPHANED`, and no session writes them any more.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol
from zlib import crc32

from relay.store.codec import Damaged
from relay.store.interface import StoreUnavailable
from relay.store.postgres.session import Session, rows_of
from relay.store.values import Body

CHUNK = 256 * 1024
ORPHANED = "1 hour"
_NAME_OCTETS = 16
_MOST_SWEPT = 100

_BEGIN = "INSERT INTO spooling (ref) VALUES ($1)"
_GROW = "UPDATE spooling SET began_at = clock_timestamp() WHERE ref = $1"
_ADD = "INSERT INTO chunk (ref, number, data) VALUES ($1, $2, $3)"
_READ = "SELECT data FROM chunk WHERE ref = $1 AND number = $2"
_ORPHANS = (
    "DELETE FROM spooling WHERE ref IN (SELECT ref FROM spooling"
    " WHERE began_at < clock_timestamp() - $1::text::interval"
    " AND NOT EXISTS (SELECT FROM message WHERE split_part(message.ref, '-', 1) = spooling.ref)"
    " ORDER BY ref LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING ref"
)

Work = Callable[[Session], Awaitable[None]]


class Depot(Protocol):
    """Where chunks are put, and taken from. Raises StoreError."""

    async def keep(self, work: Work) -> None: ...

    async def chunk(self, name: str, number: int) -> bytes | None: ...


class ChunkingWriter:
    """A `BodyWriter`: holds up to `inline_size` octets, and puts what is larger into chunks."""

    def __init__(self, depot: Depot, inline_size: int) -> None:
        self._depot = depot
        self._inline_size = inline_size
        self._parts: list[bytes] = []
        self._held = 0
        self._size = 0
        self._name = ""
        self._number = 0
        self._checksum = 0
        self._is_whole = True  # nothing has failed

    @property
    def in_memory(self) -> int:
        """Octets held in memory."""
        return self._held

    async def write(self, chunk: bytes) -> None:
        """Raises StoreError when the database cannot take it."""
        self._parts.append(chunk)
        self._held += len(chunk)
        self._size += len(chunk)
        if self._size > self._inline_size and self._held >= CHUNK:
            await self._flush()

    async def finish(
        self,
        *,
        simple_digest: bytes,
        relaxed_digest: bytes | None,
        eight_bit: bool,
        dots: bool | None = None,
    ) -> Body:
        """Raises StoreError when the body could not be stored."""
        inline = None
        reference = ""
        if self._size > self._inline_size:
            await self._flush()
            self._must_be_whole()
            reference = f"{self._name}-{self._checksum:08x}"
        else:
            inline = b"".join(self._parts)
            self._parts.clear()
        return Body(
            size=self._size,
            simple_digest=simple_digest,
            relaxed_digest=relaxed_digest,
            eight_bit=eight_bit,
            inline=inline,
            ref=reference,
            dots=dots,
        )

    async def discard(self) -> None:
        """Forget the body, unless a message names it."""
        self._parts.clear()
        self._held = 0
        self._is_whole = False
        if self._name:
            name, self._name = self._name, ""
            await self._depot.keep(lambda db: discard(db, name))

    async def _flush(self) -> None:
        block = b"".join(self._parts)
        self._parts.clear()
        for start in range(0, len(block), CHUNK):
            await self._put(block[start : start + CHUNK])
        self._held = 0

    async def _put(self, block: bytes) -> None:
        self._must_be_whole()
        self._is_whole = False  # until this part is stored
        is_first = not self._name
        self._name = self._name or secrets.token_hex(_NAME_OCTETS)
        name, number = self._name, self._number
        await self._depot.keep(lambda db: _put(db, name, number, block, is_first=is_first))
        self._is_whole = True
        self._checksum = crc32(block, self._checksum)
        self._number += 1

    def _must_be_whole(self) -> None:
        """What has failed once stays failed: the body has a hole."""
        if not self._is_whole:
            raise StoreUnavailable("A part of this body could not be stored, or it was discarded.")


async def _put(db: Session, name: str, number: int, block: bytes, *, is_first: bool) -> None:
    if is_first:
        await db.execute(_BEGIN, name)
    elif rows_of(await db.execute(_GROW, name)) == 0:
        raise StoreUnavailable("A body took too long to arrive, and was swept up.")
    await db.execute(_ADD, name, number, block)


async def discard(db: Session, name: str) -> None:
    """Remove chunks that no message names."""
    if rows_of(await db.execute("DELETE FROM spooling WHERE ref = $1", name)):
        await db.execute("DELETE FROM chunk WHERE ref = $1", name)


async def remove(db: Session, reference: str) -> None:
    """Remove chunks whose message is gone. Raises Damaged."""
    name, _ = _split(reference)
    await db.execute("DELETE FROM spooling WHERE ref = $1", name)
    await db.execute("DELETE FROM chunk WHERE ref = $1", name)


async def chunk_of(db: Session, name: str, number: int) -> bytes | None:
    """One chunk; None where there is none of that number."""
    found: bytes | None = await db.fetchval(_READ, name, number)
    return found


async def sweep(db: Session) -> int:
    """Remove some orphans; how many."""
    swept = [ref for (ref,) in await db.fetch(_ORPHANS, ORPHANED, _MOST_SWEPT)]
    if swept:
        await db.execute("DELETE FROM chunk WHERE ref = ANY($1::text[])", swept)
    return len(swept)


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
    """The name under which the chunks of a reference are stored. Raises Damaged."""
    return _split(reference)[0]


def _split(reference: str) -> tuple[str, int]:
    """Name and checksum. Raises Damaged for what `ChunkingWriter` did not write."""
    name, _, checksum = reference.partition("-")
    try:
        if len(bytes.fromhex(name)) != _NAME_OCTETS:
            raise ValueError
        return name, int(checksum, 16)
    except ValueError:
        raise Damaged(f"{reference!r} does not refer to a body") from None
