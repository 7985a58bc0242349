"""Rolling-window permits, as arithmetic over what was used minute by minute. Pure, for every store.

A minute counts as inside the window until its *end* has left it, and minutes ahead of `now` always
count: so in no window is more let through than the limit (and one overdraft), whatever the clock
does. The price is that a permit may come back up to one minute late. Times are UTC ms.
"""

from collections.abc import Sequence

from relay.store.values import PermitRequest, Permits

MINUTE = 60_000

# Minutes are forgotten this long after they have left the window. A clock that leaps ahead for a
# while must not erase what is counted when it comes back.
_MEMORY = 7 * 24 * 60 * MINUTE


def first_inside(now: int, window: int) -> int:
    """The first minute whose end has not left the window (now - window, now]."""
    return (now - window) // MINUTE


def first_kept(now: int, window: int) -> int:
    """Minutes before this one are forgotten."""
    return first_inside(now - _MEMORY, window)


def grant(request: PermitRequest, minutes: Sequence[tuple[int, int]]) -> Permits:
    """The answer to a request, given the minutes inside its window (number, used) in order. What is
    granted is to be counted in the minute of `Permits.at`."""
    free = request.limit - sum(used for _, used in minutes)
    if free > 0:
        spare = (free + 1) // 2 if request.leaves_some else free
        return Permits(max(request.need, min(request.block, spare)), request.now)
    at = _frees_at(minutes, free, request)
    if not request.queue or request.limit <= 0:
        return Permits(0, at)
    return Permits(request.need, at)


def _frees_at(minutes: Sequence[tuple[int, int]], free: int, request: PermitRequest) -> int:
    """When so many minutes have left the window that one permit is free."""
    for bucket, used in minutes:
        free += used
        if free > 0:
            return max(request.now, (bucket + 1) * MINUTE + request.window)
    return request.now + request.window
