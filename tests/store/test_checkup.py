"""What `relay store check` makes of what it finds."""

import dataclasses
from pathlib import Path

import pytest

from relay.store.interface import StoreUnavailable
from relay.store.postgres import checkup
from relay.store.postgres.checkup import Facts, Standby, judged
from relay.store.postgres.migrating import migrate
from relay.store.postgres.place import Place
from relay.store.postgres.schema import MIGRATIONS
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.checkup import check as check_embedded
from tests.contract.making import make_new

GOOD = Facts(
    version=150_004,
    version_text="15.4",
    is_standby=False,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    standby_names="ANY 1 (*)",
    most_sessions=100,
    sessions=20,
    oldest_transaction=0,
    oldest_prepared=0,
    age=1_000,
    is_encrypted=True,
    is_local=False,
    clock_off=3,
    standbys=(Standby("second", "quorum", "streaming"),),
    schema=1,
    newest=1,
)


def test_a_good_server_gives_no_cause_for_concern() -> None:
    assert {finding.weight for finding in judged(GOOD)} == {"good"}


@pytest.mark.parametrize(
    ("change", "about", "weight"),
    [
        ({"is_standby": True}, "server", "bad"),
        ({"version": 130_010}, "server", "bad"),
        ({"age": 1_900_000_000}, "server", "bad"),
        ({"schema": None}, "tables", "warning"),
        ({"schema": 2}, "tables", "bad"),
        ({"copying": "/var/lib/relay"}, "tables", "bad"),
        ({"fsync": False}, "disk", "bad"),
        ({"full_page_writes": False}, "disk", "bad"),
        ({"standbys": ()}, "standby", "bad"),
        ({"standby_names": ""}, "standby", "warning"),
        ({"standby_names": "", "standbys": ()}, "standby", "warning"),
        ({"is_encrypted": False}, "way", "warning"),
        ({"is_encrypted": False, "is_local": True}, "way", "good"),
        ({"sessions": 81}, "sessions", "warning"),
        ({"clock_off": -2_000}, "clock", "warning"),
        ({"oldest_transaction": 61}, "transactions", "bad"),
        ({"oldest_prepared": 61}, "transactions", "bad"),
        ({"outbox": 5, "outbox_age": 301_000}, "outbox", "warning"),
        ({"quarantined": 1}, "damage", "warning"),
    ],
)
def test_each_fault_is_weighed_and_comes_with_advice(
    change: dict[str, object], about: str, weight: str
) -> None:
    findings = list(judged(dataclasses.replace(GOOD, **change)))  # type: ignore[arg-type]
    [finding] = [finding for finding in findings if finding.about == about]
    assert finding.weight == weight
    assert weight == "good" or finding.advice
    assert all(other.weight == "good" for other in findings if other is not finding)


async def test_a_real_server_is_asked_everything_that_is_judged(postgres_url: str) -> None:
    found = await checkup.check(Place(postgres_url), is_local=True)
    about = {finding.about: finding for finding in found.findings}
    assert about["disk"].weight == "bad"  # the tests' server does not sync
    assert about["tables"].found == f"version {len(MIGRATIONS)}"
    assert about["clock"].weight == "good"
    sizes = [size.octets for size in found.sizes]
    assert len(sizes) == 8
    assert sizes == sorted(sizes, reverse=True)


async def test_nothing_is_asked_of_tables_that_are_not_there(postgres_server) -> None:  # type: ignore[no-untyped-def]
    url = await postgres_server.database(empty=True)
    try:
        found = await checkup.check(Place(url), is_local=True)
        assert {f.about: f.found for f in found.findings}["tables"] == "none yet"
        assert await migrate(Place(url), force=False) == (0, len(MIGRATIONS))
        assert await migrate(Place(url), force=False) == (len(MIGRATIONS), len(MIGRATIONS))
    finally:
        await postgres_server.drop(url)


async def test_older_tables_are_left_alone_while_a_node_is_alive(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "relay.store.postgres.schema.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE new (id integer)")
    )
    session = await Place(postgres_url).connect()
    await session.execute(
        "INSERT INTO node (name, epoch, identity, lease, report) VALUES ('a', 1, 'x', 60000, '{}')"
    )
    session.terminate()
    with pytest.raises(StoreUnavailable, match="an older version use the database: a"):
        await migrate(Place(postgres_url), force=False)
    assert await migrate(Place(postgres_url), force=True) == (
        len(MIGRATIONS),
        len(MIGRATIONS) + 1,
    )


async def test_an_embedded_store_is_read_through(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    await store.insert(make_new(), None)
    writer = store.new_body()
    await writer.write(b"x" * 100_000)
    await writer.finish(simple_digest=b"s" * 32, relaxed_digest=None, eight_bit=False)
    assert check_embedded(tmp_path).is_good  # while it is open
    await store.close()
    with (tmp_path / "relay.db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)
    found = check_embedded(tmp_path)
    assert not found.is_good


def test_no_store_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no store"):
        check_embedded(tmp_path)
