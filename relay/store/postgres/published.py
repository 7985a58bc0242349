"""The configuration that nodes share: a row for each that was published, the newest last."""

from collections.abc import Sequence

from relay.store.fleet_values import PublishedConfiguration
from relay.store.postgres.news import tell
from relay.store.postgres.rows import text
from relay.store.postgres.session import Row, Session

_KEPT = 50
_COLUMNS = (
    "epoch, floor(extract(epoch FROM published_at) * 1000)::bigint, published_by, digest, document"
)
_NEWEST = f"SELECT {_COLUMNS} FROM configuration ORDER BY epoch DESC LIMIT 1"  # noqa: S608 - our own words
_ADD = (
    "INSERT INTO configuration (published_by, digest, document) VALUES ($1, $2, $3)"  # noqa: S608
    f" RETURNING {_COLUMNS}"
)
_FORGET = (
    "DELETE FROM configuration WHERE epoch <="
    " (SELECT epoch FROM configuration ORDER BY epoch DESC OFFSET $1 LIMIT 1)"
)
_LOCK = "LOCK TABLE configuration IN SHARE ROW EXCLUSIVE MODE"


async def newest(db: Session) -> PublishedConfiguration | None:
    """The one that is in force; None where each node follows its own file."""
    row = await db.fetchrow(_NEWEST)
    return None if row is None else _configuration(row)


def _configuration(row: Row) -> PublishedConfiguration | None:
    epoch, published_at, by, digest, document = row
    return PublishedConfiguration(epoch, published_at, by, digest, document) if document else None


async def publish(
    db: Session, requests: Sequence[tuple[str, str, str, int]]
) -> list[PublishedConfiguration | None]:
    """Requests are (document, digest, by whom, the epoch that it replaces)."""
    await db.execute(_LOCK)
    answers: list[PublishedConfiguration | None] = []
    for document, digest, by, after in requests:
        known = await newest(db)
        if after != (0 if known is None else known.epoch):
            answers.append(None)
            continue
        row = await db.fetchrow(_ADD, text(by), digest, document)
        answers.append(None if row is None else _configuration(row))
        await _forget_and_tell(db)
    return answers


async def unpublish(db: Session, requests: Sequence[None]) -> list[bool]:
    """End the one that is in force; whether there was one."""
    await db.execute(_LOCK)
    was_there = await newest(db) is not None
    if was_there:
        await db.execute(
            "INSERT INTO configuration (published_by, digest, document) VALUES ('', '', '')"
        )
        await _forget_and_tell(db)
    return [was_there, *[False] * (len(requests) - 1)]


async def _forget_and_tell(db: Session) -> None:
    await db.execute(_FORGET, _KEPT)
    await tell(db, "configuration")
