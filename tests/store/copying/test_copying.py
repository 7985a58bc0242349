"""A whole embedded store in a PostgreSQL: nothing lost, nothing twice, never half of it in use."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.store.copying import NotEmpty, copy_store
from relay.store.copying.tables import LEFT_BEHIND, TABLES, UNFILED, converted
from relay.store.interface import StoreUnavailable
from relay.store.log_values import Filing, MessageQuery
from relay.store.postgres import schema
from relay.store.postgres.log import PostgresLog
from relay.store.postgres.place import Place
from relay.store.postgres.session import Session
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.log import SqliteLog
from relay.store.sqlite.log.schema import MIGRATIONS as LOG_MIGRATIONS
from relay.store.sqlite.schema import MIGRATIONS
from relay.store.values import NewMessage, SuppressionEntry
from tests.contract.making import AUTHOR, NOW, make_message, make_new
from tests.contract.test_message_log import delivered, message, sent

LARGE = bytes(range(256)) * 2_000 + b"\r\n"  # two blocks


async def fill(data_dir: Path) -> None:
    """Five messages, one of them large; two of them filed in the log; a list and a secret."""
    store = SqliteStore(data_dir)
    log = SqliteLog(data_dir)
    await store.open()
    await log.open()
    owner = await store.register("worker-1", 30_000)
    for number in range(4):
        await store.insert(make_new(f"a{number}@destination.test"), owner)
    writer = store.new_body()
    await writer.write(LARGE)
    body = await writer.finish(simple_digest=b"s" * 32, relaxed_digest=None, eight_bit=True)
    await store.insert(NewMessage(make_message(body=body), NOW, ()), None)
    await store.suppressions.put(
        [SuppressionEntry("Gone@Destination.test", "bounce", "bounce", NOW, "550 gone\0", None)],
        AUTHOR,
    )
    name, _ = await store.outbox.name()
    logged = [message(number, tags=(("campaign", "autumn"),)) for number in range(2)]
    events = tuple(
        event for one in logged for event in (sent(one), delivered(one, one.recipients[0]))
    )
    await log.file(Filing(name, 2, tuple(logged), events))
    await log.close()
    await store.close()


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    data_dir = tmp_path / "data"
    await fill(data_dir)
    return data_dir


@pytest.fixture
async def session(postgres_url: str) -> AsyncIterator[Session]:
    session = await Place(postgres_url).connect()
    yield session
    session.terminate()


async def test_all_of_it_is_there_and_every_claim_is_free(
    filled: Path, postgres_url: str, session: Session
) -> None:
    copied = await copy_store(filled, Place(postgres_url), again=False)
    assert copied.rows["message"] == 5
    assert copied.rows["delivery"] == 5
    assert copied.bodies == 1
    assert copied.damaged == ()
    assert await session.fetchval("SELECT count(*) FROM delivery WHERE epoch IS NULL") == 5
    assert await session.fetchval("SELECT sum(number) FROM suppression_count") == 1
    assert await session.fetchval("SELECT evidence FROM suppression") == "550 gone�"
    chunks = await session.fetch("SELECT data FROM chunk ORDER BY number")
    assert b"".join(data for (data,) in chunks) == LARGE
    await schema.check(session)  # a relay may start


async def test_what_the_log_has_filed_is_not_told_again_and_the_rest_in_order(
    filled: Path, postgres_url: str, session: Session
) -> None:
    with closing(sqlite3.connect(filled / "relay.db")) as db:
        unfiled = [row[0] for row in db.execute("SELECT message_id FROM outbox WHERE id > 2")]
    await copy_store(filled, Place(postgres_url), again=False)
    told = await session.fetch("SELECT id, message_id FROM outbox ORDER BY id")
    assert [message_id for _, message_id in told] == unfiled
    oldest = await session.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    assert all(identifier < oldest << 20 for identifier, _ in told)


async def test_the_message_log_is_searched_and_goes_on_as_before(
    filled: Path, postgres_url: str
) -> None:
    await copy_store(filled, Place(postgres_url), again=False)
    log = PostgresLog(Place(postgres_url))
    await log.open()
    try:
        found = await log.search(MessageQuery(tag=("campaign", "autumn")))
        assert [dict(one.statuses) for one in found.messages] == [
            {message(number).recipients[0]: "delivered"} for number in (1, 0)
        ]
        assert await log.newest_event() == 4
        later = message(2)
        await log.file(Filing("another", 1, (later,), (sent(later),)))
        assert [event.number for event in await log.events_after(3, 10)] == [4, 5]
    finally:
        await log.close()


async def test_ids_go_on_where_they_stood(
    filled: Path, postgres_url: str, session: Session
) -> None:
    with closing(sqlite3.connect(filled / "relay.db")) as db:
        (last,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchone()
    await copy_store(filled, Place(postgres_url), again=False)
    given = await session.fetchval("SELECT nextval(pg_get_serial_sequence('relay.message', 'id'))")
    assert given > last


async def test_the_files_are_put_where_no_relay_sends_their_mail_again(
    filled: Path, postgres_url: str
) -> None:
    copied = await copy_store(filled, Place(postgres_url), again=False)
    assert not (filled / "relay.db").exists()
    assert (Path(copied.aside) / "relay.db").is_file()
    with pytest.raises(StoreUnavailable, match=r"There is one in .*copied"):
        await copy_store(filled, Place(postgres_url), again=False)


async def test_a_database_with_something_in_it_is_refused_and_stays_as_it_is(
    filled: Path, postgres_url: str, session: Session
) -> None:
    await session.execute("INSERT INTO heard (word, at) VALUES ('a', 1)")
    with pytest.raises(NotEmpty, match=r"relay\.heard"):
        await copy_store(filled, Place(postgres_url), again=False)
    await schema.check(session)
    assert (filled / "relay.db").is_file()


async def test_a_copy_that_broke_off_is_refused_by_every_relay_until_it_is_made_again(
    filled: Path, postgres_url: str, session: Session
) -> None:
    def break_off(what: str, rows: int) -> None:
        if what == "delivery":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy_store(filled, Place(postgres_url), again=False, advance=break_off)
    with pytest.raises(StoreUnavailable, match="--again"):
        await schema.check(session)
    with pytest.raises(NotEmpty, match="--again"):
        await copy_store(filled, Place(postgres_url), again=False)
    copied = await copy_store(filled, Place(postgres_url), again=True)
    assert copied.rows["message"] == 5
    await schema.check(session)


async def test_a_body_that_was_damaged_is_told_of_and_comes_as_it_is(
    filled: Path, postgres_url: str
) -> None:
    [body] = [path for path in (filled / "spool").rglob("*") if path.is_file()]
    body.write_bytes(LARGE[:-1] + b"x")
    copied = await copy_store(filled, Place(postgres_url), again=False)
    assert [name.partition("-")[0] for name in copied.damaged] == [body.name]


async def test_a_living_node_keeps_a_copy_from_beginning(
    filled: Path, postgres_url: str, session: Session
) -> None:
    await session.execute(
        "INSERT INTO node (name, epoch, identity, lease, report) VALUES ('a', 1, 'x', 60000, '{}')"
    )
    with pytest.raises(NotEmpty, match="Relays use the database: a"):
        await copy_store(filled, Place(postgres_url), again=False)


async def test_a_database_without_tables_gets_them(filled: Path, postgres_server: Any) -> None:
    url = await postgres_server.database(empty=True)
    try:
        copied = await copy_store(filled, Place(url), again=False)
    finally:
        await postgres_server.drop(url)
    assert copied.rows["message"] == 5


@pytest.mark.parametrize(
    ("file", "migrations"), [("relay.db", MIGRATIONS), ("log.db", LOG_MIGRATIONS)]
)
def test_every_table_and_column_of_the_files_is_copied_or_left_behind_on_purpose(
    file: str, migrations: Sequence[str]
) -> None:
    apart = {("relay.db", "delivery"): {"epoch"}}
    known = {(table.file, table.name): set(table.columns) for table in (*TABLES, UNFILED)}
    with closing(sqlite3.connect(":memory:")) as db:
        for migration in migrations:
            db.executescript(migration)
        names = [
            name
            for (name,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        for name in names:
            if (file, name) in LEFT_BEHIND:
                continue
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({name})")}
            assert known[file, name] == columns - apart.get((file, name), set()), name


def test_octets_stay_octets_and_text_loses_what_the_database_refuses() -> None:
    [secret] = [table for table in TABLES if table.to == "secret"]
    row = (1, "app\0", "salt", b"digest", 5, None)
    assert converted(secret, row) == (1, "app�", b"salt", b"digest", 5, None)
