"""What operators have ordered to wait: the orders, and the deliveries that were set aside for them.

A delivery that meets a suspension is marked `suspended` with the key of it, and keeps its due time.
Where several orders together make it wait (all sources of its pool rest) the mark has all their
keys, a space between them, and is void as soon as one of them is lifted.
The indexes that claims go by do not have it then: however much waits, nobody looks at it until the
suspension is lifted.

An order and the marks made for it are changed by one writer at a time. A worker that has not heard
yet of the end of a suspension marks nothing (`set_aside` looks), and what a process that died has
left marked is found by the next one that frees.
"""

from collections.abc import Collection, Sequence

from relay.store.postgres.reader import Reader
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer
from relay.store.values import Owner, Suspension, SuspensionKind

_COLUMNS = "kind, name, reason, made_by, since, until"
_PUT = (
    f"INSERT INTO suspension (key, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
    " ON CONFLICT (key) DO UPDATE SET reason = excluded.reason, made_by = excluded.made_by,"
    " since = excluded.since, until = excluded.until RETURNING xmax = 0"
)
_SET_ASIDE = (
    "UPDATE delivery AS d SET epoch = NULL, suspended_by = aside.mark,"
    " state = CASE WHEN d.state = 'queued' THEN 'suspended' ELSE d.state END"
    " FROM unnest($2::bigint[], $3::text[]) AS aside (id, mark)"
    " WHERE d.id = aside.id AND d.epoch = $1"
)
_GIVE_BACK = "UPDATE delivery SET epoch = NULL WHERE epoch = $1 AND id = ANY($2::bigint[])"
_NEXT_MARK = (
    "SELECT suspended_by FROM delivery WHERE state = 'suspended' AND suspended_by > $1"
    " ORDER BY suspended_by LIMIT 1"
)
# Whoever sets aside for an order holds it until he has: one that is lifted meanwhile waits.
_IN_FORCE = "SELECT key FROM suspension WHERE key = ANY($1::text[]) ORDER BY key FOR SHARE"
_OF_MARK = (
    "SELECT id FROM delivery WHERE state = 'suspended' AND suspended_by = $1 ORDER BY id LIMIT $2"
)
_OF_SOURCES = (
    "SELECT id FROM delivery WHERE state = 'suspended' AND suspended_by >= 'source:'"
    " AND suspended_by < 'source;' AND id > $1 ORDER BY id LIMIT $2"
)
_QUEUE_AGAIN = (
    "UPDATE delivery SET state = 'queued', suspended_by = NULL WHERE state = 'suspended'"
    " AND id = ANY($1::bigint[])"
)


class Suspensions:
    """Implements `SuspensionStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def put(self, suspension: Suspension) -> bool:
        return await self._writer.submit(put, suspension)

    async def lift(self, kind: SuspensionKind, name: str) -> bool:
        return await self._writer.submit(lift, f"{kind}:{name}")

    async def all(self) -> list[Suspension]:
        return await self._questions.ask(every)

    async def set_aside(self, owner: Owner, deliveries: Sequence[tuple[int, str]]) -> None:
        await self._writer.submit(set_aside, (owner, deliveries), unhurried=True)

    async def free(self, limit: int) -> int:
        return await self._writer.submit(free, limit)

    async def free_of_sources(self, after: int, limit: int) -> int:
        return await self._writer.submit(free_of_sources, (after, limit))


async def put(db: Session, requests: Sequence[Suspension]) -> list[bool]:
    """Add or replace; whether each was new."""
    return [bool(await db.fetchval(_PUT, *_row(each))) for each in requests]


def _row(each: Suspension) -> tuple[str, str, str, str, str, int, int | None]:
    reason, by = text(each.reason), text(each.by)
    return each.key, each.kind, each.name, reason, by, each.since, each.until


async def lift(db: Session, requests: Sequence[str]) -> list[bool]:
    """Forget orders by their keys; whether each was there."""
    return [
        rows_of(await db.execute("DELETE FROM suspension WHERE key = $1", key)) == 1
        for key in requests
    ]


async def every(db: Session) -> list[Suspension]:
    """In order of key."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM suspension ORDER BY key")  # noqa: S608 - constant
    return [Suspension(*row) for row in rows]


async def set_aside(
    db: Session, requests: Sequence[tuple[Owner, Sequence[tuple[int, str]]]]
) -> list[None]:
    """Mark claimed deliveries: pairs of (delivery id, mark). An operator's `held` is stronger."""
    for owner, deliveries in requests:
        void = await _void(db, {mark for _, mark in deliveries})
        marked = sorted(one for one in deliveries if one[1] not in void)
        back = sorted(identifier for identifier, mark in deliveries if mark in void)
        await db.execute(
            _SET_ASIDE, owner.epoch, [i for i, _ in marked], [mark for _, mark in marked]
        )
        await db.execute(_GIVE_BACK, owner.epoch, back)
    return [None] * len(requests)


async def _void(db: Session, marks: Collection[str]) -> set[str]:
    """Those of the marks of which a key is no order any more."""
    keys = sorted({key for mark in marks for key in mark.split(" ")})
    in_force = {key for (key,) in await db.fetch(_IN_FORCE, keys)}
    return {mark for mark in marks if not in_force.issuperset(mark.split(" "))}


async def free(db: Session, requests: Sequence[int]) -> list[int]:
    """Queue again what is marked with what is no order any more, up to a limit each."""
    return [await _free_some(db, limit) for limit in requests]


async def _free_some(db: Session, limit: int) -> int:
    found: list[int] = []
    mark = ""
    while len(found) < limit and (mark := await db.fetchval(_NEXT_MARK, mark)) is not None:
        if await _void(db, {mark}):
            found += [i for (i,) in await db.fetch(_OF_MARK, mark, limit - len(found))]
    await _queue_again(db, found)
    return len(found)


async def free_of_sources(db: Session, requests: Sequence[tuple[int, int]]) -> list[int]:
    """Queue again what waits for sources, in order of id: (after, limit). The last id, 0: no more
    wait."""
    answers = []
    for request in requests:
        found = [i for (i,) in await db.fetch(_OF_SOURCES, *request)]
        await _queue_again(db, found)
        answers.append(found[-1] if found else 0)
    return answers


async def _queue_again(db: Session, identifiers: Sequence[int]) -> None:
    await db.execute(_QUEUE_AGAIN, sorted(identifiers))
