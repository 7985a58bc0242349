"""The course of a copy: begin, rows, bodies, proof, and only then the end.

Should it die before the end, the source is as it was, and every relay refuses the database until
the copy is made again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from relay.store.codec import Damaged
from relay.store.copying import target
from relay.store.copying.source import Batch, Source
from relay.store.copying.tables import MESSAGES, TABLES, UNFILED
from relay.store.interface import StoreUnavailable
from relay.store.postgres.bodies import name_of
from relay.store.postgres.errors import is_of_the_store, translate
from relay.store.postgres.place import Place
from relay.store.postgres.session import Session

Advance = Callable[[str, int], None]
"""Told of what is being done and by how many rows it has come further."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy has brought over: rows by table, bodies that were files, those of them that were
    not whole in the source either, and where its files are now."""

    rows: dict[str, int]
    bodies: int
    damaged: tuple[str, ...]
    aside: str


@dataclass(slots=True)
class _Seen:
    """What went by: rows, and a checksum over headers and bodies in order of id."""

    rows: dict[str, int] = field(default_factory=dict)
    checksum: int = 0
    bodies: dict[str, int] = field(default_factory=dict)  # by reference


async def copy_store(
    data_dir: Path,
    place: Place,
    *,
    again: bool,
    return_path_keys: str = "",
    total: Callable[[int], None] = lambda rows: None,
    advance: Advance = lambda what, rows: None,
) -> Copied:
    """Copy the store in `data_dir`, whose lock the caller holds, into the database at `place`.

    `return_path_keys` are those of its file, `""` where it has none. `total` is told of the number
    of rows before the first. Raises StoreError; NotEmpty where there
    is something in the database already.
    """
    source = Source(data_dir)
    try:
        session = await place.connect()
        try:
            with _translated(place):
                await target.begin(session, str(data_dir), again=again)
                total(sum(source.count(table) for table in (*TABLES, UNFILED)))
                seen = await _take_over(source, session, advance)
                if return_path_keys:
                    await target.put_return_path_keys(session, return_path_keys)
                await _prove(session, seen, advance)
                await target.prepare_for_use(session)
        except BaseException:
            session.terminate()
            raise
    finally:
        source.close()
    try:
        aside = source.put_aside()
        with _translated(place):
            await target.finish(session)
    finally:
        session.terminate()
    return Copied(
        seen.rows,
        len(seen.bodies),
        tuple(sorted(ref for ref, sum_ in seen.bodies.items() if sum_ != _expected(ref))),
        str(aside),
    )


async def _take_over(source: Source, session: Session, advance: Advance) -> _Seen:
    seen = _Seen()
    for table in (*TABLES, UNFILED):
        seen.rows[table.to] = 0
        for batch in source.batches(table):
            await target.put(session, table, batch)
            if table is MESSAGES:
                seen.checksum = _checksum(batch, seen.checksum)
            seen.rows[table.to] += len(batch)
            advance(table.to, len(batch))
        if table.identity:
            await target.go_on_from(session, table, source.last_given(table))
    await target.count_suppressions(session)
    for reference in source.bodies():
        advance("bodies", 0)
        seen.bodies[reference] = await _take_body(source, session, reference)
    return seen


async def _take_body(source: Source, session: Session, reference: str) -> int:
    """Its checksum. One that is damaged comes as it is: its message is set aside when it is read,
    as it would have been."""
    checksum = 0
    try:
        name = name_of(reference)
    except Damaged:
        return -1
    for number, block in enumerate(source.body(name)):
        await target.put_chunk(session, reference, number, block)
        checksum = crc32(block, checksum)
    return checksum


async def _prove(session: Session, seen: _Seen, advance: Advance) -> None:
    """Raises StoreUnavailable where the database does not hold what was read."""
    for table in (*TABLES, UNFILED):
        if (found := await target.count(session, table)) != seen.rows[table.to]:
            raise StoreUnavailable(
                f"The copy is not whole: relay.{table.to} has {found} rows of"
                f" {seen.rows[table.to]}. Somebody else has written there; make it again."
            )
    checksum = 0
    async for identifier, header, body in target.messages(session):
        checksum = _add(checksum, identifier, header, body)
    if checksum != seen.checksum:
        raise StoreUnavailable("The copy is not whole: messages differ from those that were read.")
    for reference, expected in seen.bodies.items():
        advance("proving bodies", 0)
        if expected == -1:
            continue
        checksum = 0
        async for block in target.chunks(session, reference):
            checksum = crc32(block, checksum)
        if checksum != expected:
            raise StoreUnavailable(f"The copy is not whole: body {reference} differs.")


def _checksum(batch: Batch, checksum: int) -> int:
    identifier = MESSAGES.columns.index("id")
    header, body = MESSAGES.columns.index("header"), MESSAGES.columns.index("body")
    for row in batch:
        checksum = _add(checksum, row[identifier], row[header], row[body])
    return checksum


def _add(checksum: int, identifier: int, header: bytes, body: bytes | None) -> int:
    checksum = crc32(identifier.to_bytes(8, "big"), checksum)
    return crc32(b"" if body is None else b"\1" + body, crc32(header, checksum))


def _expected(reference: str) -> int:
    try:
        return int(reference.partition("-")[2], 16)
    except ValueError:
        return -2  # no reference of ours: damaged, whatever its file holds


@contextmanager
def _translated(place: Place) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not (is_of_the_store(error) or isinstance(error, TimeoutError)):
            raise
        raise translate(error, place) from error
