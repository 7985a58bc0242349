"""What is about to be sent is noted in a store that others share, before it is.

Should this process die in the middle, whoever takes its mail over knows which of it a receiver may
have already: the note stays until the outcome is stored. A store that cannot be told is no reason
to send unnoted: the mail waits until it can, and whoever was declared dead sends nothing.
"""

import asyncio
from collections.abc import Callable, Collection

from relay.delivery.claims import Claims
from relay.observe.logging import Logger
from relay.store.interface import QueueStore, StoreError

PAUSE = 1.0  # seconds, after a store could not be told
LATE = 0.1  # seconds more than a note takes as a rule
_LOG_INTERVAL = 10.0


class GoingOut:
    """Notes of one worker. `carried` gives the ids of all deliveries that it is sending."""

    def __init__(
        self,
        store: QueueStore,
        claims: Claims,
        carried: Callable[[], Collection[int]],
        log: Logger,
    ) -> None:
        self._store = store
        self._claims = claims
        self._carried = carried
        self._log = log
        self._logged_at = -_LOG_INTERVAL
        self._usual = LATE / 10  # seconds that noting takes

    def is_late(self, seconds: float) -> bool:
        """Whether a note took longer than they do as a rule, so that several may have come to wait.
        A store that is always slow delays all alike, and none is late."""
        late = seconds > self._usual + LATE
        self._usual += (min(seconds, 2 * self._usual + LATE / 10) - self._usual) / 8
        return late

    async def may_go(self) -> bool:
        """Whether what is carried now is noted, and this worker's to send. Where it is not, only
        after a pause: what is put back would be taken up again at once."""
        try:
            noted = self._claims.delivered().union(self._carried())
            await self._store.note_sending(self._claims.owner, tuple(noted))
        except StoreError as error:
            now = asyncio.get_running_loop().time()
            if now - self._logged_at >= _LOG_INTERVAL:
                self._logged_at = now
                self._log.warning(
                    "mail waits: what is to be sent cannot be noted", error=str(error)
                )
            await asyncio.sleep(PAUSE)
            return False
        return self._claims.is_valid
