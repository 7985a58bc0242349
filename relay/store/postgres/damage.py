"""What the server cannot read any more: one row is set apart for it, and the others go on.

A page that is not what was written, or a part of a large value that is gone, fails the statement
that comes across it, and with it all that was asked for at once. So what failed is asked for again
in halves, outside of any transaction, until what is left is what is damaged.
"""

from collections.abc import Sequence
from typing import TypeVar

import asyncpg

from relay.store.codec import Damaged
from relay.store.postgres.errors import is_corrupt
from relay.store.postgres.requests import Operation
from relay.store.postgres.session import Session

A = TypeVar("A")
R = TypeVar("R")

# A scan of the whole table would come across the damage whatever is looked for.
_BY_INDEX = (
    "SET LOCAL plan_cache_mode = force_custom_plan",
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
)


def by_index(operation: Operation[A, R]) -> Operation[A, R]:
    """`operation`, kept from pages that it does not need."""

    async def careful(db: Session, requests: Sequence[A]) -> Sequence[R]:
        await _be_careful(db)
        return await operation(db, requests)

    return careful


async def _be_careful(db: Session) -> None:
    for setting in _BY_INDEX:
        await db.execute(setting)


async def read_one(
    db: Session, what: str, statement: str, *arguments: object
) -> asyncpg.Record | None:
    """The row that a statement finds, by an index. Raises Damaged where the server cannot read
    `what`. A question for a reader."""
    try:
        return await db.fetchrow(statement, *arguments)
    except Exception as error:
        if not is_corrupt(error):
            raise
    try:
        async with db.transaction():
            await _be_careful(db)
            return await db.fetchrow(statement, *arguments)
    except Exception as error:
        if is_corrupt(error):
            raise Damaged(f"{what}: {error}") from error
        raise


async def read_past(
    db: Session, statement: str, identifiers: Sequence[int]
) -> tuple[list[asyncpg.Record], dict[int, Damaged]]:
    """The rows of those deliveries, which are the one parameter of `statement`, and those that
    cannot be read. A question for a reader."""
    try:
        return await db.fetch(statement, list(identifiers)), {}
    except Exception as error:
        if not is_corrupt(error):
            raise
    return await _in_halves(db, statement, identifiers)


async def _in_halves(
    db: Session, statement: str, identifiers: Sequence[int]
) -> tuple[list[asyncpg.Record], dict[int, Damaged]]:
    try:
        async with db.transaction():
            await _be_careful(db)
            return await db.fetch(statement, list(identifiers)), {}
    except Exception as error:
        if not is_corrupt(error):
            raise
        if len(identifiers) == 1:
            return [], {identifiers[0]: Damaged(f"delivery {identifiers[0]}: {error}")}
    middle = len(identifiers) // 2
    rows, torn = await _in_halves(db, statement, identifiers[:middle])
    more_rows, more_torn = await _in_halves(db, statement, identifiers[middle:])
    return rows + more_rows, torn | more_torn
