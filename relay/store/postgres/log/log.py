"""The message log on PostgreSQL: one group commit that writes, a few sessions that read.

Its one writer is the scribe of the fleet. Everything that is asked for is one transaction, on
stable storage when it returns. The log lies in the database of the queue, and is restored with it.
"""

from collections.abc import Sequence
from typing import TypeVar

from relay.observe.logging import Logger, make_logger
from relay.store.fleet_values import HeldDuty
from relay.store.interface import StoreUnavailable
from relay.store.log_interface import NEVER_TRIED
from relay.store.log_values import (
    DeadLetter,
    Filing,
    LoggedEvent,
    LoggedMessage,
    MessageQuery,
    SearchResult,
    Tally,
    TellingCursor,
)
from relay.store.postgres import schema
from relay.store.postgres.log import filing as filings
from relay.store.postgres.log import pruning, telling
from relay.store.postgres.log import search as searches
from relay.store.postgres.log.fence import fenced
from relay.store.postgres.place import Place
from relay.store.postgres.reader import Reader
from relay.store.postgres.requests import Operation
from relay.store.postgres.writer import Writer

A = TypeVar("A")
R = TypeVar("R")

_LONGEST_QUESTION = "10s"


class PostgresLog:
    """Implements `relay.store.log_interface.MessageLog`."""

    def __init__(
        self, place: Place, *, duty: HeldDuty | None = None, log: Logger | None = None
    ) -> None:
        """What is written is fenced by `duty`, where it is given."""
        self._duty = duty
        self._writer = Writer(
            place,
            on_commit=lambda _seconds, _operations: None,
            on_error=lambda _: None,
            log=log or make_logger(level="error"),
        )
        self._reader = Reader(place, lambda _: None, statement_timeout=_LONGEST_QUESTION)
        self._is_reading = False
        self._pruned_to = 0

    # Life

    async def open(self, reading: bool = False) -> None:
        """See `MessageLog`. The tables are the store's, and so are their migrations. Raises
        StoreUnavailable where they are not those that this relay knows."""
        self._is_reading = reading
        if not reading:
            await self._reader.ask(schema.check)
            self._writer.start()

    async def close(self) -> None:
        """What was asked for before is done first."""
        await self._writer.close()
        await self._reader.close()

    # Filing

    async def filed_upto(self, outbox: str) -> int:
        return await self._reader.ask(filings.filed_upto, outbox)

    async def file(self, filing: Filing) -> None:
        await self._write(filings.file, filing)

    async def prune(
        self, before: int, most_octets: int, keep_from: int, limit: int, now: int = NEVER_TRIED
    ) -> int:
        step = pruning.Step(before, most_octets, keep_from, limit, now, self._pruned_to)
        gone, self._pruned_to = await self._write(pruning.prune, step)
        return gone

    async def tallies(self, since_hour: int) -> list[Tally]:
        return await self._reader.ask(filings.tallies_since, since_hour)

    async def prune_tallies(self, before_hour: int) -> int:
        return await self._write(filings.prune_tallies, before_hour)

    # Looking up

    async def message(self, message_id: str) -> LoggedMessage | None:
        return (await self.messages([message_id])).get(message_id)

    async def messages(self, ids: Sequence[str]) -> dict[str, LoggedMessage]:
        return await self._reader.ask(searches.messages, ids)

    async def events_of(self, message_id: str, limit: int = 1_000) -> list[LoggedEvent]:
        return await self._reader.ask(searches.events_of, message_id, limit)

    async def search(self, query: MessageQuery) -> SearchResult:
        return await self._reader.ask(searches.search, query)

    # Telling

    async def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        return await self._reader.ask(telling.events_after, number, limit)

    async def newest_event(self) -> int:
        return await self._reader.ask(telling.newest_event)

    async def oldest_event(self) -> int:
        return await self._reader.ask(telling.oldest_event)

    async def count_events(self, after: int, upto: int) -> int:
        return await self._reader.ask(telling.count_events, after, upto)

    async def cursors(self) -> list[TellingCursor]:
        return await self._reader.ask(telling.cursors)

    async def put_cursors(self, cursors: Sequence[TellingCursor]) -> None:
        await self._write(telling.put_cursors, cursors)

    async def forget_cursor(self, destination: str) -> None:
        await self._write(telling.forget_cursors, destination)

    async def add_dead_letters(self, letters: Sequence[DeadLetter], most: int) -> None:
        await self._write(telling.add_dead_letters, (letters, most))

    async def dead_letters(
        self, destination: str, after: int = 0, limit: int = 100
    ) -> list[DeadLetter]:
        return await self._reader.ask(telling.dead_letters, destination, after, limit)

    async def count_dead_letters(self) -> dict[str, int]:
        return await self._reader.ask(telling.count_dead_letters)

    async def forget_dead_letters(self, ids: Sequence[int]) -> int:
        return await self._write(telling.forget_dead_letters, ids)

    async def _write(self, operation: Operation[A, R], argument: A) -> R:
        if self._is_reading:
            raise StoreUnavailable("The message log was opened for reading.")
        if self._duty is not None:
            operation = fenced(operation, self._duty)
        return await self._writer.submit(operation, argument)
