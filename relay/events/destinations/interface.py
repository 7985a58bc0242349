"""What a destination is to the one who tells it."""

from collections.abc import Sequence
from typing import Protocol

from relay.events.notification import Notification
from relay.events.patience import Outcome


class DestinationError(Exception):
    """The destination cannot be set up; the text says why and what to do, as a clause."""


class Destination(Protocol):
    """Takes events. `batch` is how many at most in one telling, `concurrency` how many tellings at
    a time. See `making.takes_whole` for what may be in one."""

    @property
    def batch(self) -> int: ...

    @property
    def concurrency(self) -> int: ...

    async def tell(self, notifications: Sequence[Notification]) -> Sequence[Outcome]:
        """What became of each, in their order. Takes a bounded time and raises nothing that is
        the destination's fault."""

    async def close(self) -> None: ...
