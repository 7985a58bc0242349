"""What tests of every room may ask for."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.postgres import PostgresServer, find_programs


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for this test process."""
    programs = find_programs()
    if programs is None:
        missing = "the server programs of PostgreSQL (initdb, postgres) are not installed"
        if os.environ.get("RELAY_CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    server = PostgresServer(programs)
    try:
        server.make()
        server.start()
        server.make_template()
        yield server
    finally:
        server.remove()


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A new database with the relay's tables."""
    url = await postgres_server.database()
    yield url
    await postgres_server.drop(url)
