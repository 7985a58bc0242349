"""The one timer of a connection. Moving its deadline later costs no more than a number."""

import asyncio
from collections.abc import Callable
from math import inf


class Deadline:
    """Calls `passed` when the time that was set last is over."""

    __slots__ = ("_at", "_loop", "_passed", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        self._loop = loop
        self._passed = passed
        self._at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    def set(self, at: float) -> None:
        """On the clock of the loop; `inf` for never."""
        self._at = at
        if at < self._timer_at:
            self.cancel()
            self._arm(at)

    def cancel(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = inf

    def _arm(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_at = inf
        at = self._at
        if self._loop.time() >= at:
            self._at = inf
            self._passed()
        elif at < inf:
            self._arm(at)
