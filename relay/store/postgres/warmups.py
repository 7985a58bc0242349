"""How far the warm-ups of source addresses have come: a row for each address.

Who changes a row says what he believes to stand there. So a day that turns and an operator who sets
another one at the same moment never undo each other unseen.
"""

from collections.abc import Sequence

from relay.store.postgres.reader import Reader
from relay.store.postgres.session import Session, rows_of
from relay.store.postgres.writer import Writer
from relay.store.values import WarmupProgress

_COLUMNS = "address, day, day_began_at, configured_at, state"


class Warmups:
    """Implements `relay.store.interface.WarmupStore`."""

    def __init__(self, writer: Writer, questions: Reader) -> None:
        self._writer = writer
        self._questions = questions

    async def all(self) -> list[WarmupProgress]:
        """In order of address."""
        return await self._questions.ask(_all)

    async def replace(self, known: WarmupProgress | None, new: WarmupProgress) -> bool:
        """See `WarmupStore`."""
        return await self._writer.submit(_replace, (known, new))

    async def forget(self, known: WarmupProgress) -> bool:
        """See `WarmupStore`."""
        return await self._writer.submit(_forget, known)


async def _all(db: Session) -> list[WarmupProgress]:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM warmup ORDER BY address")  # noqa: S608 - our own words
    return [WarmupProgress(*row) for row in rows]


async def _replace(
    db: Session, requests: Sequence[tuple[WarmupProgress | None, WarmupProgress]]
) -> list[bool]:
    return [await _replace_one(db, known, new) for known, new in requests]


async def _replace_one(db: Session, known: WarmupProgress | None, new: WarmupProgress) -> bool:
    if known is not None and not await _forget_one(db, known):
        return False
    told = await db.execute(
        f"INSERT INTO warmup ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5)"  # noqa: S608
        " ON CONFLICT DO NOTHING",
        *_row(new),
    )
    return rows_of(told) == 1


async def _forget(db: Session, requests: Sequence[WarmupProgress]) -> list[bool]:
    return [await _forget_one(db, known) for known in requests]


async def _forget_one(db: Session, known: WarmupProgress) -> bool:
    told = await db.execute(
        "DELETE FROM warmup WHERE address = $1 AND day = $2 AND day_began_at = $3"
        " AND configured_at = $4 AND state = $5",
        *_row(known),
    )
    return rows_of(told) == 1


def _row(progress: WarmupProgress) -> tuple[str, int, int, int, str]:
    return (
        progress.address,
        progress.day,
        progress.day_began_at,
        progress.configured_at,
        progress.state,
    )
