"""Mail that was put off comes forward when what it waits for is over before its time.

Workers put mail off until a rest of a source ends, or until a warm-up allows it (`PutOff`). When an
operator lifts the rest, raises the warm-up, or another configuration is put in force, that time
means nothing any more. What has changed is asked for here by its word; the mail is due again in
parts, so that other mail is not held up, and what must still wait is put off again.

A process that dies in the middle leaves mail that keeps its time: later than need be, never lost.
"""

import asyncio
from collections.abc import Callable

from relay.observe.logging import Logger
from relay.store.interface import DelayStore, StoreError

KINDS = ("rest", "warmup")
_AT_ONCE = 1_000
_BREATH = 0.02  # seconds between two parts
_SETTLES = (
    1.0  # seconds in which workers have heard of a change and stored what they put off before
)
_AGAIN = 1.0  # seconds after which a store that failed is asked again


class Forwarding:
    """`clock` is the clock of the queue, in UTC ms; `is_due` is called when mail has come
    forward."""

    def __init__(
        self, store: DelayStore, clock: Callable[[], int], is_due: Callable[[], None], log: Logger
    ) -> None:
        self._store = store
        self._clock = clock
        self._is_due = is_due
        self._log = log
        self._words: dict[str, None] = {}
        self._woken = asyncio.Event()

    def bring(self, *words: str) -> None:
        """Have the mail come forward that waits for one of these: `rest:LINE`, `warmup:ADDRESS`, or
        all of a kind (`rest`)."""
        self._words.update(dict.fromkeys(words))
        self._woken.set()

    async def run(self) -> None:
        """Bring forward what is asked for, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(_SETTLES)
            await self.work()

    async def work(self) -> None:
        """Bring forward what was asked for so far."""
        words, self._words = self._words, {}
        for word in words:
            try:
                count = await self._bring(word)
            except StoreError as error:
                self._log.error("mail cannot be brought forward", waits_for=word, error=str(error))
                self.bring(word)
                await asyncio.sleep(_AGAIN)
                continue
            if count:
                self._log.info("mail is due again", waited_for=word, count=count)

    async def _bring(self, word: str) -> int:
        if word in KINDS:
            return sum([await self._bring(each) for each in await self._store.words(word)])
        total = after = 0
        # In order of id, and once: what must still wait has the same word again in a moment.
        while found := await self._store.bring_forward(word, after, self._clock(), _AT_ONCE):
            total += len(found)
            self._is_due()
            if len(found) < _AT_ONCE:
                break
            after = found[-1]
            await asyncio.sleep(_BREATH)
        return total
