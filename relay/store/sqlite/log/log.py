"""The message log on SQLite: one thread that writes, one that reads.

Its one writer is the scribe, so that writing needs no turn. Everything that is asked for is one
transaction, on stable storage when it returns. A log that turns out to be damaged is moved aside
and begun anew: mail depends on nothing in it.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from relay.observe.logging import Logger, make_logger
from relay.store.interface import StoreUnavailable
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
from relay.store.sqlite.errors import breaks_connection, primary_code, translate
from relay.store.sqlite.log import filing as filings
from relay.store.sqlite.log import search as searches
from relay.store.sqlite.log import telling
from relay.store.sqlite.log.schema import NAME, connect_log
from relay.store.sqlite.reader import Reader

P = ParamSpec("P")
R = TypeVar("R")

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SHRUNK_AT_ONCE = 2_000  # pages


class SqliteLog:
    """Implements `relay.store.log_interface.MessageLog` on `data_dir/log.db`."""

    def __init__(self, data_dir: Path, *, log: Logger | None = None) -> None:
        self._path = data_dir / NAME
        self._log = log or make_logger(level="error")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="relay-log-writer")
        self._connection: sqlite3.Connection | None = None
        self._reader = Reader(self._path, lambda _: None)
        self._is_reading = False
        self._inode = 0

    # Life

    async def open(self, reading: bool = False) -> None:
        """See `MessageLog`."""
        self._is_reading = reading
        if not reading:
            await self._write(lambda _: None)

    async def close(self) -> None:
        """What was asked for before is done first."""
        await asyncio.to_thread(self._reader.close)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._writing.shutdown(wait=True)
        self._disconnect()

    # Filing

    async def filed_upto(self, outbox: str) -> int:
        return await self._ask(filings.filed_upto, outbox)

    async def file(self, filing: Filing) -> None:
        await self._write(filings.file, filing)

    async def prune(self, before: int, most_octets: int, keep_from: int, limit: int) -> int:
        gone = await self._write(filings.prune, before, most_octets, keep_from, limit)
        if gone:
            await self._run(lambda db: filings.shrink(db, _SHRUNK_AT_ONCE))
        return gone

    async def tallies(self, since_hour: int) -> list[Tally]:
        return [] if self._is_absent() else await self._ask(filings.tallies_since, since_hour)

    async def prune_tallies(self, before_hour: int) -> int:
        return await self._write(filings.prune_tallies, before_hour)

    # Looking up

    async def message(self, message_id: str) -> LoggedMessage | None:
        return None if self._is_absent() else await self._ask(searches.message, message_id)

    async def messages(self, ids: Sequence[str]) -> dict[str, LoggedMessage]:
        return {} if self._is_absent() else await self._ask(searches.messages, ids)

    async def events_of(self, message_id: str, limit: int = 1_000) -> list[LoggedEvent]:
        if self._is_absent():
            return []
        return await self._ask(searches.events_of, message_id, limit)

    async def search(self, query: MessageQuery) -> SearchResult:
        return SearchResult() if self._is_absent() else await self._ask(searches.search, query)

    # Telling

    async def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        return await self._ask(telling.events_after, number, limit)

    async def newest_event(self) -> int:
        return await self._ask(telling.newest_event)

    async def oldest_event(self) -> int:
        return await self._ask(telling.oldest_event)

    async def count_events(self, after: int, upto: int) -> int:
        return await self._ask(telling.count_events, after, upto)

    async def cursors(self) -> list[TellingCursor]:
        return await self._ask(telling.cursors)

    async def put_cursors(self, cursors: Sequence[TellingCursor]) -> None:
        await self._write(telling.put_cursors, cursors)

    async def forget_cursor(self, destination: str) -> None:
        await self._write(telling.forget_cursor, destination)

    async def add_dead_letters(self, letters: Sequence[DeadLetter], most: int) -> None:
        await self._write(telling.add_dead_letters, letters, most)

    async def dead_letters(
        self, destination: str, after: int = 0, limit: int = 100
    ) -> list[DeadLetter]:
        return await self._ask(telling.dead_letters, destination, after, limit)

    async def count_dead_letters(self) -> dict[str, int]:
        return await self._ask(telling.count_dead_letters)

    async def forget_dead_letters(self, ids: Sequence[int]) -> int:
        return await self._write(telling.forget_dead_letters, ids)

    # Threads

    def _is_absent(self) -> bool:
        """Whether there is nothing to read yet."""
        return self._is_reading and not self._path.exists()

    async def _ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        if self._is_reading:
            self._look_for_another()
        return await self._reader.ask(question, *args, **kwargs)

    def _look_for_another(self) -> None:
        """The one who writes may have moved a damaged log aside and begun another."""
        with contextlib.suppress(FileNotFoundError):
            inode = self._path.stat().st_ino
            if self._inode not in (0, inode):
                self._reader.forget()
            self._inode = inode

    async def _write(
        self,
        operation: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run it in a transaction. Raises StoreError, with nothing changed."""

        def in_transaction(db: sqlite3.Connection) -> R:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = operation(db, *args, **kwargs)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                raise
            return result

        return await self._run(in_transaction)

    async def _run(self, work: Callable[[sqlite3.Connection], R]) -> R:
        if self._is_reading:
            raise StoreUnavailable("The message log was opened for reading.")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._writing, self._with_connection, work)
        except (sqlite3.Error, OSError) as error:
            raise translate(error, self._path.parent) from error

    def _with_connection(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """On the thread that writes."""
        try:
            if self._connection is None:
                self._connection = connect_log(self._path)
            return work(self._connection)
        except sqlite3.Error as error:
            if breaks_connection(error):
                self._disconnect()
            if primary_code(error) in _DAMAGED:
                self._move_aside(error)
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _move_aside(self, damage: sqlite3.Error) -> None:
        """The next that is written begins another log. What was filed and is still to be told is
        lost with this one; nothing else depends on it."""
        aside = self._path.with_name(f"{NAME}.damaged-{time.time_ns() // 1_000_000}")
        self._log.error(
            "the message log is damaged: it is moved aside, and another one begun",
            damage=str(damage),
            moved_to=str(aside),
        )
        self._path.rename(aside)
        for rest in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(NAME + rest).rename(aside.with_name(aside.name + rest))
        # What reads still has the old file open.
        self._reader.forget()
