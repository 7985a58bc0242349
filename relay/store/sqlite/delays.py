"""Mail that was put off without an attempt, each with the word for what it waits for.

The word makes two things possible: operators are told why mail is due later, and mail comes forward
when what it waited for is over before its time. It holds while nobody has claimed the delivery: a
claim takes it off (`claims.take`), so that it never tells of a wait that is past.
"""

import sqlite3
from collections.abc import Sequence

from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer
from relay.store.values import Owner, PutOff

_PUT_OFF = "UPDATE delivery SET epoch = NULL, due_at = ?, waits_for = ? WHERE id = ? AND epoch = ?"
_OF_WORD = "SELECT id FROM delivery WHERE waits_for = ? AND id > ? ORDER BY id LIMIT ?"
_NEXT_WORD = "SELECT min(waits_for) FROM delivery WHERE waits_for > ? AND waits_for < ?"
_FORWARD = "UPDATE delivery SET due_at = min(due_at, ?), waits_for = NULL WHERE id = ?"


class Delays:
    """Implements `DelayStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def put_off(self, owner: Owner, deliveries: Sequence[PutOff]) -> None:
        await self._writer.submit(put_off, (owner, deliveries))

    async def words(self, kind: str) -> list[str]:
        return await self._questions.ask(words, kind)

    async def bring_forward(self, word: str, after: int, now: int, limit: int) -> Sequence[int]:
        return await self._writer.submit(bring_forward, (word, after, now, limit))


def put_off(
    db: sqlite3.Connection, requests: Sequence[tuple[Owner, Sequence[PutOff]]]
) -> list[None]:
    for owner, deliveries in requests:
        db.executemany(
            _PUT_OFF, [(d.due_at, d.waits_for or None, d.id, owner.epoch) for d in deliveries]
        )
    return [None] * len(requests)


def words(db: sqlite3.Connection, kind: str) -> list[str]:
    """One step of the index for each, however much waits for it."""
    found: list[str] = []
    word, end = kind + ":", kind + ";"
    while (word := db.execute(_NEXT_WORD, (word, end)).fetchone()[0]) is not None:
        found.append(word)
    return found


def bring_forward(
    db: sqlite3.Connection, requests: Sequence[tuple[str, int, int, int]]
) -> list[Sequence[int]]:
    """Requests are (word, after, now, limit)."""
    answers: list[Sequence[int]] = []
    for word, after, now, limit in requests:
        found = [identifier for (identifier,) in db.execute(_OF_WORD, (word, after, limit))]
        db.executemany(_FORWARD, [(now, identifier) for identifier in found])
        answers.append(found)
    return answers
