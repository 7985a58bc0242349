"""MTA-STS policies that domains published: a row for each domain, shared by all processes.

They must survive a restart: whoever cuts a relay off from policy hosts while it starts would turn
the policies off otherwise (RFC 8461 §10.2).
"""

import sqlite3
from collections.abc import Sequence

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer
from relay.store.tls_values import StoredPolicy

_COLUMNS = "domain, id, mode, mx, max_age, fetched_at, used_at"


class StsPolicies:
    """Implements `relay.store.interface.StsPolicyStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def find(self, domain: str) -> StoredPolicy | None:
        return await self._questions.ask(_find, domain)

    async def put(self, policy: StoredPolicy) -> None:
        await self._writer.submit(_put, policy)

    async def used(self, domain: str, now: int) -> None:
        await self._writer.submit(_used, (domain, now))

    async def all(self, limit: int) -> list[StoredPolicy]:
        return await self._questions.ask(_all, limit)

    async def stale(self, fetched_before: int, used_since: int, limit: int) -> list[StoredPolicy]:
        return await self._questions.ask(_stale, fetched_before, used_since, limit)

    async def forget_ended(self, now: int) -> int:
        return await self._writer.submit(_forget_ended, now)


def _find(db: sqlite3.Connection, domain: str) -> StoredPolicy | None:
    rows = db.execute(f"SELECT {_COLUMNS} FROM sts_policy WHERE domain = ?", (domain,))  # noqa: S608 - our own words
    return next((_policy(row) for row in rows), None)


def _put(db: sqlite3.Connection, requests: Sequence[StoredPolicy]) -> list[None]:
    db.executemany(
        f"INSERT INTO sts_policy ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        " ON CONFLICT (domain) DO UPDATE SET id = excluded.id, mode = excluded.mode,"
        " mx = excluded.mx, max_age = excluded.max_age, fetched_at = excluded.fetched_at,"
        " used_at = max(used_at, excluded.used_at)",
        [
            (p.domain, p.id, p.mode, " ".join(p.mx), p.max_age, p.fetched_at, p.used_at)
            for p in requests
        ],
    )
    return [None] * len(requests)


def _used(db: sqlite3.Connection, requests: Sequence[tuple[str, int]]) -> list[None]:
    db.executemany(
        "UPDATE sts_policy SET used_at = max(used_at, ?) WHERE domain = ?",
        [(now, domain) for domain, now in requests],
    )
    return [None] * len(requests)


def _all(db: sqlite3.Connection, limit: int) -> list[StoredPolicy]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM sts_policy ORDER BY domain LIMIT ?", (limit,))  # noqa: S608
    return [_policy(row) for row in rows]


def _stale(
    db: sqlite3.Connection, fetched_before: int, used_since: int, limit: int
) -> list[StoredPolicy]:
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM sts_policy WHERE fetched_at < ? AND used_at >= ?"  # noqa: S608
        " ORDER BY fetched_at LIMIT ?",
        (fetched_before, used_since, limit),
    )
    return [_policy(row) for row in rows]


def _forget_ended(db: sqlite3.Connection, requests: Sequence[int]) -> list[int]:
    return [
        db.execute("DELETE FROM sts_policy WHERE fetched_at + max_age * 1000 <= ?", (now,)).rowcount
        for now in requests
    ]


def _policy(row: tuple[str, str, str, str, int, int, int]) -> StoredPolicy:
    domain, identifier, mode, mx, max_age, fetched_at, used_at = row
    return StoredPolicy(domain, identifier, mode, tuple(mx.split()), max_age, fetched_at, used_at)
