"""Rolling-window permits, as operations for the writer.

What was used is kept per key and minute. A minute counts as inside the window until its *end* has
left it, and minutes ahead of `now` always count: so in no window is more let through than the
limit (and one overdraft), whatever the clock does. The price is that a permit may come back up to
one minute late.
"""

import sqlite3
from collections.abc import Sequence

from relay.store.values import PermitRequest, Permits

MINUTE = 60_000

# Minutes are forgotten this long after they have left the window. A clock that leaps ahead for a
# while must not erase what is counted when it comes back.
_MEMORY = 7 * 24 * 60 * MINUTE


def lease(db: sqlite3.Connection, requests: Sequence[PermitRequest]) -> list[Permits]:
    return [_lease_one(db, request) for request in requests]


def _lease_one(db: sqlite3.Connection, request: PermitRequest) -> Permits:
    db.execute(
        "DELETE FROM usage WHERE key = ? AND bucket < ?",
        (request.key, _first_inside(request.now - _MEMORY, request.window)),
    )
    minutes = db.execute(
        "SELECT bucket, used FROM usage WHERE key = ? AND bucket >= ? ORDER BY bucket",
        (request.key, _first_inside(request.now, request.window)),
    ).fetchall()
    free = request.limit - sum(used for _, used in minutes)
    if free > 0:
        granted = max(request.need, min(request.block, free))
        _charge(db, request.key, request.now, granted)
        return Permits(granted, request.now)
    at = _frees_at(minutes, free, request)
    if not request.queue or request.limit <= 0:
        return Permits(0, at)
    _charge(db, request.key, at, request.need)
    return Permits(request.need, at)


def _first_inside(now: int, window: int) -> int:
    """The first minute whose end has not left the window (now - window, now]."""
    return (now - window) // MINUTE


def _frees_at(minutes: Sequence[tuple[int, int]], free: int, request: PermitRequest) -> int:
    """When so many minutes have left the window that one permit is free."""
    for bucket, used in minutes:
        free += used
        if free > 0:
            return max(request.now, (bucket + 1) * MINUTE + request.window)
    return request.now + request.window


def _charge(db: sqlite3.Connection, key: str, at: int, count: int) -> None:
    db.execute(
        "INSERT INTO usage VALUES (?, ?, ?)"
        " ON CONFLICT (key, bucket) DO UPDATE SET used = used + excluded.used",
        (key, at // MINUTE, count),
    )


def give_back(db: sqlite3.Connection, requests: Sequence[tuple[str, int, int]]) -> list[None]:
    """Return unused permits: (key, at, count), `at` as they were granted."""
    for key, at, count in requests:
        db.execute(
            "UPDATE usage SET used = max(0, used - ?) WHERE key = ? AND bucket = ?",
            (max(0, count), key, at // MINUTE),
        )
    return [None] * len(requests)


def used(db: sqlite3.Connection, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
    """What counts in the window of each key."""
    found = {}
    for key in keys:
        (total,) = db.execute(
            "SELECT coalesce(sum(used), 0) FROM usage WHERE key = ? AND bucket >= ?",
            (key, _first_inside(now, window)),
        ).fetchone()
        found[key] = int(total)
    return found
