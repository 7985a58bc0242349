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

import sqlite3
from collections.abc import Sequence

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.rows import chunks, values
from relay.store.sqlite.writer import Writer
from relay.store.values import Owner, Suspension, SuspensionKind

_COLUMNS = "kind, name, reason, made_by, since, until"
_SET_ASIDE = (
    "UPDATE delivery SET epoch = NULL, suspended_by = ?,"
    " state = CASE WHEN state = 'queued' THEN 'suspended' ELSE state END WHERE id = ? AND epoch = ?"
)
_GIVE_BACK = "UPDATE delivery SET epoch = NULL WHERE id = ? AND epoch = ?"
_NEXT_MARK = (
    "SELECT suspended_by FROM delivery WHERE state = 'suspended' AND suspended_by > ?"
    " ORDER BY suspended_by LIMIT 1"
)
_IN_FORCE = "SELECT 1 FROM suspension WHERE key = ?"
_OF_MARK = "SELECT id FROM delivery WHERE state = 'suspended' AND suspended_by = ? LIMIT ?"
_OF_SOURCES = (
    "SELECT id FROM delivery WHERE state = 'suspended' AND suspended_by >= 'source:'"
    " AND suspended_by < 'source;' AND id > ? ORDER BY id LIMIT ?"
)
_QUEUE_AGAIN = (
    "UPDATE delivery SET state = 'queued', suspended_by = NULL WHERE state = 'suspended' AND id IN "
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


def put(db: sqlite3.Connection, requests: Sequence[Suspension]) -> list[bool]:
    """Add or replace; whether each was new."""
    answers = []
    for each in requests:
        is_new = db.execute(_IN_FORCE, (each.key,)).fetchone() is None
        db.execute(
            f"REPLACE INTO suspension (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (each.key, each.kind, each.name, each.reason, each.by, each.since, each.until),
        )
        answers.append(is_new)
    return answers


def lift(db: sqlite3.Connection, requests: Sequence[str]) -> list[bool]:
    """Forget orders by their keys; whether each was there."""
    return [
        db.execute("DELETE FROM suspension WHERE key = ?", (key,)).rowcount == 1 for key in requests
    ]


def every(db: sqlite3.Connection) -> list[Suspension]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM suspension ORDER BY key")  # noqa: S608 - constant
    return [Suspension(*row) for row in rows]


def set_aside(
    db: sqlite3.Connection, requests: Sequence[tuple[Owner, Sequence[tuple[int, str]]]]
) -> list[None]:
    """Mark claimed deliveries: pairs of (delivery id, mark). An operator's `held` is stronger."""
    for owner, deliveries in requests:
        void = {mark for mark in {m for _, m in deliveries} if not _is_in_force(db, mark)}
        db.executemany(
            _SET_ASIDE, [(mark, i, owner.epoch) for i, mark in deliveries if mark not in void]
        )
        db.executemany(_GIVE_BACK, [(i, owner.epoch) for i, mark in deliveries if mark in void])
    return [None] * len(requests)


def _is_in_force(db: sqlite3.Connection, mark: str) -> bool:
    return all(db.execute(_IN_FORCE, (key,)).fetchone() is not None for key in mark.split(" "))


def free(db: sqlite3.Connection, requests: Sequence[int]) -> list[int]:
    """Queue again what is marked with what is no order any more, up to a limit each."""
    return [_free_some(db, limit) for limit in requests]


def _free_some(db: sqlite3.Connection, limit: int) -> int:
    found: list[int] = []
    mark = ""
    while len(found) < limit and (row := db.execute(_NEXT_MARK, (mark,)).fetchone()) is not None:
        (mark,) = row
        if not _is_in_force(db, mark):
            found += [i for (i,) in db.execute(_OF_MARK, (mark, limit - len(found)))]
    _queue_again(db, found)
    return len(found)


def free_of_sources(db: sqlite3.Connection, requests: Sequence[tuple[int, int]]) -> list[int]:
    """Queue again what waits for sources, in order of id: (after, limit). The last id, 0: no more
    wait."""
    answers = []
    for request in requests:
        found = [i for (i,) in db.execute(_OF_SOURCES, request)]
        _queue_again(db, found)
        answers.append(found[-1] if found else 0)
    return answers


def _queue_again(db: sqlite3.Connection, identifiers: Sequence[int]) -> None:
    for some in chunks(identifiers):
        db.execute(values(_QUEUE_AGAIN, "?", len(some), in_brackets=True), some)
