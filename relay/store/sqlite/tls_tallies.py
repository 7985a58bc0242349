"""How TLS with other relays went, counted by day, and which reports of it are settled (RFC 8460).

Several processes add to the same rows. A day has a bounded number of them: what is new beyond it is
not counted, what is known goes on.
"""

import sqlite3
from collections.abc import Sequence

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer
from relay.store.tls_rows import fields_of, tally_of
from relay.store.tls_values import TlsDay, TlsTally

_KEY = "day, domain, policy_type, policy_domain, policy, result, detail, source, host, address"
_ADD = (
    f"INSERT INTO tls_tally ({_KEY}, sessions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own words
    f" ON CONFLICT ({_KEY}) DO UPDATE SET sessions = sessions + excluded.sessions"
)
_ADD_TO_KNOWN = (
    "UPDATE tls_tally SET sessions = sessions + ? WHERE day = ? AND domain = ? AND policy_type = ?"
    " AND policy_domain = ? AND policy = ? AND result = ? AND detail = ? AND source = ?"
    " AND host = ? AND address = ?"
)
_DAYS = (
    "SELECT t.day, t.domain, sum(CASE WHEN t.result = '' THEN t.sessions ELSE 0 END),"
    " sum(CASE WHEN t.result = '' THEN 0 ELSE t.sessions END), coalesce(r.result, '')"
    " FROM tls_tally t LEFT JOIN tls_report r ON r.day = t.day AND r.domain = t.domain"
)


class TlsTallies:
    """Implements `relay.store.interface.TlsTallyStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def add(self, day: int, tallies: Sequence[TlsTally], most: int) -> int:
        return await self._writer.submit(_add, (day, tallies, most))

    async def of(self, day: int, domain: str) -> list[TlsTally]:
        return await self._questions.ask(_of, day, domain)

    async def unsettled(self, since: int, before: int, limit: int) -> list[tuple[int, str]]:
        return await self._questions.ask(_unsettled, since, before, limit)

    async def settle(self, day: int, domain: str, at: int, result: str) -> bool:
        return await self._writer.submit(_settle, (day, domain, at, result))

    async def days(self, domain: str, limit: int) -> list[TlsDay]:
        return await self._questions.ask(_days, domain, limit)

    async def forget(self, before: int) -> int:
        return await self._writer.submit(_forget, before)


def _add(
    db: sqlite3.Connection, requests: Sequence[tuple[int, Sequence[TlsTally], int]]
) -> list[int]:
    return [_add_some(db, day, tallies, most) for day, tallies, most in requests]


def _add_some(db: sqlite3.Connection, day: int, tallies: Sequence[TlsTally], most: int) -> int:
    (count,) = db.execute("SELECT count(*) FROM tls_tally WHERE day = ?", (day,)).fetchone()
    lost = 0
    for tally in tallies:
        key = (day, *fields_of(tally.outcome))
        if db.execute(_ADD_TO_KNOWN, (tally.sessions, *key)).rowcount:
            continue
        if count >= most:
            lost += tally.sessions
            continue
        db.execute(_ADD, (*key, tally.sessions))
        count += 1
    return lost


def _of(db: sqlite3.Connection, day: int, domain: str) -> list[TlsTally]:
    rows = db.execute(
        "SELECT domain, policy_type, policy_domain, policy, result, detail, source, host, address,"
        " sessions FROM tls_tally WHERE day = ? AND domain = ?",
        (day, domain),
    )
    return [tally_of(row) for row in rows]


def _unsettled(
    db: sqlite3.Connection, since: int, before: int, limit: int
) -> list[tuple[int, str]]:
    return db.execute(
        "SELECT DISTINCT day, domain FROM tls_tally t WHERE day >= ? AND day < ? AND NOT EXISTS"
        " (SELECT 1 FROM tls_report r WHERE r.day = t.day AND r.domain = t.domain)"
        " ORDER BY day, domain LIMIT ?",
        (since, before, limit),
    ).fetchall()


def _settle(db: sqlite3.Connection, requests: Sequence[tuple[int, str, int, str]]) -> list[bool]:
    return [
        db.execute("INSERT OR IGNORE INTO tls_report VALUES (?, ?, ?, ?)", request).rowcount == 1
        for request in requests
    ]


def _days(db: sqlite3.Connection, domain: str, limit: int) -> list[TlsDay]:
    rows = db.execute(
        f"{_DAYS} WHERE ? IN ('', t.domain) GROUP BY t.day, t.domain"
        " ORDER BY t.day DESC, 4 DESC, t.domain LIMIT ?",
        (domain, limit),
    )
    return [TlsDay(*row) for row in rows]


def _forget(db: sqlite3.Connection, requests: Sequence[int]) -> list[int]:
    gone = []
    for before in requests:
        gone.append(db.execute("DELETE FROM tls_tally WHERE day < ?", (before,)).rowcount)
        db.execute("DELETE FROM tls_report WHERE day < ?", (before,))
    return gone
