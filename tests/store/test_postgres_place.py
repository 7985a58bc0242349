"""A database that cannot be used is told as one sentence that says what to do."""

from pathlib import Path

import asyncpg
import pytest

from relay.store.interface import StoreFull, StoreUnavailable
from relay.store.postgres.errors import translate
from relay.store.postgres.place import Place, missing_file, unfit
from tests.postgres import PostgresServer

PLACE = Place("postgresql://relay:secret@db.test/relay")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (asyncpg.InvalidPasswordError("wrong"), r"refuses the login: wrong\. .*password_file"),
        (asyncpg.InvalidAuthorizationSpecificationError("no entry"), r"no entry.*pg_hba\.conf"),
        (asyncpg.InvalidCatalogNameError("none"), r"no database db\.test/relay: .*createdb"),
        (asyncpg.InsufficientPrivilegeError("no"), "GRANT CREATE ON DATABASE"),
        (ConnectionError('server at "db.test" rejected SSL upgrade'), r"offers no TLS.*sslmode"),
        (
            asyncpg.ProtocolViolationError("unsupported startup parameter: jit"),
            "behind a pooler.*Name the server itself",
        ),
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached: .*refused"),
        (TimeoutError(), "does not answer"),
        (asyncpg.UndefinedTableError("no table"), r"failed: no table \(42P01\)"),
    ],
)
def test_each_fault_is_told_with_what_to_do_about_it(error: Exception, said: str) -> None:
    told = translate(error, PLACE)
    assert isinstance(told, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match=said):
        raise told
    assert "secret" not in str(told)
    assert "\n" not in str(told)


def test_a_full_disk_is_told_as_that() -> None:
    assert isinstance(translate(asyncpg.DiskFullError("full"), PLACE), StoreFull)


def test_a_server_is_fit_that_is_new_enough_and_heeds_the_settings_of_a_session() -> None:
    assert unfit(140_000, "relay") == ""
    assert unfit(170_002, "relay") == ""
    assert "runs PostgreSQL 13: the relay needs 14 or newer" in unfit(130_014, "relay")
    assert "a pooler such as PgBouncer is in between" in unfit(160_000, '"$user", public')


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    there, gone = tmp_path / "there.pem", tmp_path / "gone.pem"
    there.touch()
    assert missing_file(f"postgresql://db/relay?sslmode=verify-full&sslrootcert={there}") == ""
    complaint = missing_file(f"postgresql://db/relay?sslmode=verify-full&sslrootcert={gone}")
    assert f"{gone}, which store.url names as sslrootcert" in complaint


async def test_real_servers_say_what_is_expected_here(postgres_server: PostgresServer) -> None:
    url = await postgres_server.database(empty=True)
    for wrong, said in (
        (url.replace("?sslmode=disable", "?sslmode=require"), "offers no TLS"),
        (url.replace("/relay_", "/nonesuch_"), "There is no database"),
        (url.replace("//relay@", "//nobody_here@"), "refuses the login"),
        (f"{url}&sslrootcert=/nonexistent.pem", r"no file /nonexistent\.pem"),
    ):
        with pytest.raises(StoreUnavailable, match=said):
            await Place(wrong).connect()
    session = await Place(url).connect()
    assert await session.fetchval("SHOW search_path") == "relay"
    await session.close()
