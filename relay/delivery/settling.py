"""Outcomes on their way into the store, until it has taken them.

They are settled in the background, so that a connection goes on with the next message. Deliveries
that are over, with nothing else to note, go together: what ends while the store is busy is its next
operation. Every other outcome, and whatever of such a batch the store would not take, goes alone.
An outcome is offered again until the store has taken it: forgetting it would deliver the message
twice. How many are unsettled is bounded: delivering waits for `room` when the store is slow.
"""

import asyncio
from collections.abc import Callable, Coroutine

from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import QueueStore, StoreError
from relay.store.values import Delivery, Owner, Settlement

MOST_UNSETTLED = 256
_RETRY_FIRST, _RETRY_LONGEST = 0.25, 15.0


class Settling:
    """`done` is told of each delivery whose claim has ended: its outcome is stored, or refused
    because another worker has it."""

    def __init__(
        self, store: QueueStore, metrics: Metrics, log: Logger, done: Callable[[Delivery], None]
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._log = log
        self._done = done
        # By the claim: one that was lost may still be settled when the next one is, too.
        self._unsettled: dict[tuple[int, int], Settlement] = {}
        self._over: list[Settlement] = []
        self._ending: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._unsettled)

    @property
    def ids(self) -> set[int]:
        """Of the deliveries whose outcomes are not stored yet."""
        return {identifier for identifier, _ in self._unsettled}

    def delivered(self) -> set[int]:
        """Of those, the ones that a receiver has taken: sent again, they come twice."""
        return {
            identifier
            for (identifier, _), settlement in self._unsettled.items()
            if settlement.happened is not None and settlement.happened.delivered
        }

    @property
    def is_full(self) -> bool:
        """Whether nothing new is to be tried before more is settled."""
        return len(self._unsettled) >= MOST_UNSETTLED

    async def room(self) -> None:
        """Wait until fewer outcomes than the bound are unsettled."""
        await self._room.wait()

    def settle(self, owner: str, settlement: Settlement) -> None:
        """Have the store take an outcome, in the name of `owner` and under the claim's epoch."""
        delivery = settlement.delivery
        self._unsettled[delivery.id, delivery.epoch] = settlement
        if self.is_full:
            self._room.clear()
        if not _is_plain_end(settlement):
            self._start(self._settle_alone(owner, settlement))
            return
        self._over.append(settlement)
        if self._ending is None:
            self._ending = self._start(self._end(owner))

    async def finish(self, seconds: float) -> None:
        """Let all be settled within `seconds`, then give up."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._tasks and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(tuple(self._tasks), timeout=left)
        unsettled = tuple(self._tasks)
        for task in unsettled:
            task.cancel()
        if unsettled:
            self._log.error(
                "outcomes could not be stored: these messages may be delivered twice",
                count=len(self._unsettled),
            )
            await asyncio.wait(unsettled)

    def _start(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("settling failed unexpectedly", error=repr(error))

    async def _end(self, owner: str) -> None:
        """Settle what is over, batch after batch, until nothing is left."""
        try:
            while self._over:
                batch, self._over = self._over, []
                await self._end_together(owner, batch)
        finally:
            self._ending = None

    async def _end_together(self, owner: str, batch: list[Settlement]) -> None:
        try:
            ended = await self._store.end(batch)
        except Exception as error:  # the root of a task; whoever is to blame fails alone then
            if not isinstance(error, StoreError):
                self._log.exception("settling together failed unexpectedly")
            for settlement in batch:
                self._start(self._settle_alone(owner, settlement))
        else:
            for settlement, was_ours in zip(batch, ended, strict=True):
                self._settled(settlement, was_ours)

    async def _settle_alone(self, name: str, settlement: Settlement) -> None:
        wait = _RETRY_FIRST
        # Under the epoch that claimed it: after a lost lease this outcome is not the new claim's.
        owner = Owner(name, settlement.delivery.epoch)
        while True:
            try:
                was_ours = await self._store.settle(owner, settlement)
            except StoreError as error:
                self._log.error(
                    "an outcome could not be stored; trying again",
                    message_id=settlement.delivery.message.id,
                    seconds=wait,
                    error=str(error),
                )
                await asyncio.sleep(wait)
                wait = min(_RETRY_LONGEST, wait * 2)
            else:
                self._settled(settlement, was_ours)
                return

    def _settled(self, settlement: Settlement, was_ours: bool) -> None:
        delivery = settlement.delivery
        if not was_ours:
            self._metrics.claims_lost.inc()
            self._log.warning(
                "outcome dropped: another worker has taken the delivery over",
                message_id=delivery.message.id,
                domain=delivery.domain,
            )
        self._unsettled.pop((delivery.id, delivery.epoch), None)
        if not self.is_full:
            self._room.set()
        self._done(delivery)


def _is_plain_end(settlement: Settlement) -> bool:
    """Whether the delivery is over and leaves nothing to note, nor a file to remove."""
    return not (
        settlement.remaining
        or settlement.suppress
        or settlement.reports
        or settlement.delivery.message.body.ref
    )
