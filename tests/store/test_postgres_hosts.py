"""Several servers in one URL: the one that vanished is not in the way of the one that took over."""

import asyncio
import socket

import pytest

from relay.store.interface import StoreUnavailable
from relay.store.postgres import place as places
from relay.store.postgres.hosts import Hosts, urls_of
from relay.store.postgres.place import Place
from relay.store.postgres.reader import Reader
from tests.postgres import PostgresServer


@pytest.mark.parametrize(
    ("url", "each"),
    [
        ("postgresql://relay@a/relay", ["postgresql://relay@a/relay"]),
        (
            "postgresql://relay@a:1,[::1]:2/relay?sslmode=require",
            [
                "postgresql://relay@a:1/relay?sslmode=require",
                "postgresql://relay@[::1]:2/relay?sslmode=require",
            ],
        ),
        (
            "postgresql:///relay?host=a,b&port=1,2",
            ["postgresql:///relay?host=a&port=1", "postgresql:///relay?host=b&port=2"],
        ),
        (
            "postgresql:///relay?host=a,b&port=7",
            ["postgresql:///relay?host=a&port=7", "postgresql:///relay?host=b&port=7"],
        ),
        ("postgresql:///relay?host=/run/postgresql", ["postgresql:///relay?host=/run/postgresql"]),
    ],
)
def test_a_url_names_one_server_or_several(url: str, each: list[str]) -> None:
    assert list(urls_of(url)) == each


async def test_the_one_that_answered_last_is_asked_first() -> None:
    asked: list[str] = []

    async def connect(url: str, within: float) -> str:
        asked.append(url)
        if url != "b":
            raise TimeoutError
        return url

    hosts = Hosts(["a", "b", "c"])
    assert await hosts.connect(connect, 3.0) == "b"
    assert await hosts.connect(connect, 3.0) == "b"
    assert asked == ["a", "b", "b"]


async def test_what_a_server_says_is_told_rather_than_a_silence() -> None:
    async def connect(url: str, within: float) -> str:
        raise ValueError("a standby") if url == "b" else TimeoutError

    with pytest.raises(ValueError, match="a standby"):
        await Hosts(["a", "b", "c"]).connect(connect, 3.0)


async def test_a_machine_that_has_vanished_is_not_waited_for_until_the_time_is_over(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "CONNECT_TIMEOUT", 2.0)
    url = await postgres_server.database()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        port = silent.getsockname()[1]
        place = Place(url.replace("@", f"@127.0.0.1:{port},"))
        session = await asyncio.wait_for(place.connect(), 5)
        session.terminate()
        reader = Reader(place, lambda error: None)
        assert await reader.ask(lambda db: db.fetchval("SELECT 7")) == 7
        await reader.close()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await Place(f"postgresql://relay@127.0.0.1:{port}/relay?sslmode=disable").connect()


async def test_a_primary_that_is_asked_for_by_the_url_will_do_for_questions_too(
    postgres_url: str,
) -> None:
    place = Place(f"{postgres_url}&target_session_attrs=read-write")
    session = await place.connect()
    session.terminate()
    reader = Reader(place, lambda error: None)
    assert await reader.ask(lambda db: db.fetchval("SHOW transaction_read_only")) == "on"
    await reader.close()
