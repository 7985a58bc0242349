import pytest_asyncio

from tests.admin.stored import operations_over


@pytest_asyncio.fixture
async def operations(tmp_path):
    async with operations_over(tmp_path / "data") as found:
        yield found
