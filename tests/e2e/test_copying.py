"""A relay that kept its mail in files goes on upon PostgreSQL: `relay store copy`, for real."""

import asyncio
from collections.abc import Iterator

import pytest

from relay.store.postgres.place import Place
from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver
from tests.postgres import PostgresServer


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    url = asyncio.run(postgres_server.database(empty=True))
    yield url
    asyncio.run(postgres_server.drop(url))


def test_mail_that_was_queued_in_files_is_delivered_once_from_the_database(
    program: Program, receiver: Receiver, database: str
) -> None:
    program.start()
    program.send(message_id="<before@client.test>")
    wait_until(lambda: receiver.ids() == ["<before@client.test>"], what="delivery")
    program.run("suspend", "domain", "dest.test", "--reason", "moving")
    program.send(message_id="<small@client.test>")
    program.send(message_id="<large@client.test>", body="A line of text.\r\n" * 20_000)
    program.run("suppression", "add", "gone@dest.test")
    assert program.terminate() == 0

    program.configure(lambda document: document.update(store=database))
    copied = program.json("store", "copy")
    assert copied["rows"]["message"] == 2
    assert copied["bodies"] == 1
    program.start()
    program.run("resume", "domain", "dest.test")
    wait_until(lambda: len(receiver.ids()) == 3, what="delivery from the database")
    assert sorted(receiver.ids()) == [
        "<before@client.test>",
        "<large@client.test>",
        "<small@client.test>",
    ]
    assert "gone@dest.test" in program.run("suppression", "list").stdout
    # What was told before the copy is not told again, and what comes after it is.
    once = {"Send": 3, "Delivery": 3}
    wait_until(lambda: asyncio.run(events(database)) == once, what="the log")


async def events(url: str) -> dict[str, int]:
    """How many events of each type the log has."""
    session = await Place(url).connect()
    try:
        rows = await session.fetch(
            "SELECT convert_from(told, 'UTF8')::json ->> 'type', count(*) FROM log_event GROUP BY 1"
        )
    finally:
        session.terminate()
    return {str(kind): int(count) for kind, count in rows}
