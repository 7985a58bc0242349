"""One thread with a connection that cannot write: questions that must not wait for commits.

It sees what is committed (a WAL snapshot). Like the writer it opens its connection anew after a
fault of the medium.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.sqlite.errors import breaks_connection, translate
from relay.store.sqlite.schema import connect_reading

P = ParamSpec("P")
R = TypeVar("R")


class Reader:
    """Answers questions about the database at `path`, one after the other."""

    def __init__(self, path: Path, on_error: Callable[[StoreError], None]) -> None:
        self._path = path
        self._on_error = on_error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay-store-reader")
        self._closed = False
        self._connection: sqlite3.Connection | None = None

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What `question` finds. Raises StoreError."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._thread, lambda: self._answer(question, *args, **kwargs)
            )
        except (sqlite3.Error, OSError) as error:
            translated = translate(error, self._path.parent)
            self._on_error(translated)
            raise translated from error

    def asking(
        self, question: Callable[Concatenate[sqlite3.Connection, P], R]
    ) -> Callable[P, Awaitable[R]]:
        """`question`, to be given what for; see `ask`."""

        def ask(*args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
            return self.ask(question, *args, **kwargs)

        return ask

    def forget(self) -> None:
        """Open the file anew for the next question: another one has taken its place."""
        self._thread.submit(self._disconnect)

    def close(self) -> None:
        """Blocks until the question under way is answered."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._disconnect()

    def _answer(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        if self._connection is None:
            self._connection = connect_reading(self._path)
        try:
            return question(self._connection, *args, **kwargs)
        except sqlite3.Error as error:
            if breaks_connection(error):
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
