"""The part of the store that no message waits for: permits, suppression, operators, secrets."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

from relay.mail.address import suppression_key
from relay.store.interface import StoreUnavailable
from relay.store.sqlite import groups, operators, permits, suppression
from relay.store.sqlite.attempts import Attempts
from relay.store.sqlite.codec import Damaged
from relay.store.sqlite.delays import Delays
from relay.store.sqlite.outbox import Outbox
from relay.store.sqlite.pauses import Pauses
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.sts_policies import StsPolicies
from relay.store.sqlite.suspensions import Suspensions
from relay.store.sqlite.tls_tallies import TlsTallies
from relay.store.sqlite.unclassified import Unclassified
from relay.store.sqlite.warmups import Warmups
from relay.store.sqlite.writer import Writer
from relay.store.values import (
    Message,
    PermitRequest,
    Permits,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    QueueGroup,
    QueueGrouping,
    Secret,
    State,
    SuppressionEntry,
)

_SUPPRESSION_BATCH = 500
_RUN = 20_000
_PAGE = 1_000


async def _in_order_of_key(entries: Sequence[SuppressionEntry]) -> Iterator[SuppressionEntry]:
    """A long list goes in several times as fast when neighbours in the index come together.

    Sorted in runs, so that the loop is never held up, and merged while it goes in. Both are
    stable: of two spellings of an address the last one wins.
    """
    if len(entries) <= _SUPPRESSION_BATCH:
        return iter(entries)
    runs = []
    for start in range(0, len(entries), _RUN):
        run = entries[start : start + _RUN]
        runs.append(await asyncio.to_thread(sorted, run, key=_key))
    return heapq.merge(*runs, key=_key)


def chunked(identifiers: Sequence[int]) -> Iterator[Sequence[int]]:
    """In parts that one operation may change."""
    for start in range(0, len(identifiers), operators.CHANGED):
        yield identifiers[start : start + operators.CHANGED]


def _key(entry: SuppressionEntry) -> str:
    return suppression_key(entry.address)


class Lists:
    """Implements `PermitStore`, `SuppressionStore` and most of `OperatorStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions
        self.outbox = Outbox(writer, questions)
        self.pauses = Pauses(writer, questions)
        self.attempts = Attempts(writer, questions)
        self.suspensions = Suspensions(writer, questions)
        self.delays = Delays(writer, questions)
        self.warmups = Warmups(writer, questions)
        self.unclassified = Unclassified(writer, questions)
        self.sts_policies = StsPolicies(writer, questions)
        self.tls_tallies = TlsTallies(writer, questions)

    # Permits

    async def lease_permits(self, request: PermitRequest) -> Permits:
        return await self._writer.submit(permits.lease, request)

    async def return_permits(self, key: str, at: int, count: int) -> None:
        await self._writer.submit(permits.give_back, (key, at, count))

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
        return await self._questions.ask(permits.used, keys, window, now)

    # Suppression

    async def suppress(self, entries: Sequence[SuppressionEntry]) -> int:
        """In batches that are small enough for others to come in between; each is durable alone."""
        new = 0
        ordered = await _in_order_of_key(entries)
        while batch := list(itertools.islice(ordered, _SUPPRESSION_BATCH)):
            new += await self._writer.submit(suppression.add, batch)
        return new

    async def add_observed(self, entries: Sequence[SuppressionEntry]) -> None:
        await self._writer.submit(suppression.add_all_observed, entries)

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        gone = 0
        for start in range(0, len(addresses), _SUPPRESSION_BATCH):
            batch = addresses[start : start + _SUPPRESSION_BATCH]
            gone += await self._writer.submit(suppression.remove, batch)
        return gone

    async def suppression(self, address: str, now: int) -> SuppressionEntry | None:
        return await self._questions.ask(suppression.find, address, now)

    async def suppressions(self) -> AsyncIterator[SuppressionEntry]:
        after = ""
        while page := await self._questions.ask(suppression.page, after, _PAGE):
            for after, entry in page:  # noqa: B007 - the last key starts the next page
                yield entry

    async def count_suppressions(self) -> int:
        return await self._questions.ask(suppression.count)

    # Operators

    async def queue(self, which: QueueFilter) -> list[QueueEntry]:
        found: list[QueueEntry] = []
        for some in chunked(await self._matching(which, quarantined=True)):
            found += await self._questions.ask(operators.entries, some)
        return found

    async def matching(self, which: QueueFilter) -> Sequence[int]:
        return await self._matching(which)

    async def _matching(
        self, which: QueueFilter, *, unclaimed: bool = False, quarantined: bool = False
    ) -> list[int]:
        """In questions that are short enough for others to come in between."""
        found: list[int] = []
        while len(found) < which.limit:
            some, last = await self._questions.ask(
                operators.page, which, unclaimed=unclaimed, quarantined=quarantined
            )
            found += some
            if not last:
                break
            which = replace(which, after=last)
        return found[: which.limit]

    async def newest(self) -> int:
        return await self._questions.ask(operators.newest)

    async def depths(self) -> list[QueueDepth]:
        return await self._questions.ask(operators.depths)

    async def groups(self, by: QueueGrouping) -> list[QueueGroup]:
        return await self._questions.ask(groups.groups, by)

    async def set_state(self, which: QueueFilter, state: State) -> int:
        changed = 0
        for some in chunked(await self._matching(which)):
            changed += await self._writer.submit(operators.set_state, (some, which.state, state))
        return changed

    async def retry_now(self, which: QueueFilter, now: int) -> int:
        changed = 0
        for some in chunked(await self._matching(which, unclaimed=True)):
            changed += await self._writer.submit(operators.retry_now, (some, now))
        return changed

    async def move(self, which: QueueFilter, pool: str) -> int:
        changed = 0
        for some in chunked(await self._matching(which)):
            changed += await self._writer.submit(operators.move, (some, pool))
        return changed

    async def find_message(self, message_id: str) -> Message | None:
        try:
            return await self._questions.ask(operators.find_message, message_id)
        except Damaged as error:
            raise StoreUnavailable(f"Message {message_id} is damaged: {error}") from error

    async def add_secret(self, secret: Secret) -> None:
        await self._writer.submit(operators.add_secret, secret)

    async def secrets(self) -> list[Secret]:
        return await self._questions.ask(operators.secrets)

    async def revoke_secrets(self, credential: str, now: int) -> int:
        return await self._writer.submit(operators.revoke_secrets, (credential, now))
