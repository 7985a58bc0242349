"""Runs batches of requests, each batch in one transaction.

A connection that a fault has made doubtful is opened anew for the next batch. Owns the writing
connection; used on the writer's thread only.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from relay.store.sqlite.errors import breaks_connection, primary_code, translate
from relay.store.sqlite.requests import Operation, Request, Resolution


class Transactions:
    """Transactions on the connection that `connect` opens."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        data_dir: Path,
        on_full: Callable[[], bool],
    ) -> None:
        self._connect = connect
        self._data_dir = data_dir
        self._on_full = on_full
        self._connection: sqlite3.Connection | None = None
        self.has_made_room = False  # since the last fault; what found none may be tried again

    def commit(self, batch: Sequence[Request[Any, Any]]) -> list[Resolution]:
        """Run the batch, and commit. Raises what went wrong, with nothing changed."""
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        kinds: dict[Operation[Any, Any], list[Request[Any, Any]]] = {}
        for request in batch:
            kinds.setdefault(request.operation, []).append(request)
        resolved: list[Resolution] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for operation, requests in kinds.items():
                results = operation(connection, [request.argument for request in requests])
                resolved += [
                    (request, result, None)
                    for request, result in zip(requests, results, strict=True)
                ]
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(connection, error)
            raise
        return resolved

    def explain(self, error: Exception) -> Exception:
        """A fault of the medium as a StoreError; any other is one of ours, and stays as it is."""
        if isinstance(error, (sqlite3.Error, OSError)):
            return translate(error, self._data_dir)
        return error

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _roll_back(self, connection: sqlite3.Connection, cause: BaseException) -> None:
        try:
            # Some faults (disk full, I/O) have made SQLite roll back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
        if breaks_connection(cause):
            self.close()
        elif primary_code(cause) == sqlite3.SQLITE_FULL:
            self.has_made_room = self._on_full()
            # Once its log is emptied into the file, the log's own room can be used again.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
