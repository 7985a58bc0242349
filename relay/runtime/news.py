"""What other nodes of the fleet have changed: heard here, and done what a change made here does.

The shared store tells of it within moments; news only names what is to be read anew, so that it may
come twice, late, or in another order. Should it be lost, all that may be read anew without anybody
noticing is read every few seconds. An embedded store has no other nodes, and nothing of this runs.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from relay.observe.logging import Logger
from relay.store.fleet_values import NewsKind
from relay.store.interface import StoreError

REREAD_S = 10.0
_AGAIN_S = 1.0  # seconds after which a store that failed is asked again

Handler = Callable[[], Awaitable[object]]


class News:
    """`handlers` say what is done for each kind; `again` names those that are done from time to
    time without news. Kinds without a handler are let go."""

    def __init__(self, log: Logger, reread: float = REREAD_S) -> None:
        self._log = log
        self._reread = reread
        self._handlers: Mapping[NewsKind, Handler] = {}
        self._again: tuple[NewsKind, ...] = ()
        self._heard: dict[NewsKind, None] = {}
        self._failing: set[NewsKind] = set()
        self._woken = asyncio.Event()

    def hear(self, kind: NewsKind) -> None:
        """There is news of this kind; it is seen to by `run`."""
        self._heard[kind] = None
        self._woken.set()

    def handle(
        self, handlers: Mapping[NewsKind, Handler], again: tuple[NewsKind, ...] = ()
    ) -> None:
        """See to news in this way from now on."""
        self._handlers, self._again = handlers, again

    async def run(self) -> None:
        """See to news for ever. What a store that fails has kept from being done is done later.
        However much comes in, what is read anew is read in its time."""
        now = asyncio.get_running_loop().time
        reread_at = now() + self._reread
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(reread_at):
                    await self._woken.wait()
            self._woken.clear()
            if now() >= reread_at:
                self._heard.update(dict.fromkeys(self._again))
                reread_at = now() + self._reread
            if not await self.see_to_it():
                await asyncio.sleep(_AGAIN_S)

    async def see_to_it(self) -> bool:
        """Do what was heard of so far; False where some of it is still to be done."""
        heard, self._heard = self._heard, {}
        failed: list[NewsKind] = []
        for kind in heard:
            handler = self._handlers.get(kind)
            if handler is None:
                continue
            try:
                await handler()
            except StoreError as error:
                if kind not in self._failing:  # told once, and tried again each second
                    self._log.error(
                        "news of the fleet is not seen to yet", news=kind, error=str(error)
                    )
                self._failing.add(kind)
                failed.append(kind)
            else:
                self._failing.discard(kind)
        for kind in failed:
            self.hear(kind)
        return not failed
