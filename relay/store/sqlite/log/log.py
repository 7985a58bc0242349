"""The message log on SQLite: one thread that writes, one that reads.

Its one writer is the scribe, so that writing needs no turn. Everything that is asked for is one
transaction, on stable storage when it returns. A log that turns out to be damaged is moved aside
and begun anew when it is opened again: mail depends on nothing in it. Until then nothing is
written, for whoever writes knows numbers of events that the new one would give to others.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from relay.observe.logging import Logger, make_logger
from relay.store.interface import StoreError, StoreUnavailable
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
from relay.store.sqlite.errors import breaks_connection, primary_code, translate
from relay.store.sqlite.log import filing as filings
from relay.store.sqlite.log import pruning, telling
from relay.store.sqlite.log import search as searches
from relay.store.sqlite.log.schema import NAME, connect_log
from relay.store.sqlite.reader import Reader

P = ParamSpec("P")
R = TypeVar("R")

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SHRUNK_AT_ONCE = 2_000  # pages


class SqliteLog:
    """Implements `relay.store.log_interface.MessageLog` on `data_dir/log.db`. `on_damage` is called
    when a log that was open had to be moved aside, on the loop."""

    def __init__(
        self,
        data_dir: Path,
        *,
        log: Logger | None = None,
        on_damage: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = data_dir / NAME
        self._log = log or make_logger(level="error")
        self._on_damage = on_damage
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="relay-log-writer")
        self._connection: sqlite3.Connection | None = None
        self._reader = Reader(self._path, lambda _: None)
        self._is_reading = False
        self._inode = 0
        self._is_aside = False
        self._pruned_to = 0

    # Life

    async def open(self, reading: bool = False) -> None:
        """See `MessageLog`."""
        self._is_reading = reading
        if not reading:
            try:
                await self._begin()
            except StoreError:
                if not self._is_aside:
                    raise
                await self._begin()

    async def _begin(self) -> None:
        self._is_aside = False
        await self._run(lambda _: None, is_opening=True)

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

    async def prune(
        self, before: int, most_octets: int, keep_from: int, limit: int, now: int = NEVER_TRIED
    ) -> int:
        gone, self._pruned_to = await self._write(
            pruning.prune, before, most_octets, keep_from, limit, now, self._pruned_to
        )
        if gone:
            await self._run(lambda db: pruning.shrink(db, _SHRUNK_AT_ONCE))
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
        self._must_be_there()
        try:
            return await self._reader.ask(question, *args, **kwargs)
        except StoreError as error:
            damage = error.__cause__
            if isinstance(damage, sqlite3.Error) and primary_code(damage) in _DAMAGED:
                await self._abandon(damage)
            raise

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

    async def _run(self, work: Callable[[sqlite3.Connection], R], *, is_opening: bool = False) -> R:
        if self._is_reading:
            raise StoreUnavailable("The message log was opened for reading.")
        self._must_be_there()
        try:
            return await self._in_writing(self._with_connection, work)
        except (sqlite3.Error, OSError) as error:
            if primary_code(error) in _DAMAGED:
                await self._abandon(error, is_known=is_opening)
            raise translate(error, self._path.parent) from error

    def _must_be_there(self) -> None:
        if self._is_aside:
            raise StoreUnavailable("The message log was damaged, and is moved aside.")

    async def _in_writing(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """On the thread that writes."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writing, partial(work, *args, **kwargs))

    def _with_connection(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            if self._connection is None:
                self._connection = connect_log(self._path)
            return work(self._connection)
        except sqlite3.Error as error:
            if breaks_connection(error):
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    # Damage

    async def _abandon(self, damage: Exception, *, is_known: bool = False) -> None:
        """Once, whoever meets it first. What was filed and is still to be told is lost with this
        log; nothing else depends on it."""
        if self._is_aside:
            return
        self._is_aside = True
        try:
            aside = await self._in_writing(self._move_aside)
        except OSError as error:
            self._log.error("a damaged message log cannot be moved aside", error=str(error))
            raise translate(error, self._path.parent) from error
        finally:
            if not is_known:
                self._on_damage()
        self._log.error(
            "the message log is damaged: it is moved aside, and another one begun",
            damage=str(damage),
            moved_to=str(aside),
        )

    def _move_aside(self) -> Path:
        self._disconnect()
        aside = self._path.with_name(f"{NAME}.damaged-{time.time_ns() // 1_000_000}")
        # The file itself last: whoever dies in between meets the damage again. A log that is begun
        # beside the old one's WAL would take that for its own.
        for rest in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(NAME + rest).rename(aside.with_name(aside.name + rest))
        # What reads still has the old file open.
        self._reader.forget()
        return aside
