"""The embedded store: SQLite in WAL mode with `synchronous=FULL`, one thread that writes.

Every method of `relay.store.interface.Store`; each hands an operation to the writer or a question
to a reader and waits for its answer. What is on disk: `data_dir/relay.db` (rows and small bodies)
and `data_dir/spool/` (large bodies), readable by the owner only.

A damaged delivery (its row, its message or its body) is put in quarantine, logged and reported
through `on_error`; the rest of the queue goes on.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

from relay.observe.logging import Logger, make_logger
from relay.store.alone import Alone
from relay.store.codec import Damaged
from relay.store.faults import Faults
from relay.store.interface import StoreError, StoreFull
from relay.store.lists import Lists
from relay.store.reading import Reading
from relay.store.sqlite import claims, due, messages, operators
from relay.store.sqlite.attempts import Attempts
from relay.store.sqlite.ballast import Ballast
from relay.store.sqlite.delays import Delays
from relay.store.sqlite.lists import operations
from relay.store.sqlite.outbox import Outbox
from relay.store.sqlite.pauses import Pauses
from relay.store.sqlite.prepare import check_joinable, mark_clean, prepare
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.requests import Operation
from relay.store.sqlite.schema import connect
from relay.store.sqlite.spool import Spool, SpoolFile
from relay.store.sqlite.sts_policies import StsPolicies
from relay.store.sqlite.suppressions import suppressions
from relay.store.sqlite.suspensions import Suspensions
from relay.store.sqlite.tls_tallies import TlsTallies
from relay.store.sqlite.unclassified import Unclassified
from relay.store.sqlite.warmups import Warmups
from relay.store.sqlite.writer import Writer
from relay.store.values import (
    Accepted,
    Delivery,
    Due,
    Message,
    NewMessage,
    Owner,
    QueueFilter,
    Settlement,
    Suppressed,
    Want,
)
from relay.store.writing import SpillingWriter

A = TypeVar("A")

_CLOCK_GRAIN = 1.0  # seconds by which the file system's clock may lag behind ours
_FREED_AT_ONCE = 500  # claims of a worker that has ended


class SqliteStore(Lists):
    """A `Store` in `data_dir`. One process opens it, and then others may join: see `open`."""

    is_shared = False

    def __init__(
        self,
        data_dir: Path,
        *,
        inline_size: int = 64 * 1024,
        on_commit: Callable[[float, int], None] = lambda seconds, operations: None,
        on_error: Callable[[str], None] = lambda kind: None,
        on_suppressed: Callable[[Message, Suppressed], None] = lambda report, suppressed: None,
        log: Logger | None = None,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bodies of more than `inline_size` octets get files of their own.

        `on_commit(seconds, operations)` is told of each group commit, `on_error(kind)` of each
        failure: full, unavailable, damaged. Both are called on the store's threads. On the loop's,
        `on_suppressed` is told of each recipient of a report who is not sent to. `wall` gives UTC
        milliseconds (file ages), `clock` monotonic seconds (leases).
        """
        self._data_dir = data_dir
        self._inline_size = inline_size
        self._on_error = on_error
        self._on_suppressed = on_suppressed
        self._log = log or make_logger()
        self._faults = Faults(self._log, on_error)
        self._wall = wall
        self._leases = claims.Leases(clock)
        path = data_dir / "relay.db"
        self._open = False
        self._joined = False
        self._is_damaged = False
        self._undoing: set[asyncio.Task[None]] = set()
        self._spool = Spool(data_dir / "spool", data_dir, self._faults.failed)
        self._ballast = Ballast(data_dir)
        writer = Writer(
            lambda: connect(path),
            data_dir,
            on_commit=on_commit,
            on_error=self._faults.failed,
            on_full=self._ballast.throw_overboard,
            log=self._log,
        )
        self._work_with(
            writer, Reader(path, self._faults.failed), Reader(path, self._faults.failed)
        )

    def _work_with(self, writer: Writer, questions: Reader, bodies: Reader) -> None:
        """Have one of them write, and the others read: large bodies keep no question waiting."""
        Lists.__init__(self, operations(writer, questions))
        self._writer = writer
        self._questions = questions
        self._bodies = bodies
        self._reading = Reading(
            spilled=self._spool.read,
            inline=bodies.asking(messages.body_of),
            quarantine=writer.doing(claims.quarantine_message),
            faults=self._faults,
        )
        self.fleet = self.shares = Alone()
        self.outbox = Outbox(writer, questions)
        self.pauses = Pauses(writer, questions)
        self.suppressions = suppressions(writer, questions)
        self.attempts = Attempts(writer, questions)
        self.suspensions = Suspensions(writer, questions)
        self.delays = Delays(writer, questions)
        self.warmups = Warmups(writer, questions)
        self.unclassified = Unclassified(writer, questions)
        self.sts_policies = StsPolicies(writer, questions)
        self.tls_tallies = TlsTallies(writer, questions)

    # Life

    async def open(self, joining: bool = False) -> None:
        """Only where nobody else has the store open: the caller holds `lock_data_dir`.

        With `joining`, the store of a process that has opened it, and closes it after us.
        """
        self._joined = joining
        if joining:
            await self._spool.run(lambda: check_joinable(self._data_dir))
            self._start()
            return
        opened_at = self._wall() / 1000
        findings = await self._prepare()
        for finding in findings:
            self._log.error("the store is damaged", finding=finding)
            self._on_error("damaged")
        self._is_damaged = bool(findings)
        self._start()
        if not self._is_damaged:
            await self._sweep(opened_at - _CLOCK_GRAIN)

    def _start(self) -> None:
        self._writer.start()
        self._open = True

    async def _sweep(self, before: float) -> None:
        """Not in a damaged store: a body may be all that is left of a message, and what names it
        may be unreadable."""
        named = await self._questions.ask(messages.references)
        removed = await self._spool.run(lambda: self._spool.sweep(named, before))
        if removed:
            self._log.info("removed bodies of messages that were never accepted", count=removed)

    async def _prepare(self) -> list[str]:
        """A relay that died of a full disk must come up again: mail that leaves makes room."""
        try:
            return await self._spool.run(lambda: prepare(self._data_dir))
        except StoreFull:
            self._ballast.throw_overboard()
            return await self._spool.run(lambda: prepare(self._data_dir))

    async def close(self) -> None:
        """What was asked for before is done first. Safe after a failed `open`, and twice."""
        if self._open:
            self._open = False
            while self._undoing:
                await asyncio.wait(self._undoing)
            # The writer is the last to let go of the database: it can empty the log into it.
            await asyncio.to_thread(self._stop_reading)
            await self._end_writing()
        await asyncio.to_thread(self._stop_reading)
        await asyncio.to_thread(self._writer.join)

    async def _end_writing(self) -> None:
        try:
            # A damaged store is checked again at each start, until somebody has mended it.
            if not (self._joined or self._is_damaged):
                last = self._writer.submit(mark_clean, None)
                self._writer.end()
                await last
        except StoreError as error:
            self._log.warning("the next start will check the store", error=str(error))
        finally:
            self._writer.end()

    def _stop_reading(self) -> None:
        self._bodies.close()
        self._questions.close()
        self._spool.close()

    async def free_space(self) -> int:
        if not self._ballast.was_left_alone() and not await self._writer.submit(self._board, None):
            return 0
        status = await self._spool.run(lambda: os.statvfs(self._data_dir))
        no_inodes = status.f_files > 0 and status.f_favail == 0
        return 0 if no_inodes else status.f_bavail * status.f_frsize

    def _board(self, _: sqlite3.Connection, requests: Sequence[None]) -> list[bool]:
        return [self._ballast.is_aboard(try_now=True)] * len(requests)

    # Accepting

    def new_body(self) -> SpillingWriter:
        return SpillingWriter(self._begin_file, self._inline_size, early=True)

    def _begin_file(self) -> SpoolFile:
        return SpoolFile(self._spool)

    async def insert(self, new: NewMessage, owner: Owner | None) -> Accepted:
        ref = new.message.body.ref
        if ref:
            self._spool.keep(ref)
        try:
            accepted = await self._writer.submit(
                self._insert, (new, owner), lambda lost: self._undo(self._withdraw(new, lost))
            )
        except StoreError:
            if ref:
                await self._forget(ref)
            raise
        if ref and not accepted.deliveries:
            await self._forget(ref)
        return accepted

    def _insert(
        self, db: sqlite3.Connection, requests: Sequence[tuple[NewMessage, Owner | None]]
    ) -> Sequence[Accepted]:
        if not self._ballast.is_aboard():
            raise StoreFull(f"No room in {self._data_dir}: mail is delivered, and none accepted.")
        return messages.insert(db, requests)

    async def _withdraw(self, new: NewMessage, accepted: Accepted | None) -> None:
        """Nobody waits for this insert any more, so nobody was told that it was accepted."""
        if accepted is not None:
            await self._writer.submit(messages.withdraw, accepted)
        ref = new.message.body.ref
        if ref and not await self._questions.ask(messages.is_stored, new.message.id):
            await self._forget(ref)

    async def _forget(self, ref: str) -> None:
        """Delete a file that no row names any more. The next start sweeps up what fails here."""
        try:
            await self._spool.run(lambda: self._spool.remove(ref))
        except (StoreError, Damaged) as error:
            self._log.warning("could not remove a body", ref=ref, error=str(error))

    # Delivering

    async def register(self, name: str, lease_ms: int) -> Owner:
        owner = await self._writer.submit(claims.register, (name, lease_ms))
        await self._free_ended()
        return owner

    async def renew(self, owner: Owner, lease_ms: int) -> bool:
        return await self._writer.submit(claims.renew, (owner, lease_ms))

    async def resign(self, owner: Owner) -> None:
        await self._writer.submit(claims.resign, owner)
        await self._free_ended()

    async def _free_ended(self) -> None:
        """Free what workers had claimed that have ended, in turns short enough for others."""
        self._leases.has_buried = False
        for epoch in await self._questions.ask(claims.ended):
            claimed = await self._questions.ask(claims.claimed_by, epoch)
            for start in range(0, len(claimed), _FREED_AT_ONCE):
                await self._writer.submit(claims.free, (epoch, claimed[start:][:_FREED_AT_ONCE]))
            await self._writer.submit(claims.forget, epoch)

    async def claim(self, owner: Owner, now: int, limit: int) -> list[Delivery]:
        found = await self._claim(owner, self._leases.claim, (owner, now, limit))
        if self._leases.has_buried:
            await self._free_ended()
            more = limit - len(found)
            found += await self._claim(owner, self._leases.claim, (owner, now, more))
        return found

    async def find_due(self, want: Want) -> Due:
        return await self._questions.ask(due.find_due, want)

    async def find_expired(self, after: int, until: int, limit: int) -> Sequence[int]:
        return await self._questions.ask(claims.expired, after, until, limit)

    async def claim_found(self, owner: Owner, ids: Sequence[int]) -> list[Delivery]:
        found = await self._claim(owner, self._leases.claim_found, (owner, ids))
        if self._leases.has_buried:
            await self._free_ended()
        return found

    async def take(self, owner: Owner, which: QueueFilter) -> list[Delivery]:
        found = await self._matching(which, unclaimed=True)
        return await self._claim(owner, operators.take, (owner, found))

    async def _claim(
        self, owner: Owner, operation: Operation[A, claims.Claimed], argument: A
    ) -> list[Delivery]:
        while True:
            try:
                deliveries, damaged = await self._writer.submit(
                    operation, argument, lambda lost: self._give_back(owner, lost)
                )
            except claims.Torn as torn:
                for identifier in torn.damaged:
                    await self._writer.submit(claims.quarantine, identifier)
                self._faults.quarantined(list(torn.damaged.values()))
            else:
                self._faults.quarantined(damaged)
                return deliveries

    def _give_back(self, owner: Owner, lost: claims.Claimed | None) -> None:
        """Nobody waits for these claims any more: without this they would stay for ever."""
        if lost is not None:
            deliveries, damaged = lost
            self._faults.quarantined(damaged)
            due = [(delivery.id, delivery.due_at) for delivery in deliveries]
            self._undo(self.release(owner, due))

    async def next_due(self, after: int = 0) -> int | None:
        return await self._questions.ask(claims.next_due, after)

    def read_body(self, message: Message) -> AsyncIterator[bytes]:
        return self._reading.read(message)

    async def note_sending(self, owner: Owner, deliveries: Sequence[int]) -> None:
        """Nothing is noted: a commit for each message would cost more than it tells."""

    async def settle(self, owner: Owner, settlement: Settlement) -> bool:
        settled = await self._writer.submit(
            messages.settle,
            (owner, settlement),
            lambda lost: self._undo(self._forget_settled(settlement, lost)),
            unhurried=True,
        )
        if settled.message_gone:
            await self._forget_settled(settlement, settled)
        for report, suppressed in settled.withheld:
            self._on_suppressed(report, suppressed)
        return settled.done

    async def end(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await self._writer.submit(messages.end, settlements, unhurried=True)

    async def _forget_settled(
        self, settlement: Settlement, settled: messages.Settled | None
    ) -> None:
        ref = settlement.delivery.message.body.ref
        if ref and settled is not None and settled.message_gone:
            await self._forget(ref)

    async def release(self, owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None:
        await self._writer.submit(claims.release, (owner, deliveries))

    # Cleaning up after callers who were cancelled

    def _undo(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(self._survive(work))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _survive(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except StoreError as error:
            self._log.warning("could not undo what a cancelled caller asked for", error=str(error))
