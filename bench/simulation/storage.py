"""The real store without its threads: every statement of SQL is the one that a relay runs.

What is asked for in one turn of the loop is one transaction in the next. Nothing is synced, since
nothing is to survive.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from relay.store.interface import StoreError
from relay.store.sqlite.requests import Operation, Request
from relay.store.sqlite.schema import connect, connect_reading
from relay.store.sqlite.store import SqliteStore
from relay.store.sqlite.transactions import Transactions


class Inline:
    """In the place of the store's `Writer` and `Reader`, on the loop's own thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transactions = Transactions(self._connect, path.parent, lambda: False)
        self._reading: sqlite3.Connection | None = None
        self._waiting: list[Request[Any, Any]] = []

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    # As a writer

    def start(self) -> None: ...

    def end(self) -> None: ...

    def join(self) -> None:
        self._transactions.close()

    def submit(
        self,
        operation: Operation[Any, Any],
        argument: Any,
        if_lost: Callable[[Any], None] | None = None,
        *,
        unhurried: bool = False,
    ) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit)
        request = Request(operation, argument, loop, if_lost)
        self._waiting.append(request)
        return request.future

    def doing(
        self, operation: Operation[Any, Any], *, unhurried: bool = False
    ) -> Callable[[Any], "asyncio.Future[Any]"]:
        return lambda argument: self.submit(operation, argument, unhurried=unhurried)

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        for request, result, _ in self._transactions.commit(batch):
            if not request.future.done():
                request.future.set_result(result)
            elif request.if_lost is not None:
                request.if_lost(result)

    # As a reader

    async def ask(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._reading is None:
            self._reading = connect_reading(self._path)
        await asyncio.sleep(0)
        return question(self._reading, *args, **kwargs)

    def asking(self, question: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        return partial(self.ask, question)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None


class ThreadlessStore(SqliteStore):
    """A `SqliteStore` in `directory` that answers on the loop."""

    def __init__(self, directory: Path, **facts: Any) -> None:
        super().__init__(directory, **facts)
        inline: Any = Inline(directory / "relay.db")
        self._work_with(inline, inline, inline)

    @staticmethod
    def failed(error: StoreError) -> None:
        """Nothing may fail in a simulation."""
        raise error
