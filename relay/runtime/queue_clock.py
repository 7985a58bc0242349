"""The clock of the queue: wall time, but for jumps.

Due times and expiries outlive the process, so they are wall times. A wall clock that is set forward
a day would expire the whole queue, one set back a day would freeze it, and a host that slept would
find its mail too old. This clock passes on what drifts and leaves out what jumps: `now` is the wall
time less all jumps since the process began. Dates in messages and logs are true wall times.

In a fleet it is the time that the nodes share (`relay.runtime.shared_time`), which no wall clock of
theirs decides on; dates of messages are of it too, for other nodes compare them with theirs.

A restart begins anew from the wall clock; what has expired by then is still tried (see
`relay.delivery.scheduler.spare`).
"""

from collections.abc import Callable
from dataclasses import replace

from relay.runtime.shared_time import Timekeeping
from relay.store.values import NewMessage

JUMP_MS = 5_000


class QueueClock:
    """`monotonic` gives seconds, `wall` UTC milliseconds; `jumped` is told the seconds of each
    jump, forward or back. `offset` is what another process of the same relay has left out."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall: Callable[[], int],
        jumped: Callable[[float], None] = lambda seconds: None,
        offset: int = 0,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._jumped = jumped
        self._last_monotonic = monotonic()
        self._last_wall = wall()
        self.offset = offset
        self._shared: Timekeeping | None = None

    def follow(self, shared: Timekeeping) -> None:
        """Be the time that the fleet shares from now on."""
        self._shared = shared

    def now(self) -> int:
        """UTC milliseconds, less the jumps."""
        monotonic, wall = self._monotonic(), self._wall()
        if self._shared is not None:
            shared = self._shared.time(monotonic)
            self.offset = wall - shared
            return shared
        jump = round((wall - self._last_wall) - (monotonic - self._last_monotonic) * 1000)
        self._last_monotonic, self._last_wall = monotonic, wall
        if abs(jump) > JUMP_MS:
            self.offset += jump
            self._jumped(jump / 1000)
        return wall - self.offset

    def date(self) -> int:
        """UTC milliseconds, jumps and all: for what is kept by the day and not by its age, such as
        the windows of quotas. In a fleet as `now`: what one node dates the others read."""
        return self._wall() if self._shared is None else self._shared.time(self._monotonic())

    def in_queue_time(self, new: NewMessage) -> NewMessage:
        """A message whose times were taken from `date`, in the times of the queue."""
        if self._shared is not None:
            return new
        self.now()
        if not self.offset:
            return new
        message = replace(new.message, expires_at=new.message.expires_at - self.offset)
        return replace(new, message=message, due_at=new.due_at - self.offset)
