"""The seam between accepting and delivering: stored first, then offered to the scheduler.

A message that the scheduler has room for is inserted already claimed and handed over in memory,
without being read back; any other waits in the store until it is claimed.
"""

import asyncio
import time

from relay.delivery.scheduler import Scheduler
from relay.limits.flow import Flow
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.queue_clock import QueueClock
from relay.store.interface import MessageStore
from relay.store.values import Accepted, Message, NewMessage, Suppressed


class Intake:
    """The `accept` of the front end. `accepted` counts the messages that were stored, by monotonic
    seconds."""

    def __init__(
        self,
        store: MessageStore,
        scheduler: Scheduler,
        metrics: Metrics,
        log: Logger,
        clock: QueueClock,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self.accepted = Flow()

    async def accept(self, new: NewMessage) -> Accepted:
        """Store a message durably and see to its delivery. Raises `StoreError`.

        A caller that goes away meanwhile (its client did) leaves the insert to its end: a message
        that was stored as claimed must reach the one who claimed it.
        """
        return await asyncio.shield(asyncio.ensure_future(self._accept(new)))

    async def _accept(self, new: NewMessage) -> Accepted:
        scheduler = self._scheduler
        new = self._clock.in_queue_time(new)
        owner = None
        name = new.message.configuration_set
        if new.due_at <= self._clock.now() and scheduler.has_room(name):
            owner = scheduler.owner
        accepted = await self._store.insert(new, owner)
        self.accepted.add(1, time.monotonic())
        for suppressed in accepted.suppressed:
            tell_suppressed(self._metrics, self._log, new.message, suppressed)
        claimed = [delivery for delivery in accepted.deliveries if delivery.epoch]
        if claimed:
            scheduler.offer(claimed)
        elif accepted.deliveries:
            # Not for this owner: it is due later, there was no room, or the lease was lost.
            scheduler.expect(new.due_at, name)
        return accepted


def tell_suppressed(
    metrics: Metrics, log: Logger, message: Message, suppressed: Suppressed
) -> None:
    """What SES publishes as a Bounce event, `Permanent/OnAccountSuppressionList`."""
    metrics.child(metrics.recipients_suppressed, message.configuration_set, suppressed.reason).inc()
    log.info(
        "recipient suppressed",
        message_id=message.id,
        credential=message.credential,
        configuration_set=message.configuration_set,
        recipient=suppressed.address,
        reason=suppressed.reason,
        bounce_type="Permanent",
        bounce_subtype="OnAccountSuppressionList",
    )
