"""A data directory with SQLite stores in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.store.interface import Store
from relay.store.values import Owner
from tests.contract.making import LEASE, SqliteKind


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[SqliteKind]:
    made = SqliteKind(tmp_path / "data")
    yield made
    await made.close()


@pytest.fixture
async def store(kind: SqliteKind) -> Store:
    return await kind.open()


@pytest.fixture
async def owner(store: Store) -> Owner:
    return await store.register("worker", LEASE)
