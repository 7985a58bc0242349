"""The group commit of the PostgreSQL store."""

import asyncio
import signal
from collections.abc import Sequence

import asyncpg
import pytest

from relay.observe.logging import make_logger
from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres import patience, transaction
from relay.store.postgres.place import CONNECT_TIMEOUT, Place
from relay.store.postgres.reader import Reader
from relay.store.postgres.session import Session
from relay.store.postgres.transaction import Doubtful, Transactions
from relay.store.postgres.writer import Writer
from tests.postgres import PostgresServer, find_programs


async def _add(db: Session, requests: Sequence[str]) -> list[int]:
    await db.executemany(
        "INSERT INTO secret (credential, salt, digest, created_at) VALUES ($1, '', '', 0)",
        [(name,) for name in requests],
    )
    return [len(requests)] * len(requests)


async def _fail(db: Session, requests: Sequence[str]) -> list[None]:
    await db.execute("SELECT 1 / 0")
    return [None] * len(requests)


async def _names(db: Session) -> list[str]:
    return [row[0] for row in await db.fetch("SELECT credential FROM secret ORDER BY id")]


class _Desk:
    def __init__(self, url: str) -> None:
        self.commits: list[int] = []
        self.errors: list[StoreError] = []
        self.writer = Writer(
            Place(url),
            on_commit=lambda seconds, operations: self.commits.append(operations),
            on_error=self.errors.append,
            log=make_logger("console", "error"),
        )
        self.reader = Reader(Place(url), self.errors.append)
        self.writer.start()

    async def close(self) -> None:
        await self.writer.close()
        await self.reader.close()


@pytest.fixture
async def desk(postgres_url: str):
    desk = _Desk(postgres_url)
    yield desk
    await desk.close()


async def test_what_waits_together_is_one_commit(desk: _Desk) -> None:
    await desk.writer.submit(_add, "first")
    answers = await asyncio.gather(*(desk.writer.submit(_add, str(n)) for n in range(20)))
    assert answers == [20] * 20
    assert desk.commits == [1, 20]
    assert await desk.reader.ask(_names) == ["first", *map(str, range(20))]


async def test_only_the_culprit_fails(desk: _Desk) -> None:
    good, bad = desk.writer.submit(_add, "good"), desk.writer.submit(_fail, "bad")
    assert await good == 1
    with pytest.raises(StoreUnavailable, match="division by zero"):
        await bad
    assert await desk.reader.ask(_names) == ["good"]


async def test_a_session_that_was_lost_between_batches_is_replaced_unnoticed(
    desk: _Desk, postgres_url: str
) -> None:
    await desk.writer.submit(_add, "one")
    await desk.reader.ask(_names)
    await _end_sessions(postgres_url)
    assert await desk.writer.submit(_add, "two") == 1
    assert await desk.reader.ask(_names) == ["one", "two"]
    assert not desk.errors


async def _end_sessions(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


async def test_a_question_cannot_write(desk: _Desk) -> None:
    with pytest.raises(StoreUnavailable, match="read-only"):
        await desk.reader.ask(_add, ["nothing"])


@pytest.mark.parametrize("committed", [True, False])
async def test_what_became_of_a_commit_is_asked_when_its_session_is_lost(
    desk: _Desk, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = 0
    execute = asyncpg.Connection.execute

    async def cutting(self: asyncpg.Connection, query: str, *args: object) -> str:
        nonlocal cut
        if query == "COMMIT" and not cut:
            cut += 1
            if committed:
                await execute(self, query, *args)
            self.terminate()
            raise asyncpg.ConnectionDoesNotExistError("cut")
        return await execute(self, query, *args)

    monkeypatch.setattr(asyncpg.Connection, "execute", cutting)
    assert await desk.writer.submit(_add, "once") == 1
    assert cut == 1
    assert await desk.reader.ask(_names) == ["once"]


async def test_without_a_database_everybody_is_told_at_once_and_served_when_it_is_back(
    postgres_server: PostgresServer,
) -> None:
    url = await postgres_server.database()
    desk = _Desk(url)
    try:
        await desk.writer.submit(_add, "before")
        postgres_server.stop(signal.SIGKILL)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"cannot be reached|was lost"):
                async with asyncio.timeout(15):
                    await desk.writer.submit(_add, "meanwhile")
        postgres_server.start()
        while True:
            try:
                await desk.writer.submit(_add, "after")
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        assert await desk.reader.ask(_names) == ["before", "after"]
    finally:
        await desk.close()


async def test_a_transaction_that_a_crash_has_undone_is_not_taken_for_another(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server gives its number again after the crash, and that one is committed."""
    url = await postgres_server.database()
    desk = _Desk(url)
    execute = asyncpg.Connection.execute
    is_cut = False

    async def crash(self: asyncpg.Connection, query: str, *args: object) -> str:
        nonlocal is_cut
        if query == "COMMIT" and not is_cut:
            is_cut = True
            postgres_server.stop(signal.SIGKILL)
            postgres_server.start()
            for number in range(20):
                other = await asyncpg.connect(url)
                await execute(other, f"CREATE TABLE other_{number} ()")
                await other.close()
        return await execute(self, query, *args)

    try:
        await desk.writer.submit(_add, "before")
        monkeypatch.setattr(asyncpg.Connection, "execute", crash)
        assert await desk.writer.submit(_add, "in the crash") == 1
        assert await desk.reader.ask(_names) == ["before", "in the crash"]
    finally:
        await desk.close()


async def test_a_commit_that_is_still_under_way_is_waited_for(postgres_url: str) -> None:
    slow, doubtful = Transactions(Place(postgres_url)), Transactions(Place(postgres_url))
    session = await Place(postgres_url).connect()
    await session.execute("BEGIN")
    await session.execute("INSERT INTO batch (token) VALUES (7)")
    asked = asyncio.ensure_future(doubtful.has_committed(7, []))
    watch = await Place(postgres_url).connect()
    while not await watch.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
        await asyncio.sleep(0)
    await session.execute("COMMIT")
    assert await asked
    assert not await slow.has_committed(8, [])
    assert not await slow.has_committed(8, [])
    for each in (slow, doubtful):
        each.close()
    for opened in (session, watch):
        opened.terminate()


async def test_what_the_standby_may_not_have_is_not_called_committed(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait for the standby that is cut short leaves a commit on the primary alone."""
    programs = find_programs()
    assert programs is not None
    settings = ["wal_level=replica", "max_wal_senders=2"]
    server = PostgresServer(programs, settings)
    try:
        server.make()
        server.start()
        server.make_template()
        url = await server.database()
        session = await Place(url).connect()
        await session.execute("INSERT INTO batch (token) VALUES (7)")
        await session.close()
        server.stop(signal.SIGINT)
        settings.append("synchronous_standby_names=away")
        server.start()
        monkeypatch.setattr(transaction, "PATIENCE", 0.3)
        with pytest.raises(Doubtful, match="does not answer"):
            await Transactions(Place(url), doubt=0.5).has_committed(7, [])
        server.stop(signal.SIGINT)
        settings.pop()
        server.start()
        transactions = Transactions(Place(url))
        assert await transactions.has_committed(7, [])
        await transactions.leave()
    finally:
        server.remove()


async def test_a_database_that_falls_silent_is_given_up_before_clients_lose_patience(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transaction.PATIENCE + CONNECT_TIMEOUT <= 15
    assert patience.CLIENTS_WAIT + patience.REMOVES_WITHIN <= 15
    monkeypatch.setattr(transaction, "PATIENCE", 0.3)
    url = await postgres_server.database()
    desk = _Desk(url)
    await desk.writer.submit(_add, "before")
    lock = await Place(url).connect()
    await lock.execute("BEGIN")
    await lock.execute("LOCK TABLE secret")
    try:
        with pytest.raises(StoreError):
            await asyncio.wait_for(desk.writer.submit(_add, "waits"), 5)
    finally:
        lock.terminate()
        await desk.close()
