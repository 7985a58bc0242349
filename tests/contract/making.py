"""Messages for stores to keep, and a store of each kind that can be opened again and again."""

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from relay.mail.envelope import Envelope, Recipient
from relay.store.interface import Store
from relay.store.postgres import Place, PostgresStore
from relay.store.postgres.permits import as_asked
from relay.store.sqlite import SqliteStore
from relay.store.suppression_values import Author
from relay.store.values import Body, Delivery, Message, NewMessage, SuppressionReason

NOW = 1_800_000_000_000
LEASE = 30_000
AUTHOR = Author("tester", NOW)
HEADER = b"From: app@sender.test\r\nSubject: hello\r\n"

_HARM = {
    column: f"UPDATE message SET {column} = {{}} WHERE message_id = {{}}"
    for column in ("facts", "header", "body")
} | {
    "recipients": "UPDATE delivery SET recipients = {}"
    " WHERE id >> 20 = (SELECT id FROM message WHERE message_id = {})"
}

_numbers = itertools.count(1)


def make_message(*recipients: str, body: Body | None = None, **fields: Any) -> Message:
    """An accepted message to these recipients (one at destination.test by default)."""
    content = b"A line.\r\n"
    known: dict[str, Any] = {
        "id": f"0100019aa51c7e30-{next(_numbers):08x}-0000-4000-8000-000000000000-000000",
        "accepted_at": NOW,
        "expires_at": NOW + 50_400_000,
        "envelope": Envelope(
            "app@sender.test",
            tuple(Recipient(address) for address in recipients or ("a@destination.test",)),
        ),
        "credential": "app",
        "configuration_set": "main",
        "identity": "sender.test",
        "header": HEADER,
        "body": body or Body(len(content), b"s" * 32, b"r" * 32, inline=content),
        "tags": (("kind", "test"),),
    }
    return Message(**(known | fields))


def make_new(
    *recipients: str,
    due_at: int = NOW,
    suppression: Sequence[SuppressionReason] = (),
    **fields: Any,
) -> NewMessage:
    return NewMessage(make_message(*recipients, **fields), due_at, tuple(suppression))


class Clock:
    """A monotonic clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_ms(self, milliseconds: int) -> None:
        self.now += milliseconds / 1000


class SqliteKind:
    """Stores in one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.clock = Clock()
        self.commits: list[tuple[float, int]] = []
        self.errors: list[str] = []
        self._opened: list[SqliteStore] = []

    async def open(self) -> Store:
        """A store; what earlier ones stored is there."""
        return await self._open(joining=False)

    async def _open(self, *, joining: bool) -> SqliteStore:
        store = SqliteStore(
            self.data_dir,
            inline_size=1_000,
            on_commit=lambda seconds, operations: self.commits.append((seconds, operations)),
            on_error=self.errors.append,
            clock=self.clock,
        )
        self._opened.append(store)
        await store.open(joining)
        return store

    async def pass_ms(self, milliseconds: int) -> None:
        """Time passes, by the clock on which leases are measured."""
        self.clock.pass_ms(milliseconds)

    async def harm(self, message_id: str, column: str, content: bytes) -> None:
        """Something else stands in a column of a message, or of its deliveries, from now on."""
        with closing(sqlite3.connect(self.data_dir / "relay.db")) as db, db:
            db.execute(_HARM[column].format("?", "?"), (content, message_id))

    async def close(self) -> None:
        for store in reversed(self._opened):
            await store.close()


class JoinedKind(SqliteKind):
    """Stores that have joined one which stays open beside them."""

    async def open(self) -> Store:
        if not self._opened:
            await self._open(joining=False)
        return await self._open(joining=True)


class PostgresKind:
    """Stores of one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.commits: list[tuple[float, int]] = []
        self.errors: list[str] = []
        self._opened: list[PostgresStore] = []

    async def open(self, *, joining: bool = False) -> Store:
        """A store; what earlier ones stored is there. One that is `joining` does not sweep."""
        store = PostgresStore(
            Place(self._url),
            inline_size=1_000,
            on_commit=lambda seconds, operations: self.commits.append((seconds, operations)),
            on_error=self.errors.append,
            clock=itertools.count().__next__,
            permit_clock=as_asked,
        )
        self._opened.append(store)
        await store.open(joining)
        return store

    async def pass_ms(self, milliseconds: int) -> None:
        """Owners were last heard of that much earlier."""
        session = await Place(self._url).connect()
        try:
            await session.execute(
                "UPDATE worker SET renewed_at = renewed_at - past,"
                " steady_since = steady_since - past"
                " FROM (SELECT $1::integer * interval '1 millisecond' AS past) AS meanwhile",
                milliseconds,
            )
        finally:
            session.terminate()

    async def harm(self, message_id: str, column: str, content: bytes) -> None:
        """As of the other kind."""
        session = await Place(self._url).connect()
        try:
            await session.execute(_HARM[column].format("$1", "$2"), content, message_id)
        finally:
            session.terminate()

    async def close(self) -> None:
        for store in reversed(self._opened):
            await store.close()


Kind = SqliteKind | PostgresKind


async def read(store: Store, delivery: Delivery) -> bytes:
    return b"".join([chunk async for chunk in store.read_body(delivery.message)])


async def write_body(store: Store, *chunks: bytes) -> Body:
    writer = store.new_body()
    for chunk in chunks:
        await writer.write(chunk)
    return await writer.finish(simple_digest=b"s" * 32, relaxed_digest=None, eight_bit=False)
