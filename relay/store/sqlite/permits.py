"""Rolling-window permits, as operations for the writer: see `relay.store.permit_window`."""

import sqlite3
from collections.abc import Sequence

from relay.store.permit_window import MINUTE, first_inside, first_kept, grant
from relay.store.values import PermitRequest, Permits


def lease(db: sqlite3.Connection, requests: Sequence[PermitRequest]) -> list[Permits]:
    return [_lease_one(db, request) for request in requests]


def _lease_one(db: sqlite3.Connection, request: PermitRequest) -> Permits:
    db.execute(
        "DELETE FROM usage WHERE key = ? AND bucket < ?",
        (request.key, first_kept(request.now, request.window)),
    )
    minutes = db.execute(
        "SELECT bucket, used FROM usage WHERE key = ? AND bucket >= ? ORDER BY bucket",
        (request.key, first_inside(request.now, request.window)),
    ).fetchall()
    permits = grant(request, minutes)
    if permits.granted:
        _charge(db, request.key, permits.at, permits.granted)
    return permits


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
            (key, first_inside(now, window)),
        ).fetchone()
        found[key] = int(total)
    return found
