"""What operators have ordered to wait: the orders, and the deliveries that were set aside for them.

A delivery that meets a suspension is marked `suspended` with the key of it, and keeps its due time.
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
    "UPDATE delivery SET epoch = NULL, suspended_by = ?, state = CASE"
    " WHEN state = 'queued' AND EXISTS (SELECT 1 FROM suspension WHERE key = ?) THEN 'suspended'"
    " ELSE state END WHERE id = ? AND epoch = ?"
)
_NEXT_KEY = (
    "SELECT suspended_by FROM delivery WHERE state = 'suspended' AND suspended_by > ?"
    " ORDER BY suspended_by LIMIT 1"
)
_IN_FORCE = "SELECT 1 FROM suspension WHERE key = ?"
_OF_KEY = "SELECT id FROM delivery WHERE state = 'suspended' AND suspended_by = ? LIMIT ?"
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
    """Mark claimed deliveries: pairs of (delivery id, key). An operator's `held` is stronger."""
    for owner, deliveries in requests:
        db.executemany(
            _SET_ASIDE, [(key, key, identifier, owner.epoch) for identifier, key in deliveries]
        )
    return [None] * len(requests)


def free(db: sqlite3.Connection, requests: Sequence[int]) -> list[int]:
    """Queue again what is marked with a key that is no order any more, up to a limit each."""
    return [_free_some(db, limit) for limit in requests]


def _free_some(db: sqlite3.Connection, limit: int) -> int:
    found: list[int] = []
    key = ""
    while len(found) < limit and (row := db.execute(_NEXT_KEY, (key,)).fetchone()) is not None:
        (key,) = row
        if db.execute(_IN_FORCE, (key,)).fetchone() is None:
            found += [i for (i,) in db.execute(_OF_KEY, (key, limit - len(found)))]
    for some in chunks(found):
        db.execute(values(_QUEUE_AGAIN, "?", len(some), in_brackets=True), some)
    return len(found)
