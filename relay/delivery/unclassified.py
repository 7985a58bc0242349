"""Replies that no rule knew, gathered and written to the store now and then.

One of these in each worker; the store adds up what they write. Nothing is written per message: what
was gathered since the last time is lost with a worker that dies, and what finds no room in memory
is counted by the metric alone. A store that is full or away takes it later.
"""

import asyncio
from dataclasses import replace

from relay.config.bounces import Bounces
from relay.feedback.normalise import normalised, without_addresses
from relay.feedback.outcome import Phase
from relay.mail.replies import Reply
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError, UnclassifiedStore
from relay.store.values import UnclassifiedReply

WRITTEN_EVERY = 60.0
GATHERED_AT_MOST = 500

_Key = tuple[str, Phase, str]


class UnclassifiedReplies:
    """What was gathered since it was last written."""

    def __init__(
        self, store: UnclassifiedStore, bounces: Bounces, metrics: Metrics, log: Logger
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._log = log
        self._gathered: dict[_Key, UnclassifiedReply] = {}
        self.configure(bounces)

    def configure(self, bounces: Bounces) -> None:
        """How many are kept, from now on."""
        self._most = bounces.keep_unclassified

    def note(self, reply: Reply, phase: Phase, provider: str, now: int) -> None:
        """A peer of `provider` (`""`: none that is known) said what no rule knows, at `now` (UTC
        ms)."""
        self._metrics.child(self._metrics.replies_unclassified, provider or "other").inc()
        if self._most == 0:
            return
        key = normalised(reply), phase, provider
        known = self._gathered.get(key)
        if known is not None:
            self._gathered[key] = replace(known, count=known.count + 1, last_seen=now)
        elif len(self._gathered) < GATHERED_AT_MOST:
            example = without_addresses(str(reply))
            self._gathered[key] = UnclassifiedReply(*key, 1, now, now, example)

    async def run(self) -> None:
        """Write every minute, until cancelled."""
        while True:
            await asyncio.sleep(WRITTEN_EVERY)
            await self.write()

    async def write(self) -> None:
        """Hand what was gathered to the store; what it does not take is offered again."""
        gathered, self._gathered = self._gathered, {}
        if not gathered:
            return
        try:
            await self._store.add(list(gathered.values()), self._most)
        except StoreError as error:
            self._log.warning("unclassified replies could not be written", error=str(error))
            self._take_back(gathered)

    def _take_back(self, gathered: dict[_Key, UnclassifiedReply]) -> None:
        for key, old in gathered.items():
            new = self._gathered.get(key)
            if new is not None:
                self._gathered[key] = replace(
                    new, count=old.count + new.count, first_seen=old.first_seen
                )
            elif len(self._gathered) < GATHERED_AT_MOST:
                self._gathered[key] = old
