"""An event loop whose clock jumps to the next timer as soon as nothing is left to do.

So a day of waiting takes no time, a run is the same every time, and no assertion is at the mercy of
a busy machine. What waits for another thread or for a socket waits for it in real time, and only
where no timer is set: nothing in a simulation should.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

BEGAN_MS = 1_800_000_000_000
"""The wall clock when a simulation begins, in UTC milliseconds."""

_GRAIN = 1e-6  # seconds; timers that are nearer to each other fire together
_PATIENCE = 30.0

R = TypeVar("R")


class Stalled(RuntimeError):
    """Nothing will ever happen any more."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` is in seconds from the beginning of the simulation."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self))
        self._clock_resolution = _GRAIN

    def time(self) -> float:
        return self._now

    def wall(self) -> int:
        """UTC milliseconds."""
        return BEGAN_MS + round(self._now * 1000)

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now += max(seconds, _GRAIN)


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Instead of waiting it moves the clock of its loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            ready = super().select(_PATIENCE)
            if not ready:
                raise Stalled("no timer is set, and nothing else has happened")
            return ready
        if timeout > 0:
            self._loop.jump(timeout)
        return super().select(0)


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run `work` to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def virtual_loop() -> VirtualLoop:
    """The running loop, which is a virtual one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
