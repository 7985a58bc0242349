"""What owners leave behind that have ended, or that were silent for as long as their lease.

Who looks for the dead, and who may bury them, is told in `owners`. What they had claimed is freed
in turns short enough for others, by one of those who look; should that one die, by another.
"""

from collections.abc import Callable

from relay.observe.logging import Logger
from relay.store.postgres import claims, owners
from relay.store.postgres.reader import Reader
from relay.store.postgres.writer import Writer
from relay.store.values import Owner

_FREED_AT_ONCE = 1_000  # claims of an owner that has ended
_EVERY = 1.0  # seconds between two looks for the dead, of each worker


class Burial:
    """Of one store. `clock` gives monotonic seconds."""

    def __init__(
        self, writer: Writer, questions: Reader, clock: Callable[[], float], log: Logger
    ) -> None:
        self._writer = writer
        self._questions = questions
        self._clock = clock
        self._log = log
        self._buried_at = -_EVERY

    async def look(self, owner: Owner) -> None:
        """Look for those who are silent, once a second at most."""
        now = self._clock()
        if now - self._buried_at < _EVERY:
            return
        self._buried_at = now
        for name in await self._writer.submit(owners.bury, owner):
            self._log.warning(
                "a worker was silent for its lease: its mail is taken over", worker=name
            )
        await self.free_ended()

    async def free_ended(self) -> None:
        """Free what owners had claimed that have ended, in turns short enough for others."""
        if not await self._questions.ask(owners.ended):
            return
        for epoch in await self._writer.submit(owners.inherit, None):
            claimed = await self._questions.ask(claims.claimed_by, epoch)
            doubtful = 0
            for start in range(0, len(claimed), _FREED_AT_ONCE):
                some = claimed[start:][:_FREED_AT_ONCE]
                doubtful += await self._writer.submit(claims.free, (epoch, some))
            await self._writer.submit(owners.forget, epoch)
            if claimed:
                self._log.warning(
                    "freed what a worker had claimed that has ended",
                    epoch=epoch,
                    deliveries=len(claimed),
                    being_sent=doubtful,
                )
