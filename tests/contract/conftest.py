"""Every case of the contract runs over each back end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.store.interface import Store
from relay.store.values import Owner
from tests.contract.making import LEASE, JoinedKind, Kind, PostgresKind, SqliteKind
from tests.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "joined", "postgres"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    made: Kind
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = await server.database()
        made = PostgresKind(url)
        yield made
        await made.close()
        await server.drop(url)
    else:
        made = {"sqlite": SqliteKind, "joined": JoinedKind}[request.param](tmp_path / "data")
        yield made
        await made.close()


@pytest.fixture
async def store(kind: Kind) -> Store:
    return await kind.open()


@pytest.fixture
async def owner(store: Store) -> Owner:
    return await store.register("worker", LEASE)
