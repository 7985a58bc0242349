"""Every case of the contract runs over each back end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.store.interface import Store
from relay.store.values import Owner
from tests.contract.making import LEASE, JoinedKind, SqliteKind


@pytest.fixture(params=["sqlite", "joined"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteKind]:
    made = {"sqlite": SqliteKind, "joined": JoinedKind}[request.param](tmp_path / "data")
    yield made
    await made.close()


@pytest.fixture
async def store(kind: SqliteKind) -> Store:
    return await kind.open()


@pytest.fixture
async def owner(store: Store) -> Owner:
    return await store.register("worker", LEASE)
