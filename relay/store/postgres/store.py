"""The store that relays share: a PostgreSQL, with a group commit and a few readers in each process.

Every method of `relay.store.interface.Store`; each hands an operation to the writer or a question
to a reader and waits for its answer. Everything is in the database: what a node that dies had
claimed is there for the others. No transaction is open while anybody speaks SMTP.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

from relay.observe.logging import Logger, make_logger
from relay.store.faults import Faults
from relay.store.interface import StoreError, StoreUnavailable
from relay.store.lists import Lists
from relay.store.postgres import bodies, claims, due, messages, owners, schema, transaction
from relay.store.postgres.attempts import Attempts
from relay.store.postgres.bodies import Chunks, Work
from relay.store.postgres.burial import Burial
from relay.store.postgres.damage import by_index
from relay.store.postgres.delays import Delays
from relay.store.postgres.errors import translate
from relay.store.postgres.fleet import Fleet
from relay.store.postgres.lists import operations
from relay.store.postgres.news import News
from relay.store.postgres.outbox import Outbox
from relay.store.postgres.patience import REMOVES_WITHIN, in_time
from relay.store.postgres.pauses import Pauses
from relay.store.postgres.permits import Clock, by_the_server
from relay.store.postgres.place import Place
from relay.store.postgres.reader import Reader
from relay.store.postgres.requests import Operation
from relay.store.postgres.sending import Notes
from relay.store.postgres.shares import Shares
from relay.store.postgres.side import Side
from relay.store.postgres.sts_policies import StsPolicies
from relay.store.postgres.suppressions import suppressions
from relay.store.postgres.suspensions import Suspensions
from relay.store.postgres.tls_tallies import TlsTallies
from relay.store.postgres.unclassified import Unclassified
from relay.store.postgres.undoing import Undoing
from relay.store.postgres.warmups import Warmups
from relay.store.postgres.writer import Writer
from relay.store.reading import Reading
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

_SWEEP_EVERY = 600.0


class PostgresStore(Lists):
    """A `Store` in the database at `place`."""

    is_shared = True

    def __init__(
        self,
        place: Place,
        *,
        inline_size: int = 64 * 1024,
        on_commit: Callable[[float, int], None] = lambda seconds, operations: None,
        on_error: Callable[[str], None] = lambda kind: None,
        on_suppressed: Callable[[Message, Suppressed], None] = lambda report, suppressed: None,
        log: Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
        permit_clock: Clock = by_the_server,
    ) -> None:
        """Bodies of more than `inline_size` octets are kept in chunks.

        `on_commit(seconds, operations)` is told of each group commit, `on_error(kind)` of each
        failure: full, unavailable, damaged; `on_suppressed` of each recipient of a report who is
        not sent to. `clock` gives monotonic seconds; `permit_clock` is whose time counts for
        permits.
        """
        self._place = place
        self._inline_size = inline_size
        self._on_suppressed = on_suppressed
        self._log = log or make_logger()
        self._faults = Faults(self._log, on_error)
        self._undoing = Undoing(self._log, clock)
        self._sweeping: asyncio.Task[None] | None = None
        self._side = Side(place, self._faults.failed)
        self._noting = Side(place, self._faults.failed)
        self._notes = Notes(self._noting.work)
        writer = Writer(place, on_commit=on_commit, on_error=self._faults.failed, log=self._log)
        questions = Reader(place, self._faults.failed)
        super().__init__(operations(writer, questions, permit_clock))
        self._writer = writer
        self._questions = questions
        self._reading = Reading(
            spilled=partial(bodies.read, self),
            inline=questions.asking(messages.body_of),
            quarantine=writer.doing(claims.quarantine_message),
            faults=self._faults,
        )
        self._burial = Burial(writer, questions, clock, self._log)
        self._news = news = News(place, self._log)
        self.fleet = Fleet(writer, questions, news)
        self.shares = Shares(writer)
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
        """The first to open an empty database makes its tables; an older version is refused, and
        `relay store migrate` named. With `joining`, only the version is checked."""
        session = await self._place.connect()
        try:
            if not joining and await schema.version_of(session) is None:
                await schema.migrate(session)
            await schema.check(session)
        except StoreError:
            raise
        except Exception as error:
            raise translate(error, self._place) from error
        finally:
            session.terminate()
        self._writer.start()
        self._news.open()
        if not joining:
            self._sweeping = asyncio.create_task(self._sweep_for_ever())

    async def _sweep_for_ever(self) -> None:
        """Remove bodies that were never accepted, from time to time."""
        while True:
            with contextlib.suppress(StoreError):
                await self._side.work(transaction.forget)
                if swept := await self._side.work(bodies.sweep):
                    self._log.info(
                        "removed bodies of messages that were never accepted", count=swept
                    )
            await asyncio.sleep(_SWEEP_EVERY)

    async def close(self) -> None:
        """What was asked for before is done first. Safe after a failed `open`, and twice."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
            self._sweeping = None
        await self._undoing.close()
        await self._news.close()
        await self._writer.close()
        await self._questions.close()
        await self._side.close()
        await self._noting.close()

    async def free_space(self) -> None:
        """A server does not tell: a database that is full says so when it is written to."""

    # Accepting

    def new_body(self) -> SpillingWriter:
        """See `MessageStore`."""
        return SpillingWriter(lambda: Chunks(self), self._inline_size, early=False)

    async def keep(self, work: Work) -> None:
        """A short transaction of its own, beside the group commit. Raises StoreError."""
        await in_time(self._side.work(work), self._place)

    async def remove(self, work: Work) -> None:
        """As `keep`, where the client has its answer as soon as this is over: what fails is swept
        up later. Raises StoreError."""
        await in_time(self._side.work(work), self._place, REMOVES_WITHIN)

    async def chunk(self, name: str, number: int) -> bytes | None:
        """A part of a body. Raises StoreError."""
        return await self._questions.ask(bodies.chunk_of, name, number)

    async def insert(self, new: NewMessage, owner: Owner | None) -> Accepted:
        """See `MessageStore`."""
        ref = new.message.body.ref
        try:
            accepted = await self._writer.submit_in_time(
                messages.insert, (new, owner), lambda lost: self._withdraw(new, lost)
            )
        except StoreError:
            if ref:
                self._undoing.undo(lambda: self._discard(ref))
            raise
        if ref and not accepted.deliveries:
            await self._forget(ref)
        return accepted

    def _withdraw(self, new: NewMessage, accepted: Accepted | None) -> None:
        """Nobody waits for this insert any more, so nobody was told that it was accepted."""

        async def withdraw() -> None:
            if accepted is not None:
                await self._writer.submit(messages.withdraw, accepted)
            if new.message.body.ref:
                await self._forget(new.message.body.ref)

        self._undoing.undo(withdraw)

    async def _discard(self, ref: str) -> None:
        """Remove a body that no message names."""
        await self._side.work(lambda db: bodies.discard(db, ref))

    async def _forget(self, ref: str) -> None:
        """Remove a body that no message names any more. What fails here is swept up later."""
        try:
            await self._discard(ref)
        except StoreError as error:
            self._log.warning("could not remove a body", ref=ref, error=str(error))

    # Delivering

    async def register(self, name: str, lease_ms: int) -> Owner:
        """See `QueueStore`."""
        owner = await self._writer.submit(owners.register, (name, lease_ms))
        await self._burial.free_ended()
        return owner

    async def renew(self, owner: Owner, lease_ms: int) -> bool:
        """See `QueueStore`."""
        return await self._writer.submit(owners.renew, (owner, lease_ms))

    async def resign(self, owner: Owner) -> None:
        """See `QueueStore`."""
        await self._writer.submit(owners.resign, owner)
        await self._burial.free_ended()

    async def claim(self, owner: Owner, now: int, limit: int) -> list[Delivery]:
        """See `QueueStore`."""
        await self._burial.look(owner)
        return await self._claim(owner, claims.claim, (owner, now, limit))

    async def find_due(self, want: Want) -> Due:
        """See `QueueStore`."""
        return await self._questions.ask(due.find_due, want)

    async def find_expired(self, after: int, until: int, limit: int) -> Sequence[int]:
        """See `QueueStore`."""
        return await self._questions.ask(claims.expired, after, until, limit)

    async def claim_found(self, owner: Owner, ids: Sequence[int]) -> list[Delivery]:
        """See `QueueStore`."""
        await self._burial.look(owner)
        return await self._claim(owner, claims.claim_found, (owner, ids))

    async def take(self, owner: Owner, which: QueueFilter) -> list[Delivery]:
        """See `OperatorStore`."""
        found = await self._matching(which, unclaimed=True)
        return await self._claim(owner, claims.take_any, (owner, found))

    async def _claim(
        self, owner: Owner, operation: Operation[A, claims.Claimed], argument: A
    ) -> list[Delivery]:
        is_careful = False
        while True:
            try:
                deliveries, damaged = await self._writer.submit(
                    operation, argument, lambda lost: self._give_back(owner, lost)
                )
            except claims.Torn as torn:
                if not await self._set_apart(torn) and is_careful:
                    raise StoreUnavailable(f"The database {self._place} failed: {torn}") from torn
                if not is_careful:
                    operation, is_careful = by_index(operation), True
            else:
                self._faults.quarantined(damaged)
                return deliveries

    async def _set_apart(self, torn: claims.Torn) -> bool:
        """False where it is none of them that cannot be read."""
        unreadable = await self._questions.ask(claims.unreadable, torn.identifiers)
        for identifier in unreadable:
            await self._writer.submit(claims.quarantine, identifier)
        self._faults.quarantined(list(unreadable.values()))
        return bool(unreadable)

    def _give_back(self, owner: Owner, lost: claims.Claimed | None) -> None:
        """Nobody waits for these claims any more: without this they would stay for ever."""
        if lost is not None:
            deliveries, damaged = lost
            self._faults.quarantined(damaged)
            back = [(d.id, d.due_at) for d in deliveries]
            self._undoing.undo(lambda: self.release(owner, back))

    async def next_due(self, after: int = 0) -> int | None:
        """See `QueueStore`."""
        return await self._questions.ask(claims.next_due, after)

    def read_body(self, message: Message) -> AsyncIterator[bytes]:
        """See `QueueStore`."""
        return self._reading.read(message)

    async def note_sending(self, owner: Owner, deliveries: Sequence[int]) -> None:
        """See `QueueStore`."""
        await self._notes.note(owner, deliveries)

    async def settle(self, owner: Owner, settlement: Settlement) -> bool:
        """See `QueueStore`."""
        settled = await self._writer.submit(
            messages.settle,
            (owner, settlement),
            lambda lost: self._undoing.undo(lambda: self._forget_settled(settlement, lost)),
            unhurried=True,
        )
        await self._forget_settled(settlement, settled)
        for report, suppressed in settled.withheld:
            self._on_suppressed(report, suppressed)
        return settled.done

    async def _forget_settled(
        self, settlement: Settlement, settled: messages.Settled | None
    ) -> None:
        ref = settlement.delivery.message.body.ref
        if ref and settled is not None and settled.message_gone:
            await self._forget(ref)

    async def end(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """See `QueueStore`."""
        return await self._writer.submit(messages.end, settlements, unhurried=True)

    async def release(self, owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None:
        """See `QueueStore`."""
        await self._writer.submit(claims.release, (owner, deliveries))
