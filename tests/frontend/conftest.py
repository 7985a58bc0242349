import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from relay.config.model import Config
from tests.frontend.house import Authority, House, make_config, open_house

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def configure(authority: Authority, tmp_path: Path) -> Callable[..., Config]:
    """A configuration with sections replaced."""
    return lambda **changes: make_config(authority, tmp_path, **changes)


@pytest.fixture
async def house(authority: Authority, tmp_path: Path) -> Any:
    async with open_house(make_config(authority, tmp_path), authority) as house:
        yield house


@pytest.fixture
def opened(authority: Authority, configure: Callable[..., Config]) -> Callable[..., Any]:
    """A house with sections of its configuration replaced: `async with opened(bounds=...)`."""
    return lambda clock=None, **changes: open_house(configure(**changes), authority, clock=clock)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on each of the loops that relay supports."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner.run


__all__ = ["House"]
