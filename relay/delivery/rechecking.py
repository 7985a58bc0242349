"""Queued mail is compared with the suppression list once more, before each attempt.

Whoever was added after the message was accepted is not sent to. Mail that was accepted a moment ago
was compared then, and is not asked for again. Questions that come while one is under way are put
together as the next one.
"""

import asyncio
from collections.abc import Callable

from relay.config.model import Config
from relay.feedback.listed import Entries, listed
from relay.feedback.outcome import RecipientResult
from relay.feedback.policy import Policies
from relay.mail.address import suppression_key
from relay.store.interface import QueueStore
from relay.store.values import Delivery

FRESH_MS = 5_000
"""For so long after it was accepted, what the list said then holds for the first attempt."""


class _Question:
    """What is asked together."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.answer: Entries | None = None


class Rechecking:
    """`wall` gives UTC milliseconds."""

    def __init__(self, store: QueueStore, config: Config, wall: Callable[[], int]) -> None:
        self._store = store
        self._wall = wall
        self._next = _Question()
        self._asking = asyncio.Lock()
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._policies = Policies.of(config)

    def is_due(self, delivery: Delivery) -> bool:
        """Whether the list may say otherwise by now."""
        return delivery.attempts > 0 or self._wall() - delivery.message.accepted_at >= FRESH_MS

    async def listed(self, delivery: Delivery) -> tuple[RecipientResult, ...]:
        """A result for each recipient who is on the list now. Raises `StoreError`."""
        policy = self._policies.of_set(delivery.message.configuration_set)
        heeded = policy.report_suppression  # of reports as of all mail of the set
        if not heeded:
            return ()
        question = self._next
        question.keys.update(suppression_key(one.address) for one in delivery.recipients)
        async with self._asking:
            if question.answer is None:
                self._next = _Question()
                question.answer = await self._store.suppressions.reasons(tuple(question.keys))
        return listed(delivery, question.answer, heeded, self._wall())
