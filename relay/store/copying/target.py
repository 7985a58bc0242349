"""The database that a copy fills. A row of `copying` stands in it until all of it is there: no
relay starts upon half a store. Raises StoreError."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from relay.store.copying.source import Batch
from relay.store.copying.tables import (
    EVENTS,
    FILLED,
    LOGGED,
    MESSAGES,
    UNFILED,
    Table,
    columns_besides,
)
from relay.store.interface import StoreUnavailable
from relay.store.postgres import schema
from relay.store.postgres.bodies import name_of
from relay.store.postgres.log import weights
from relay.store.postgres.session import Session

_READ_BACK = 500  # rows
_PATIENCE = 3600.0  # seconds, for what reads whole tables


_WEIGH = (
    "UPDATE log_state SET newest_event = $1, octets = (SELECT coalesce(sum(octet_length(told) +"  # noqa: S608 - our own numbers
    f" octet_length(header) + {weights.MESSAGE}), 0) FROM log_message)"
    f" + (SELECT count(*) * {weights.RECIPIENT} FROM log_recipient)"
    f" + (SELECT coalesce(sum(octet_length(told) + {weights.EVENT}), 0) FROM log_event)"
)


class NotEmpty(StoreUnavailable):
    """There is something in the database that a copy would mix with."""


async def begin(session: Session, origin: str, *, again: bool) -> None:
    """Make the tables where there are none, and take the database for a copy from `origin`.
    `again` removes what an earlier copy has left. Raises NotEmpty."""
    await schema.migrate(session)
    await session.execute(f"SET statement_timeout = '{int(_PATIENCE)}s'")
    async with session.transaction():
        await session.execute("LOCK TABLE node, copying IN SHARE ROW EXCLUSIVE MODE")
        if alive := await schema.living_nodes(session):
            raise NotEmpty(f"Relays use the database: {', '.join(alive)}. Stop them first.")
        begun = await session.fetchval("SELECT origin FROM copying LIMIT 1")
        if begun is not None and not again:
            raise NotEmpty(
                f"A copy from {begun} into the database was begun and not finished: --again removes"
                " what there is of it, and begins anew."
            )
        if begun is not None:
            await session.execute(f"TRUNCATE {', '.join(FILLED)}, copying")
        for name in FILLED:
            if await session.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608
                raise NotEmpty(
                    f"The database is not empty: there are rows in relay.{name}. A copy is made"
                    " into an empty one, such as `createdb` makes."
                )
        await session.execute("INSERT INTO copying (origin) VALUES ($1)", origin)


async def put(session: Session, table: Table, batch: Batch) -> None:
    """Add rows, in a transaction of their own."""
    async with session.transaction():
        if table is UNFILED:
            # As the store numbers them: by transaction, and by place in it.
            base = await session.fetchval("SELECT pg_current_xact_id()::text::bigint << 20")
            batch = [(base + place, *row[1:]) for place, row in enumerate(batch)]
        columns = table.columns
        if table is LOGGED:
            columns = (*columns, "expires_at", "tags")
            batch = [(*row, *columns_besides(row)) for row in batch]
        await session.copy_records_to_table(table.to, records=batch, columns=columns)


async def put_chunk(session: Session, reference: str, number: int, block: bytes) -> None:
    """Add a chunk of a body."""
    await session.execute(
        "INSERT INTO chunk (ref, number, data) VALUES ($1, $2, $3)",
        name_of(reference),
        number,
        block,
    )


async def put_return_path_keys(session: Session, lines: str) -> None:
    """Have the fleet know the return-paths of mail that has left, whatever keys it has itself."""
    await session.execute(
        "INSERT INTO return_path_keys (lines) VALUES ($1)"
        " ON CONFLICT (is_all) DO UPDATE SET lines = excluded.lines",
        lines,
    )


async def go_on_from(session: Session, table: Table, last: int) -> None:
    """Have the identities of a table go on after `last`: no id is ever given twice."""
    if table is EVENTS:
        await session.execute(_WEIGH, last)
    elif last:
        await session.execute(
            f"SELECT setval(pg_get_serial_sequence('relay.{table.to}', '{table.identity}'), $1)",
            last,
        )


async def count(session: Session, table: Table) -> int:
    """How many rows there are."""
    found: int = await session.fetchval(f"SELECT count(*) FROM {table.to}", timeout=_PATIENCE)  # noqa: S608
    return found


async def messages(session: Session) -> AsyncIterator[Sequence[Any]]:
    """Message by message in order of id: id, header and body."""
    after = -1
    while rows := await session.fetch(
        f"SELECT id, header, body FROM {MESSAGES.to} WHERE id > $1 ORDER BY id LIMIT $2",  # noqa: S608
        after,
        _READ_BACK,
    ):
        for row in rows:
            yield row
        after = rows[-1][0]


async def chunks(session: Session, reference: str) -> AsyncIterator[bytes]:
    """The chunks of a body, in order."""
    number = 0
    while (
        block := await session.fetchval(
            "SELECT data FROM chunk WHERE ref = $1 AND number = $2", name_of(reference), number
        )
    ) is not None:
        yield block
        number += 1


async def count_suppressions(session: Session) -> None:
    """Note how many entries the list has."""
    await session.execute(
        "INSERT INTO suppression_count (part, number) SELECT 0, count(*) FROM suppression",
        timeout=_PATIENCE,
    )


async def prepare_for_use(session: Session) -> None:
    """Gather statistics, so that the first questions of relays go by indexes."""
    await session.execute(f"ANALYZE {', '.join(FILLED)}", timeout=_PATIENCE)


async def finish(session: Session) -> None:
    """From now on a relay may start upon it."""
    await session.execute("DELETE FROM copying")
