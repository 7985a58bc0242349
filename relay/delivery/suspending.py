"""Mail that meets a suspension leaves memory: it goes back to the store, set apart there.

It costs no attempt, keeps its due time, and is not looked at again before the order is lifted.
Which mail is meant is decided in `relay.routing.suspensions`.
"""

import asyncio
from collections.abc import Sequence

from relay.delivery.claims import Claims
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError, SuspensionStore
from relay.store.values import Delivery, Owner, Suspension

_RETRY_FIRST, _RETRY_LONGEST = 0.25, 15.0


class SettingAside:
    """What was set aside and is not in the store yet. What comes at one time goes together."""

    def __init__(
        self, store: SuspensionStore, claims: Claims, metrics: Metrics, log: Logger
    ) -> None:
        self._store = store
        self._claims = claims
        self._metrics = metrics
        self._log = log
        self._pending: list[tuple[Delivery, str]] = []
        self._writing: asyncio.Task[None] | None = None

    def put(self, delivery: Delivery, orders: Sequence[Suspension]) -> None:
        """Have `delivery` wait in the store until one of the `orders` ends that together make it
        wait. It stays claimed, and held, until the store has marked it."""
        mark = " ".join([order.key for order in orders])
        self._pending.append((delivery, mark))
        self._metrics.child(self._metrics.suspended, orders[0].kind).inc()
        self._log.debug(
            "delivery set aside",
            message_id=delivery.message.id,
            domain=delivery.domain,
            suspension=mark,
        )
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._ended)

    @property
    def ids(self) -> set[int]:
        """Of the deliveries that the store has not marked yet."""
        return {delivery.id for delivery, _ in self._pending}

    async def finish(self) -> None:
        """Wait until the store has all that was put so far, or has refused it."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=_RETRY_LONGEST)

    async def _write(self) -> None:
        wait = _RETRY_FIRST
        while self._pending:
            batch = tuple(self._pending)
            owner = self._claims.owner
            # What was claimed under an epoch that is lost is free already.
            pairs = [(d.id, key) for d, key in batch if d.epoch == owner.epoch]
            try:
                await self._store.set_aside(Owner(owner.name, owner.epoch), pairs)
            except StoreError as error:
                self._log.warning("mail could not be set aside; trying again", error=str(error))
                await asyncio.sleep(wait)
                wait = min(_RETRY_LONGEST, wait * 2)
                continue
            del self._pending[: len(batch)]
            for delivery, _ in batch:
                self._claims.forget(delivery)
        self._writing = None

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._writing = None  # what is put next takes these along
            self._log.error("setting mail aside failed unexpectedly", error=repr(error))
