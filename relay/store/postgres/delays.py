"""Mail that was put off without an attempt, each with the word for what it waits for.

The word makes two things possible: operators are told why mail is due later, and mail comes forward
when what it waited for is over before its time. It holds while nobody has claimed the delivery: a
claim takes it off (`claims.take`), so that it never tells of a wait that is past.
"""

from collections.abc import Sequence

from relay.store.postgres.reader import Reader
from relay.store.postgres.session import Session
from relay.store.postgres.writer import Writer
from relay.store.values import Owner, PutOff

_PUT_OFF = (
    "UPDATE delivery AS d SET epoch = NULL, due_at = off.due_at, waits_for = off.word"
    " FROM unnest($2::bigint[], $3::bigint[], $4::text[]) AS off (id, due_at, word)"
    " WHERE d.id = off.id AND d.epoch = $1"
)
_NEXT_WORD = "SELECT min(waits_for) FROM delivery WHERE waits_for > $1 AND waits_for < $2"
_FORWARD = (
    "UPDATE delivery SET due_at = least(due_at, $3), waits_for = NULL WHERE id IN (SELECT id"
    " FROM delivery WHERE waits_for = $1 AND id > $2 ORDER BY id LIMIT $4 FOR UPDATE) RETURNING id"
)


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


async def put_off(db: Session, requests: Sequence[tuple[Owner, Sequence[PutOff]]]) -> list[None]:
    for owner, deliveries in requests:
        ordered = sorted(deliveries, key=lambda off: off.id)
        await db.execute(
            _PUT_OFF,
            owner.epoch,
            [off.id for off in ordered],
            [off.due_at for off in ordered],
            [off.waits_for or None for off in ordered],
        )
    return [None] * len(requests)


async def words(db: Session, kind: str) -> list[str]:
    """One step of the index for each, however much waits for it."""
    found: list[str] = []
    word, end = kind + ":", kind + ";"
    while (word := await db.fetchval(_NEXT_WORD, word, end)) is not None:
        found.append(word)
    return found


async def bring_forward(
    db: Session, requests: Sequence[tuple[str, int, int, int]]
) -> list[Sequence[int]]:
    """Requests are (word, after, now, limit)."""
    answers: list[Sequence[int]] = []
    for word, after, now, limit in requests:
        found = await db.fetch(_FORWARD, word, after, now, limit)
        answers.append(sorted(identifier for (identifier,) in found))
    return answers
