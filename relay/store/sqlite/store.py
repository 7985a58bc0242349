"""The embedded store: SQLite in WAL mode with `synchronous=FULL`, one thread that writes.

Every method of `relay.store.interface.Store`; each hands an operation to the writer or a question
to a reader and waits for its answer. What is on disk: `data_dir/relay.db` (rows and small bodies)
and `data_dir/spool/` (large bodies), readable by the owner only.

A damaged delivery (its row, its message or its body) is put in quarantine, logged and reported
through `on_error`; the rest of the queue goes on.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from relay.observe.logging import Logger, make_logger
from relay.store.interface import BodyDamaged, StoreError, StoreFull, StoreUnavailable
from relay.store.sqlite import claims, messages, operators, permits, suppression
from relay.store.sqlite.codec import Damaged
from relay.store.sqlite.prepare import mark_clean, prepare
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.schema import connect
from relay.store.sqlite.spool import BLOCK, Spool, SpoolingWriter
from relay.store.sqlite.writer import Writer
from relay.store.values import (
    Accepted,
    Delivery,
    Message,
    NewMessage,
    Owner,
    PermitRequest,
    Permits,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    Secret,
    Settlement,
    State,
    SuppressionEntry,
)

_SUPPRESSION_BATCH = 1_000
_PAGE = 1_000


class SqliteStore:
    """A `Store` in `data_dir`. One process at a time: see `lock_data_dir`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        inline_size: int = 64 * 1024,
        on_commit: Callable[[float, int], None] = lambda seconds, operations: None,
        on_error: Callable[[str], None] = lambda kind: None,
        log: Logger | None = None,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bodies of more than `inline_size` octets get files of their own.

        `on_commit(seconds, operations)` is told of each group commit, `on_error(kind)` of each
        failure: full, unavailable, damaged. Both are called on the store's threads. `wall` gives
        UTC milliseconds (file ages), `clock` monotonic seconds (leases).
        """
        self._data_dir = data_dir
        self._inline_size = inline_size
        self._on_error = on_error
        self._log = log or make_logger()
        self._wall = wall
        self._leases = claims.Leases(clock)
        path = data_dir / "relay.db"
        self._path = path
        self._spool = Spool(data_dir / "spool", data_dir)
        self._bodies = Reader(path)
        self._questions = Reader(path)
        self._writer = Writer(
            lambda: connect(path), data_dir, on_commit=on_commit, on_error=self._failed
        )

    # Life

    async def open(self) -> None:
        opened_at = self._wall() / 1000
        findings = await self._spool.run(lambda: prepare(self._data_dir))
        for finding in findings:
            self._log.error("the store is damaged", finding=finding)
            self._on_error("damaged")
        self._writer.start()
        named = await self._questions.ask(messages.referenced_files)
        removed = await self._spool.run(lambda: self._spool.sweep(named, opened_at))
        if removed:
            self._log.info("removed bodies of messages that were never accepted", count=removed)

    async def close(self) -> None:
        await self._writer.submit(mark_clean, None)
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _shut(self) -> None:
        self._bodies.close()
        self._questions.close()
        self._spool.close()
        self._writer.close()

    async def free_space(self) -> int:
        status = await self._spool.run(lambda: os.statvfs(self._data_dir))
        no_inodes = status.f_files > 0 and status.f_favail == 0
        return 0 if no_inodes else status.f_bavail * status.f_frsize

    # Accepting

    def new_body(self) -> SpoolingWriter:
        return SpoolingWriter(self._spool, self._inline_size)

    async def insert(self, new: NewMessage, owner: Owner | None) -> Accepted:
        ref = new.message.body.ref
        if not ref:
            return await self._writer.submit(messages.insert, (new, owner))
        self._spool.keep(ref)
        try:
            accepted = await self._writer.submit(messages.insert, (new, owner))
        except StoreError:
            await self._forget(ref)
            raise
        if not accepted.deliveries:
            await self._forget(ref)
        return accepted

    async def _forget(self, ref: str) -> None:
        """Delete a file that no row names any more. The next start sweeps up what fails here."""
        try:
            await self._spool.run(lambda: self._spool.remove(ref))
        except (StoreError, Damaged) as error:
            self._log.warning("could not remove a body", ref=ref, error=str(error))

    # Delivering

    async def register(self, name: str, lease_ms: int) -> Owner:
        return await self._writer.submit(claims.register, (name, lease_ms))

    async def renew(self, owner: Owner, lease_ms: int) -> bool:
        return await self._writer.submit(claims.renew, (owner, lease_ms))

    async def resign(self, owner: Owner) -> None:
        await self._writer.submit(claims.resign, owner)

    async def claim(self, owner: Owner, now: int, limit: int) -> list[Delivery]:
        deliveries, damaged = await self._writer.submit(self._leases.claim, (owner, now, limit))
        self._report(damaged)
        return deliveries

    async def next_due(self) -> int | None:
        return await self._questions.ask(claims.next_due)

    async def read_body(self, message: Message) -> AsyncIterator[bytes]:
        body = message.body
        if body.inline is None and body.ref:
            try:
                async for block in self._spool.read(body.ref, body.size):
                    yield block
            except Damaged as error:
                raise await self._quarantine(message, error) from error
            return
        inline = body.inline
        if inline is None:
            inline = await self._bodies.ask(messages.body_of, message)
        if inline is None or len(inline) != body.size:
            found = "no body" if inline is None else f"a body of {len(inline)} octets"
            damage = Damaged(f"its row has {found} instead of {body.size} octets")
            raise await self._quarantine(message, damage)
        for start in range(0, len(inline), BLOCK):
            yield inline[start : start + BLOCK]

    async def _quarantine(self, message: Message, damage: Damaged) -> StoreError:
        """Set a message with a damaged body apart; the error to raise for it."""
        if await self._writer.submit(claims.quarantine_message, message.id):
            self._report([Damaged(f"message {message.id}: {damage}")])
            return BodyDamaged(f"The body of message {message.id} is damaged: {damage}")
        return StoreUnavailable(f"Message {message.id} is not stored any more.")

    async def settle(self, owner: Owner, settlement: Settlement) -> bool:
        settled = await self._writer.submit(messages.settle, (owner, settlement))
        if settled.message_gone and settlement.delivery.message.body.ref:
            await self._forget(settlement.delivery.message.body.ref)
        return settled.done

    async def release(self, owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None:
        await self._writer.submit(claims.release, (owner, deliveries))

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
        for start in range(0, len(entries), _SUPPRESSION_BATCH):
            batch = entries[start : start + _SUPPRESSION_BATCH]
            new += await self._writer.submit(suppression.add, batch)
        return new

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
        return await self._questions.ask(operators.queue, which)

    async def depths(self) -> list[QueueDepth]:
        return await self._questions.ask(operators.depths)

    async def set_state(self, which: QueueFilter, state: State) -> int:
        return await self._writer.submit(operators.set_state, (which, state))

    async def retry_now(self, which: QueueFilter, now: int) -> int:
        return await self._writer.submit(operators.retry_now, (which, now))

    async def take(self, owner: Owner, which: QueueFilter) -> list[Delivery]:
        deliveries, damaged = await self._writer.submit(operators.take, (owner, which))
        self._report(damaged)
        return deliveries

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

    # Telling

    def _failed(self, error: StoreError) -> None:
        self._log.error("the store failed", error=str(error))
        self._on_error("full" if isinstance(error, StoreFull) else "unavailable")

    def _report(self, damaged: Sequence[Damaged]) -> None:
        for damage in damaged:
            self._log.error("put a damaged delivery in quarantine", damage=str(damage))
            self._on_error("damaged")
