"""How TLS with other relays went, counted by day, and which reports of it are settled (RFC 8460).

Several processes add to the same rows. A day has a bounded number of them: what is new beyond it is
not counted, what is known goes on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from relay.store.postgres.reader import Reader
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer
from relay.store.tls_rows import fields_of, tally_of
from relay.store.tls_values import TlsDay, TlsTally

_FIELDS = 9  # of an outcome
_DIGEST = (
    "md5({0}policy_type || E'\\n' || {0}policy_domain || E'\\n' || {0}policy || E'\\n' || {0}result"
    " || E'\\n' || {0}detail || E'\\n' || {0}source || E'\\n' || {0}host || E'\\n' || {0}address)"
)
_COLUMNS = "policy_type, policy_domain, policy, result, detail, source, host, address"
_NEW = (
    "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],"
    f" $9::text[], $10::text[], $11::bigint[]) AS new (domain, {_COLUMNS}, sessions)"
)
# Row by row, by the index: a join with all rows of the day would take longer than mail may wait.
_FOUND = (
    f"SELECT new.*, row.place FROM {_NEW}, LATERAL (SELECT ctid AS place FROM tls_tally AS t"  # noqa: S608 - our own words
    f" WHERE t.day = $1 AND t.domain = new.domain AND {_DIGEST.format('t.')} ="
    f" {_DIGEST.format('new.')} LIMIT 1) AS row"
)
_ADD_TO_KNOWN = (
    f"UPDATE tls_tally AS t SET sessions = t.sessions + found.sessions FROM ({_FOUND}) AS found"  # noqa: S608 - our own words
    " WHERE t.ctid = found.place RETURNING found.domain, "
    + ", ".join(f"found.{column}" for column in _COLUMNS.split(", "))
)
_ADD = (
    f"INSERT INTO tls_tally (day, domain, {_COLUMNS}, sessions)"  # noqa: S608 - our own words
    f" SELECT $1::integer, new.* FROM {_NEW}"
)
_DAYS = (
    "SELECT t.day, t.domain, sum(CASE WHEN t.result = '' THEN t.sessions ELSE 0 END)::bigint,"
    " sum(CASE WHEN t.result = '' THEN 0 ELSE t.sessions END)::bigint, coalesce(r.result, '')"
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


async def _add(db: Session, requests: Sequence[tuple[int, Sequence[TlsTally], int]]) -> list[int]:
    return [await _add_some(db, day, tallies, most) for day, tallies, most in requests]


async def _add_some(db: Session, day: int, tallies: Sequence[TlsTally], most: int) -> int:
    """One at a time for each day: of two, the second sees what the first has added."""
    await db.execute("SELECT pg_advisory_xact_lock(hashtext('tls_tally'), $1)", day)
    sessions: Counter[tuple[str, ...]] = Counter()
    for tally in tallies:
        sessions[tuple(map(text, fields_of(tally.outcome)))] += tally.sessions
    known = {tuple(row) for row in await db.fetch(_ADD_TO_KNOWN, day, *_arrays(sessions))}
    new = [fields for fields in sessions if fields not in known]
    if not new:
        return 0
    room = max(0, most - await db.fetchval("SELECT count(*) FROM tls_tally WHERE day = $1", day))
    await db.execute(_ADD, day, *_arrays({fields: sessions[fields] for fields in new[:room]}))
    return sum(sessions[fields] for fields in new[room:])


def _arrays(sessions: Mapping[tuple[str, ...], int]) -> list[list[str] | list[int]]:
    """As the columns of `_NEW`."""
    columns = [[fields[place] for fields in sessions] for place in range(_FIELDS)]
    return [*columns, list(sessions.values())]


async def _of(db: Session, day: int, domain: str) -> list[TlsTally]:
    rows = await db.fetch(
        "SELECT domain, policy_type, policy_domain, policy, result, detail, source, host, address,"
        " sessions FROM tls_tally WHERE day = $1 AND domain = $2",
        day,
        domain,
    )
    return [tally_of(row) for row in rows]


async def _unsettled(db: Session, since: int, before: int, limit: int) -> list[tuple[int, str]]:
    rows = await db.fetch(
        "SELECT DISTINCT day, domain FROM tls_tally t WHERE day >= $1 AND day < $2 AND NOT EXISTS"
        " (SELECT FROM tls_report r WHERE r.day = t.day AND r.domain = t.domain)"
        " ORDER BY day, domain LIMIT $3",
        since,
        before,
        limit,
    )
    return [(day, domain) for day, domain in rows]


async def _settle(db: Session, requests: Sequence[tuple[int, str, int, str]]) -> list[bool]:
    return [
        rows_of(
            await db.execute(
                "INSERT INTO tls_report VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", *request
            )
        )
        == 1
        for request in requests
    ]


async def _days(db: Session, domain: str, limit: int) -> list[TlsDay]:
    rows = await db.fetch(
        f"{_DAYS} WHERE $1 IN ('', t.domain) GROUP BY t.day, t.domain, r.result"
        " ORDER BY t.day DESC, 4 DESC, t.domain LIMIT $2",
        domain,
        limit,
    )
    return [TlsDay(*row) for row in rows]


async def _forget(db: Session, requests: Sequence[int]) -> list[int]:
    gone = []
    for before in requests:
        told = await db.execute("DELETE FROM tls_tally WHERE day < $1", before)
        gone.append(rows_of(told))
        await db.execute("DELETE FROM tls_report WHERE day < $1", before)
    return gone
