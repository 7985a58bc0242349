"""Open connections that nobody uses now, waiting for more mail or for their time to close.

One timer serves all of them: they may be idle for the same time, so that they close in the order in
which they came, and most are wanted again long before it fires. Owns the futures that their workers
wait on; never closes a connection itself.
"""

import asyncio
from collections.abc import Callable

from relay.delivery.connections import Connection
from relay.delivery.lanes import Way


class Parking:
    """Made inside a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = 0.0
        self._parked: dict[asyncio.Future[bool], tuple[Way, Connection, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._parked)

    def configure(self, seconds: float) -> None:
        """For how long connections may be idle from now on. What is parked is closed."""
        self._seconds = seconds
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.close_all()

    async def park(self, way: Way, connection: Connection) -> bool:
        """Wait for more mail on `way`; False when the connection is to be closed instead."""
        future: asyncio.Future[bool] = self._loop.create_future()
        until = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._close_idle)
        connection.on_end = lambda: _wake(future, False)
        way.parked.append(future)
        self._parked[future] = way, connection, until
        try:
            return await future
        finally:
            connection.on_end = None
            del self._parked[future]
            if future in way.parked:
                way.parked.remove(future)

    @staticmethod
    def wake(way: Way) -> bool:
        """Give mail to a connection of `way`, the one parked last: the others may close meanwhile.
        False where there is none."""
        while way.parked:
            if _wake(way.parked.pop(), True):
                return True
        return False

    def close_one(self, is_in_the_way: Callable[[Way, Connection], bool]) -> None:
        """Close the connection that has been idle longest of a way that is in the way of others."""
        for future, (way, connection, _) in self._parked.items():
            if not future.done() and is_in_the_way(way, connection):
                future.set_result(False)
                return

    def close_all(self) -> None:
        for future in self._parked:
            _wake(future, False)

    def _close_idle(self) -> None:
        self._timer = None
        now = self._loop.time()
        for future, (_, _, until) in self._parked.items():
            if until > now:
                self._timer = self._loop.call_at(until, self._close_idle)
                return
            _wake(future, False)


def _wake(future: "asyncio.Future[bool]", is_wanted: bool) -> bool:
    """False where it was woken before."""
    if future.done():
        return False
    future.set_result(is_wanted)
    return True
