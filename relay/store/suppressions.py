"""The suppression list over either engine: long work in parts, so that mail comes in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from relay.mail.address import suppression_key
from relay.store.bound import Write
from relay.store.suppression_values import (
    Author,
    BulkKind,
    SuppressionChange,
    SuppressionCount,
)
from relay.store.values import SuppressionEntry, SuppressionReason

_BATCH = 500  # entries of one transaction
_PAGE = 1_000
_TALLIED = 50_000  # ids of one question
_SORTED_HERE = 5_000  # entries that are sorted on the loop, which takes a millisecond


@dataclass(frozen=True, slots=True)
class SuppressionOperations:
    """What an engine does with the list: writes in one transaction, and short questions."""

    put: Write[tuple[Sequence[SuppressionEntry], Author], int]
    add_observed: Write[Sequence[SuppressionEntry], None]
    remove: Write[tuple[Sequence[str], Author], int]
    prune: Write[tuple[int, int], int]
    begin: Write[tuple[BulkKind, str, Author], int]
    end: Write[tuple[int, int, str], None]
    prune_changes: Write[tuple[int, int, int], int]
    find: Callable[[str], Awaitable[SuppressionEntry | None]]
    reasons: Callable[[Sequence[str]], Awaitable[dict[str, tuple[SuppressionReason, int | None]]]]
    page: Callable[[str, int], Awaitable[Sequence[tuple[str, SuppressionEntry]]]]
    count: Callable[[], Awaitable[int]]
    tally: Callable[[int, int, int], Awaitable[tuple[Sequence[SuppressionCount], int]]]
    changes: Callable[[str, int], Awaitable[list[SuppressionChange]]]


class Suppressions:
    """Implements `SuppressionStore`."""

    def __init__(self, operations: SuppressionOperations) -> None:
        self._do = operations

    async def put(self, entries: Sequence[SuppressionEntry], author: Author) -> int:
        """Each batch is durable by itself. In order of address, since a long list goes in several
        times as fast when neighbours in the index come together."""
        new = 0
        ordered = await _in_order_of_key(entries)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            new += await self._do.put((batch, author))
        return new

    async def add_observed(self, entries: Sequence[SuppressionEntry]) -> None:
        for start in range(0, len(entries), _BATCH):
            await self._do.add_observed(entries[start : start + _BATCH])

    async def remove(self, addresses: Sequence[str], author: Author) -> int:
        gone = 0
        for start in range(0, len(addresses), _BATCH):
            batch = addresses[start : start + _BATCH]
            gone += await self._do.remove((batch, author))
        return gone

    async def find(self, address: str) -> SuppressionEntry | None:
        return await self._do.find(address)

    async def reasons(self, keys: Sequence[str]) -> dict[str, tuple[SuppressionReason, int | None]]:
        return await self._do.reasons(keys)

    async def all(self) -> AsyncIterator[SuppressionEntry]:
        after = ""
        while page := await self._do.page(after, _PAGE):
            for after, entry in page:  # noqa: B007 - the last key starts the next page
                yield entry

    async def count(self) -> int:
        return await self._do.count()

    async def tally(self, now: int) -> list[SuppressionCount]:
        numbers: Counter[tuple[str, str]] = Counter()
        expired: Counter[tuple[str, str]] = Counter()
        kinds: dict[tuple[str, str], SuppressionCount] = {}
        after = 0
        while True:
            some, after = await self._do.tally(after, _TALLIED, now)
            for one in some:
                kind = (one.reason, one.source)
                kinds[kind] = one
                numbers[kind] += one.number
                expired[kind] += one.expired
            if not after:
                break
        return [
            SuppressionCount(one.reason, one.source, numbers[kind], expired[kind])
            for kind, one in sorted(kinds.items())
        ]

    async def prune(self, before: int, limit: int) -> int:
        return await self._do.prune((before, limit))

    async def begin(self, what: BulkKind, detail: str, author: Author) -> int:
        return await self._do.begin((what, detail, author))

    async def end(self, bulk: int, at: int, more: str) -> None:
        await self._do.end((bulk, at, more))

    async def changes(self, address: str, limit: int) -> list[SuppressionChange]:
        return await self._do.changes(address, limit)

    async def prune_changes(self, before: int, most: int, limit: int) -> int:
        return await self._do.prune_changes((before, most, limit))


async def _in_order_of_key(entries: Sequence[SuppressionEntry]) -> Sequence[SuppressionEntry]:
    """Stable: of two spellings of an address the last one wins."""
    if len(entries) <= _SORTED_HERE:
        return sorted(entries, key=_key)
    return await asyncio.to_thread(sorted, entries, key=_key)


def _key(entry: SuppressionEntry) -> str:
    return suppression_key(entry.address)
