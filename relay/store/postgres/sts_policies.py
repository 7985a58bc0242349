"""MTA-STS policies that domains published: a row for each domain, shared by all processes.

They must survive a restart: whoever cuts a relay off from policy hosts while it starts would turn
the policies off otherwise (RFC 8461 §10.2).
"""

from collections.abc import Sequence

from relay.store.postgres.reader import Reader
from relay.store.postgres.session import Row, Session, rows_of
from relay.store.postgres.writer import Writer
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


async def _find(db: Session, domain: str) -> StoredPolicy | None:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM sts_policy WHERE domain = $1", domain)  # noqa: S608 - our own words
    return next((_policy(row) for row in rows), None)


async def _put(db: Session, requests: Sequence[StoredPolicy]) -> list[None]:
    await db.executemany(
        f"INSERT INTO sts_policy AS p ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
        " ON CONFLICT (domain) DO UPDATE SET id = excluded.id, mode = excluded.mode,"
        " mx = excluded.mx, max_age = excluded.max_age, fetched_at = excluded.fetched_at,"
        " used_at = greatest(p.used_at, excluded.used_at)",
        [
            (p.domain, p.id, p.mode, " ".join(p.mx), p.max_age, p.fetched_at, p.used_at)
            for p in sorted(requests, key=lambda policy: policy.domain)
        ],
    )
    return [None] * len(requests)


async def _used(db: Session, requests: Sequence[tuple[str, int]]) -> list[None]:
    await db.executemany(
        "UPDATE sts_policy SET used_at = greatest(used_at, $2) WHERE domain = $1",
        sorted(requests),
    )
    return [None] * len(requests)


async def _all(db: Session, limit: int) -> list[StoredPolicy]:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM sts_policy ORDER BY domain LIMIT $1", limit)  # noqa: S608
    return [_policy(row) for row in rows]


async def _stale(
    db: Session, fetched_before: int, used_since: int, limit: int
) -> list[StoredPolicy]:
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM sts_policy WHERE fetched_at < $1 AND used_at >= $2"  # noqa: S608
        " ORDER BY fetched_at LIMIT $3",
        fetched_before,
        used_since,
        limit,
    )
    return [_policy(row) for row in rows]


async def _forget_ended(db: Session, requests: Sequence[int]) -> list[int]:
    return [
        rows_of(
            await db.execute("DELETE FROM sts_policy WHERE fetched_at + max_age * 1000 <= $1", now)
        )
        for now in requests
    ]


def _policy(row: Row) -> StoredPolicy:
    domain, identifier, mode, mx, max_age, fetched_at, used_at = row
    return StoredPolicy(domain, identifier, mode, tuple(mx.split()), max_age, fetched_at, used_at)
