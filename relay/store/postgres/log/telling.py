"""What those who tell destinations ask: events in order, how far each has come, dead letters."""

from collections.abc import Sequence

import msgspec

from relay.store import log_rows
from relay.store.log_values import DeadLetter, LoggedEvent, TellingCursor
from relay.store.postgres.rows import text
from relay.store.postgres.session import Session, rows_of

_AFTER = "SELECT number, told FROM log_event WHERE number > $1 ORDER BY number LIMIT $2"
_COUNT = "SELECT count(*) FROM log_event WHERE number > $1 AND number <= $2"
_CURSORS = "SELECT destination, upto, ahead, dropped FROM telling_cursor ORDER BY destination"
_PUT = (
    "INSERT INTO telling_cursor (destination, upto, ahead, dropped) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (destination) DO UPDATE SET upto = excluded.upto, ahead = excluded.ahead,"
    " dropped = excluded.dropped"
)
_ADD_LETTERS = (
    "INSERT INTO dead_letter (destination, event, attempts, error, at)"
    " SELECT destination, event, attempts, error, at FROM unnest($1::text[], $2::bytea[],"
    " $3::int[], $4::text[], $5::bigint[]) WITH ORDINALITY"
    " AS new (destination, event, attempts, error, at, place) ORDER BY place"
)
_BOUND_LETTERS = (
    "DELETE FROM dead_letter WHERE destination = $1 AND id <="
    " (SELECT id FROM dead_letter WHERE destination = $1 ORDER BY id DESC OFFSET $2 LIMIT 1)"
)
_LETTERS = (
    "SELECT id, destination, event, attempts, error, at FROM dead_letter"
    " WHERE destination = $1 AND id > $2 ORDER BY id LIMIT $3"
)
_ALL_LETTERS = (
    "SELECT id, destination, event, attempts, error, at FROM dead_letter"
    " WHERE id > $1 ORDER BY id LIMIT $2"
)

_encode = msgspec.json.encode
_numbers = msgspec.json.Decoder(tuple[int, ...]).decode


async def events_after(db: Session, number: int, limit: int) -> list[LoggedEvent]:
    """In order of number."""
    return log_rows.events((number, told) for number, told in await db.fetch(_AFTER, number, limit))


async def newest_event(db: Session) -> int:
    """Also where it is gone already."""
    return int(await db.fetchval("SELECT newest_event FROM log_state"))


async def oldest_event(db: Session) -> int:
    """0 where there is none."""
    return int(await db.fetchval("SELECT min(number) FROM log_event") or 0)


async def count_events(db: Session, after: int, upto: int) -> int:
    """How many there are in between."""
    return int(await db.fetchval(_COUNT, after, upto))


async def cursors(db: Session) -> list[TellingCursor]:
    """In order of destination."""
    return [
        TellingCursor(destination, upto, _numbers(ahead), dropped)
        for destination, upto, ahead, dropped in await db.fetch(_CURSORS)
    ]


async def put_cursors(db: Session, requests: Sequence[Sequence[TellingCursor]]) -> list[None]:
    """Add or replace."""
    for some in requests:
        await db.executemany(
            _PUT, [(c.destination, c.upto, _encode(c.ahead), c.dropped) for c in some]
        )
    return [None] * len(requests)


async def forget_cursors(db: Session, requests: Sequence[str]) -> list[None]:
    """Of destinations that are no more."""
    await db.execute("DELETE FROM telling_cursor WHERE destination = ANY($1::text[])", requests)
    return [None] * len(requests)


async def add_dead_letters(
    db: Session, requests: Sequence[tuple[Sequence[DeadLetter], int]]
) -> list[None]:
    """Of each destination the newest are kept: requests are (letters, most)."""
    for letters, most in requests:
        rows = [
            (x.destination, log_rows.encode(x.event), x.attempts, text(x.error), x.at)
            for x in letters
        ]
        if rows:
            await db.execute(_ADD_LETTERS, *map(list, zip(*rows, strict=True)))
        for destination in {letter.destination for letter in letters}:
            await db.execute(_BOUND_LETTERS, destination, most)
    return [None] * len(requests)


async def dead_letters(db: Session, destination: str, after: int, limit: int) -> list[DeadLetter]:
    """In order of id."""
    if destination:
        found = await db.fetch(_LETTERS, destination, after, limit)
    else:
        found = await db.fetch(_ALL_LETTERS, after, limit)
    return [
        DeadLetter(name, event, attempts, error, at, identifier)
        for identifier, name, told, attempts, error, at in found
        if (event := log_rows.event(told)) is not None
    ]


async def count_dead_letters(db: Session) -> dict[str, int]:
    """By destination."""
    found = await db.fetch("SELECT destination, count(*) FROM dead_letter GROUP BY destination")
    return {destination: count for destination, count in found}  # noqa: C416 - rows are no pairs


async def forget_dead_letters(db: Session, requests: Sequence[Sequence[int]]) -> list[int]:
    """How many there were."""
    return [
        rows_of(await db.execute("DELETE FROM dead_letter WHERE id = ANY($1::bigint[])", list(ids)))
        for ids in requests
    ]
