"""The order of the outbox, where several transactions write at once."""

import asyncio

from relay.store.happenings import Rejected
from relay.store.outbox_rows import row
from relay.store.postgres import Place, outbox
from relay.store.postgres.session import Session


async def _ids(db: Session, after: int = 0) -> list[str]:
    return [entry.message_id for entry in await outbox.read(db, after, 100)]


async def test_nothing_comes_before_what_was_read(postgres_url: str) -> None:
    older, younger, reader = [await Place(postgres_url).connect() for _ in range(3)]
    try:
        await older.execute("BEGIN")
        await outbox.add(older, [row("first", 1, Rejected(""))])
        async with younger.transaction():
            await outbox.add(younger, [row("third", 2, Rejected(""))])
        # The younger one is done. An entry of the older one would come before what it wrote.
        assert await _ids(reader) == []
        await outbox.add(older, [row("second", 3, Rejected(""))])
        await older.execute("COMMIT")
        assert await _ids(reader) == ["first", "second", "third"]
    finally:
        for session in (older, younger, reader):
            session.terminate()


async def test_entries_of_several_statements_keep_their_order(postgres_url: str) -> None:
    session = await Place(postgres_url).connect()
    try:
        async with session.transaction():
            for number in range(3):
                rows = [row(f"{number}-{n}", 1, Rejected("")) for n in range(2)]
                await outbox.add(session, rows)
        assert await _ids(session) == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    finally:
        session.terminate()


async def test_transactions_at_once_have_ids_of_their_own(postgres_url: str) -> None:
    sessions = [await Place(postgres_url).connect() for _ in range(4)]
    try:

        async def write(session: Session, name: str) -> None:
            for number in range(25):
                async with session.transaction():
                    await outbox.add(session, [row(f"{name}{number}", 1, Rejected(""))] * 2)

        await asyncio.gather(*(write(s, str(n)) for n, s in enumerate(sessions)))
        assert await sessions[0].fetchval("SELECT count(*) FROM outbox") == 200
    finally:
        for session in sessions:
            session.terminate()
