"""The limits as a worker sees them: the face of `Limits`, with permits leased from another process.

Owns nothing that counts: the authority does. Kept here are permits that may be spent for a moment
(`relay.limits.bundle`), one bundle for each tuple of limited keys, so that not every message asks.
Keys without a limit never leave the process.

Exact: what is spent here was counted there before, as gone at the last moment at which it may be
spent. Where the authority cannot be reached nothing is let through (`kind` is `store`). A worker
that dies takes what it held with it: it stays counted.
"""

import asyncio
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from random import SystemRandom

from relay.limits.bundle import Bundle
from relay.limits.gatekeeper import NOW, Decision, Level
from relay.limits.leases import Lessor
from relay.limits.specs import Limit

Queue = bool | Collection[str]
_MOST_KNOWN = 10_000
_RANDOM = SystemRandom()


class LeasedLimits:
    """`clock` gives the monotonic seconds of the machine. Made inside a running loop; `chance`
    gives numbers in [0, 1), so that workers that wait for one permit take turns in getting it."""

    def __init__(
        self,
        lessor: Lessor,
        clock: Callable[[], float],
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self._lessor = lessor
        self._clock = clock
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._overrides: dict[str, Limit] = {}
        self._limits: Mapping[str, Limit] = self._overrides
        # By the keys as they were asked for; many of them share a bundle, or need none.
        self._known: dict[tuple[tuple[str, ...], Queue], Bundle | None] = {}
        self._bundles: dict[tuple[tuple[str, ...], tuple[str, ...]], Bundle] = {}
        self._kept: set[Bundle] = set()  # those that have permits to give back
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, specs: Mapping[str, Limit]) -> None:
        """Put `specs` in force. What is at hand goes back: it was granted under the old ones."""
        for bundle in self._bundles.values():
            bundle.retire()
        self._limits = ChainMap(self._overrides, specs)  # type: ignore[arg-type]  # only read
        self._known = {}
        self._bundles = {}

    def override(self, key: str, limit: Limit | None) -> None:
        """A limit that comes and goes at run time is in force from now on (None: no more). Those
        who meet it ask for it; what is at hand under it goes back."""
        if limit is None:
            self._overrides.pop(key, None)
        else:
            self._overrides[key] = limit
        self._known = {asked: one for asked, one in self._known.items() if key not in asked[0]}
        for keys in [keys for keys in self._bundles if key in keys[0]]:
            self._bundles.pop(keys).retire()

    async def charge(
        self, keys: Iterable[str], n: int, *, queue: Queue, patience: float = inf
    ) -> Decision:
        """Acceptance: see `Gatekeeper`."""
        bundle = self._bundle(keys, queue)
        if bundle is None:
            return NOW
        return bundle.answer(n) or await bundle.ask(n, patience)

    async def admit(self, keys: Iterable[str], n: int) -> Decision:
        """Delivery: see `Gatekeeper`."""
        bundle = self._bundle(keys, False)
        if bundle is None:
            return NOW
        return bundle.answer(n) or await bundle.ask(n, 0.0)

    async def levels(self, keys: Iterable[str] | None = None) -> list[Level]:
        """How full the limits of `keys` are. Raises `LessorGone`."""
        return await self._lessor.levels(None if keys is None else tuple(keys))

    async def close(self) -> None:
        """Give unused permits back."""
        if self._timer is not None:
            self._timer.cancel()
        self.configure({})

    def _bundle(self, keys: Iterable[str], queue: Queue) -> Bundle | None:
        asked = tuple(keys), queue if isinstance(queue, bool) else frozenset(queue)
        try:
            return self._known[asked]
        except KeyError:
            if len(self._known) >= _MOST_KNOWN:
                self._forget_idle()
            bundle = self._known[asked] = self._find_bundle(*asked)
            return bundle

    def _forget_idle(self) -> None:
        """There is no end of lines: keep only those bundles for which somebody waits."""
        self._known = {}
        for keys, bundle in tuple(self._bundles.items()):
            if not bundle.is_waited_for:
                del self._bundles[keys]
                bundle.retire()

    def _find_bundle(self, keys: tuple[str, ...], queue: Queue) -> Bundle | None:
        limited = tuple(key for key in dict.fromkeys(keys) if key in self._limits)
        if not limited:
            return None
        queueing = tuple(
            key for key in limited if queue is True or (queue is not False and key in queue)
        )
        bundle = self._bundles.get((limited, queueing))
        if bundle is None:
            bundle = self._bundles[limited, queueing] = Bundle(
                limited,
                queueing,
                [self._limits[key] for key in limited],
                self._lessor,
                self._clock,
                self._chance,
                self._keep,
            )
        return bundle

    # What is not spent in time goes back

    def _keep(self, bundle: Bundle) -> None:
        """A bundle has come by permits of a quota."""
        self._kept.add(bundle)
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        wait = min(bundle.until for bundle in self._kept) - self._clock()
        self._timer = self._loop.call_later(max(0.0, wait) + 0.001, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock()
        for bundle in tuple(self._kept):
            if not bundle.free or bundle.until < now:
                self._kept.discard(bundle)
                bundle.give_back()
        if self._kept:
            self._arm()
