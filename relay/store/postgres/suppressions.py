"""The suppression list, asynchronously: long work in parts, so that mail comes in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from relay.mail.address import suppression_key
from relay.store.postgres import suppression, suppression_changes
from relay.store.postgres.reader import Reader
from relay.store.postgres.writer import Writer
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


class Suppressions:
    """Implements `SuppressionStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def put(self, entries: Sequence[SuppressionEntry], author: Author) -> int:
        """Each batch is durable by itself. In order of address, since a long list goes in several
        times as fast when neighbours in the index come together."""
        new = 0
        ordered = await _in_order_of_key(entries)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            new += await self._writer.submit(suppression.put, (batch, author))
        return new

    async def add_observed(self, entries: Sequence[SuppressionEntry]) -> None:
        for start in range(0, len(entries), _BATCH):
            await self._writer.submit(suppression.observed, entries[start : start + _BATCH])

    async def remove(self, addresses: Sequence[str], author: Author) -> int:
        gone = 0
        for start in range(0, len(addresses), _BATCH):
            batch = addresses[start : start + _BATCH]
            gone += await self._writer.submit(suppression.remove, (batch, author))
        return gone

    async def find(self, address: str) -> SuppressionEntry | None:
        return await self._questions.ask(suppression.find, address)

    async def reasons(self, keys: Sequence[str]) -> dict[str, tuple[SuppressionReason, int | None]]:
        return await self._questions.ask(suppression.entries_for, keys)

    async def all(self) -> AsyncIterator[SuppressionEntry]:
        after = ""
        while page := await self._questions.ask(suppression.page, after, _PAGE):
            for after, entry in page:  # noqa: B007 - the last key starts the next page
                yield entry

    async def count(self) -> int:
        return await self._questions.ask(suppression.count)

    async def tally(self, now: int) -> list[SuppressionCount]:
        numbers: Counter[tuple[str, str]] = Counter()
        expired: Counter[tuple[str, str]] = Counter()
        kinds: dict[tuple[str, str], SuppressionCount] = {}
        after = 0
        while True:
            some, after = await self._questions.ask(suppression.tally, after, _TALLIED, now)
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
        return await self._writer.submit(suppression.prune, (before, limit), unhurried=True)

    async def begin(self, what: BulkKind, detail: str, author: Author) -> int:
        return await self._writer.submit(suppression_changes.begin, (what, detail, author))

    async def end(self, bulk: int, at: int, more: str) -> None:
        await self._writer.submit(suppression_changes.end, (bulk, at, more))

    async def changes(self, address: str, limit: int) -> list[SuppressionChange]:
        return await self._questions.ask(suppression_changes.last_of, address, limit)

    async def prune_changes(self, before: int, most: int, limit: int) -> int:
        return await self._writer.submit(
            suppression_changes.prune, (before, most, limit), unhurried=True
        )


async def _in_order_of_key(entries: Sequence[SuppressionEntry]) -> Sequence[SuppressionEntry]:
    """Stable: of two spellings of an address the last one wins."""
    if len(entries) <= _SORTED_HERE:
        return sorted(entries, key=_key)
    return await asyncio.to_thread(sorted, entries, key=_key)


def _key(entry: SuppressionEntry) -> str:
    return suppression_key(entry.address)
