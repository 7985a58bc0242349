"""A session with the server, as the driver gives it: so much of it as is used here, with types."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Row = Sequence[Any]
"""The columns of one row, in the order of the question. They go by name too."""


class Session(Protocol):
    """What `asyncpg.Connection` offers. Parameters are `$1`, `$2`, …"""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """The words of the server for what it did, as `UPDATE 3`."""

    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None: ...

    async def fetch(self, query: str, *args: Any) -> list[Row]: ...

    async def fetchrow(self, query: str, *args: Any) -> Row | None: ...

    async def fetchval(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...

    async def add_listener(
        self, channel: str, callback: Callable[[Any, int, str, str], None]
    ) -> None: ...

    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[Any]], columns: Sequence[str]
    ) -> str: ...

    def transaction(self, *, readonly: bool = False) -> AbstractAsyncContextManager[None]: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    async def close(self, *, timeout: float | None = None) -> None: ...


def rows_of(told: str) -> int:
    """How many rows the server says that it changed."""
    return int(told.rpartition(" ")[2])
