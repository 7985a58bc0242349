"""Queued mail is compared with the suppression list once more, before each attempt.

Whoever was added after the message was accepted is not sent to. Mail that was accepted a moment ago
was compared then, and is not asked for again. Questions that come while one is under way are put
together as the next one.
"""

import asyncio
from collections.abc import Callable, Sequence

from relay.config.model import Config
from relay.delivery.attempt import Results
from relay.delivery.lanes import Load
from relay.feedback.listed import Entries, listed
from relay.feedback.policy import Policies
from relay.mail.address import suppression_key
from relay.observe.logging import Logger
from relay.store.interface import QueueStore, StoreError, StoreUnavailable
from relay.store.values import Delivery, SuppressionReason

FRESH_MS = 5_000
"""For so long after it was accepted, what the list said then holds for the first attempt."""
PAUSE = 1.0  # seconds, after the list could not be read
_LOG_INTERVAL = 10.0


class _Question:
    """What is asked together."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.answer: Entries | None = None
        self.fault: StoreError | None = None


class Rechecking:
    """`wall` gives UTC milliseconds."""

    def __init__(
        self, store: QueueStore, config: Config, wall: Callable[[], int], log: Logger
    ) -> None:
        self._store = store
        self._wall = wall
        self._log = log
        self._logged_at = -_LOG_INTERVAL
        self._next = _Question()
        self._asking = asyncio.Lock()
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._policies = Policies.of(config)

    def is_due(self, delivery: Delivery) -> bool:
        """Whether the list may say otherwise by now."""
        return delivery.attempts > 0 or self._wall() - delivery.message.accepted_at >= FRESH_MS

    async def sift(self, load: Load) -> Sequence[tuple[Delivery, Results]] | None:
        """Each delivery with a result for each recipient who is on the list now; None where the
        list cannot be read, after a pause: what is put back would be taken up again at once."""
        heeded = {delivery.id: self._heeded(delivery) for delivery in load}
        keys = [
            suppression_key(one.address)
            for delivery in load
            if heeded[delivery.id]
            for one in delivery.recipients
        ]
        try:
            entries = await self._ask(keys) if keys else {}
        except StoreError as error:
            now = asyncio.get_running_loop().time()
            if now - self._logged_at >= _LOG_INTERVAL:
                self._logged_at = now
                self._log.warning(
                    "mail waits: the suppression list cannot be read", error=str(error)
                )
            await asyncio.sleep(PAUSE)
            return None
        now_ms = self._wall()
        return [(each, listed(each, entries, heeded[each.id], now_ms)) for each in load]

    def _heeded(self, delivery: Delivery) -> Sequence[SuppressionReason]:
        """The reasons that keep mail of the set back, reports of the set among it."""
        return self._policies.of_set(delivery.message.configuration_set).report_suppression

    async def _ask(self, keys: Sequence[str]) -> Entries:
        question = self._next
        question.keys.update(keys)
        async with self._asking:
            if question.answer is None and question.fault is None:
                self._next = _Question()
                try:
                    question.answer = await self._store.suppressions.reasons(tuple(question.keys))
                except StoreError as fault:
                    question.fault = fault
        if question.answer is None:
            # For all who asked together: one after the other would wait for a silent store.
            raise StoreUnavailable(str(question.fault))
        return question.answer
