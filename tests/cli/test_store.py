import asyncio
import shutil
import subprocess
import sys

import pytest

from relay.store.postgres.place import Place
from relay.store.sqlite import SqliteStore
from tests.contract.making import make_new


@pytest.fixture
def filled(config_path):
    """The embedded store of that configuration, with two messages."""
    data_dir = config_path.parent / "data"

    async def fill():
        store = SqliteStore(data_dir)
        await store.open()
        await store.insert(make_new(), None)
        await store.insert(make_new(), None)
        await store.close()

    asyncio.run(fill())
    return config_path


@pytest.fixture
def database(postgres_server):
    url = asyncio.run(postgres_server.database(empty=True))
    yield url
    asyncio.run(postgres_server.drop(url))


def share(config_path, url):
    config_path.write_text(config_path.read_text() + f'store: "{url}"\n')


def test_an_embedded_store_is_checked_and_needs_no_migration(run, filled):
    ran = run("store", "check")
    assert ran.code == 0
    assert "relay.db" in ran.out
    assert "by itself" in run("store", "migrate").out


def test_what_is_bad_exits_1_and_is_there_for_programs(run, filled):
    shutil.rmtree(filled.parent / "data" / "spool")
    with (filled.parent / "data" / "relay.db").open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096)
    ran = run("store", "check", "--json")
    assert ran.code == 1
    assert ran.json["ok"] is False
    assert any(finding["weight"] == "bad" for finding in ran.json["findings"])


def test_a_database_is_set_up_and_then_left_alone(run, config_path, database):
    share(config_path, database)
    assert "are made" in run("store", "migrate").out
    assert "already" in run("store", "migrate").out


def test_a_store_is_copied_once(run, filled, database):
    assert run("bounces", "rotate-key").code == 0
    share(filled, database)
    ran = run("store", "copy")
    assert ran.code == 0, ran.err
    assert "2 messages queued" in ran.out
    ran = run("bounces", "rotate-key", "--json")
    assert ran.json == {"number": 2, "kept": [1, 0]}, "the fleet has the keys of the files"
    again = run("store", "copy")
    assert again.code == 1
    assert "no file relay.db" in again.err


def test_a_copy_needs_a_database_to_copy_into(run, filled):
    ran = run("store", "copy")
    assert ran.code == 1
    assert "no store.url" in ran.err


def test_a_password_in_the_url_is_never_shown(run, config_path):
    share(config_path, "postgresql://relay:hush@127.0.0.1:1/relay")
    for words in (("store", "check"), ("store", "migrate"), ("store", "copy"), ("check-config",)):
        ran = run(*words)
        assert "hush" not in ran.out + ran.err


@pytest.mark.parametrize(
    "url", ["postgresql://relay:hush@h:x/relay", "mysql://relay:hush@h/relay", "hush"]
)
def test_nor_is_it_in_what_is_said_of_a_url_that_is_wrong(run, config_path, url):
    for written in (f'store: "{url}"\n', f'store: {{url: "{url}"}}\n'):
        text = config_path.read_text()
        config_path.write_text(text + written)
        ran = run("check-config")
        config_path.write_text(text)
        assert ran.code == 1
        assert "store" in ran.err
        assert "hush" not in ran.err


def test_commands_work_upon_the_database_beside_relays_and_need_no_data_directory(
    run, config_path, database
):
    share(config_path, database)
    (config_path.parent / "data").rmdir()
    assert run("store", "migrate").code == 0
    heard = []

    async def listening():
        place = Place(database)
        session = await place.connect()
        await session.add_listener("relay_news", lambda *said: heard.append(said[-1]))
        return session

    with asyncio.Runner() as runner:
        session = runner.run(listening())
        ran = run("suppression", "add", "gone@destination.test")
        assert ran.code == 0, ran.err
        runner.run(session.fetchval("SELECT 1"))
        session.terminate()
    assert "suppressions" in " ".join(heard)
    assert run("suppression", "count").code == 0
    assert not (config_path.parent / "data").exists()


@pytest.mark.parametrize("words", [("store", "check"), ("store", "migrate"), ("store", "copy")])
def test_without_the_driver_a_command_says_what_to_install(filled, words):
    share(filled, "postgresql://relay@127.0.0.1:1/relay")
    # A process of its own, where the driver cannot be imported.
    program = (
        "import sys; sys.modules['asyncpg'] = None; from relay.cli.main import main;"
        f" sys.argv = ['relay', *{words!r}, '--config', {str(filled)!r}]; sys.exit(main())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "pip install 'relay[postgres]'" in ran.stderr
    assert "Traceback" not in ran.stderr
