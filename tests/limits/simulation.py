"""Several workers and one authority in simulated time: an event loop whose clock jumps to the next
thing that happens, and lines between processes that deliver late."""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from random import Random
from typing import Any

from relay.limits.gatekeeper import Level
from relay.limits.leased import LeasedLimits
from relay.limits.leases import Lease, LeaseRequest, LessorGone, Returned
from relay.limits.limits import Limit, Limits


class _Selector(selectors.SelectSelector):
    """Never waits: time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing is left that could happen")
            self.now += max(0.0, timeout)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time` is simulated; a second costs nothing."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now


def simulate(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end, in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def wall() -> int:
    return 1_800_000_000_000 + round(now() * 1000)


class Line:
    """From a worker to the authority and back, in order; each way takes as long as `delay` says."""

    def __init__(self, limits: Limits, delay: Callable[[], float]) -> None:
        self.asked = 0
        self.is_cut = False
        self._limits = limits
        self._delay = delay
        self._up = self._down = 0.0

    async def lease(self, request: LeaseRequest) -> Lease:
        self.asked += 1
        self._up = max(self._up, now() + self._delay())
        await asyncio.sleep(self._up - now())
        lease = await self._limits.lease(request)
        self._down = max(self._down, now() + self._delay())
        await asyncio.sleep(self._down - now())
        if self.is_cut:
            raise LessorGone
        return lease

    def give_back(self, returned: Returned) -> None:
        if not self.is_cut:
            self._up = max(self._up, now() + self._delay())
            asyncio.get_running_loop().call_at(self._up, self._limits.give_back, returned)

    async def levels(self, keys: tuple[str, ...] | None) -> list[Level]:
        return await self._limits.levels(keys)

    def stall(self, seconds: float) -> None:
        """Nothing is heard on this side for a while."""
        self._down = max(self._down, now() + seconds)


class Worker:
    """Lanes that send as fast as the limits let them; `gone` has what went, and when."""

    def __init__(self, limits: Limits, specs: Mapping[str, Limit], rng: Random, delay: float):
        self.gone: list[tuple[float, int]] = []
        self.line = Line(limits, lambda: rng.expovariate(1 / delay) if delay else 0.0)
        self.limits = LeasedLimits(self.line, now, rng.random)
        self.limits.configure(specs)
        self._rng = rng
        self._stalled_until = 0.0
        self._lanes: list[asyncio.Task[None]] = []

    @property
    def spent(self) -> int:
        return sum(n for _, n in self.gone)

    def send(self, keys: tuple[str, ...], size: Callable[[], int], pause: float) -> None:
        """One lane more, which rests for about `pause` seconds between messages."""
        self._lanes.append(asyncio.create_task(self._lane(keys, size, pause)))

    async def _lane(self, keys: tuple[str, ...], size: Callable[[], int], pause: float) -> None:
        n = size()
        while True:
            decision = await self.limits.admit(keys, n)
            if decision.now:
                self.gone.append((now(), n))
                n = size()
                await self._sleep(self._rng.expovariate(1 / pause))
            else:
                await self._sleep(decision.delay_s)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._stalled_until > now():
            await asyncio.sleep(self._stalled_until - now())

    def stall(self, seconds: float) -> None:
        """The process stands still for a while."""
        self._stalled_until = now() + seconds
        self.line.stall(seconds)

    async def stop(self) -> None:
        """Start nothing more."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)

    async def die(self) -> None:
        """What it holds is lost."""
        self.line.is_cut = True
        await self.stop()


def busiest_window(gone: Iterable[tuple[float, int]], seconds: float) -> int:
    """The most that went in any window, wherever it begins, one message not counted: one may be
    let through whole where a permit is free. Not the last one always: answers overtake each other.
    """
    inside: deque[tuple[float, int]] = deque()
    total = most = 0
    for at, n in sorted(gone):
        inside.append((at, n))
        total += n
        while inside[0][0] <= at - seconds:
            total -= inside.popleft()[1]
        if total > most:
            most = max(most, total - max(n for _, n in inside))
    return most
