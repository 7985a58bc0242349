"""The keys of return-paths: those of one node are those of all."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.admin.control import Reloaded
from relay.admin.nodes import NodeOperations
from relay.config.model import Config
from relay.runtime.assembly import AssemblyError
from relay.runtime.reach import Reach
from relay.runtime.shared_return_paths import SharedReturnPaths
from relay.signing.return_path_keys import FILE_NAME, keys_in, load_or_make, read_keys
from relay.store.interface import StoreUnavailable


class _Fleet:
    """What a shared store says of keys."""

    def __init__(self) -> None:
        self.lines = ""
        self.is_away = False

    async def return_path_keys(self, offered: str, instead_of: str = "") -> str:
        if self.is_away:
            raise StoreUnavailable("away")
        if offered and self.lines == instead_of:
            self.lines = offered
        return self.lines


class _Node:
    """A supervisor, as far as its keys go."""

    def __init__(self, fleet: _Fleet, data_dir: Path) -> None:
        data_dir.mkdir()
        self.config: Any = SimpleNamespace(data_dir=data_dir, simulator_addresses=True)
        self.store = SimpleNamespace(fleet=fleet, is_shared=True)
        self.fleet = SimpleNamespace(reach=Reach(lambda: 0))
        self.return_paths = SimpleNamespace(keys=())
        self.shared = SharedReturnPaths(self)  # type: ignore[arg-type]
        self.reloads = 0
        self.accepts = True

    async def begin(self) -> None:
        config: Config = self.config
        await self.shared.take(config)
        self.return_paths.keys = read_keys(config.data_dir)

    async def reload(self) -> Reloaded:
        self.reloads += 1
        if self.accepts:
            await self.begin()
        return Reloaded(self.accepts, 1)


@pytest.fixture
def fleet() -> _Fleet:
    return _Fleet()


async def test_a_node_takes_the_keys_that_the_first_one_had(fleet: _Fleet, tmp_path: Path) -> None:
    one, two = _Node(fleet, tmp_path / "one"), _Node(fleet, tmp_path / "two")
    had = load_or_make(tmp_path / "one")
    assert load_or_make(tmp_path / "two") != had
    await one.begin()
    await two.begin()
    assert read_keys(tmp_path / "one") == read_keys(tmp_path / "two") == had


async def test_a_new_key_is_put_in_force_by_every_node_once(fleet: _Fleet, tmp_path: Path) -> None:
    nodes = [_Node(fleet, tmp_path / name) for name in ("one", "two")]
    for node in nodes:
        await node.begin()
    rotated = await NodeOperations(fleet).rotate_return_path_key()  # type: ignore[arg-type]
    assert (rotated.number, rotated.kept) == (1, (0,))
    for node in nodes:
        await node.shared.refresh()
        await node.shared.refresh()
        assert node.return_paths.keys == keys_in(fleet.lines)
        assert node.reloads == 1


async def test_a_reload_that_is_refused_is_not_repeated_at_once(
    fleet: _Fleet, tmp_path: Path
) -> None:
    node = _Node(fleet, tmp_path / "one")
    await node.begin()
    await NodeOperations(fleet).rotate_return_path_key()  # type: ignore[arg-type]
    node.accepts = False
    await node.shared.refresh()
    await node.shared.refresh()
    assert node.reloads == 1


async def test_without_the_store_those_that_were_told_last_are_good_but_never_own_ones(
    fleet: _Fleet, tmp_path: Path
) -> None:
    node = _Node(fleet, tmp_path / "one")
    fleet.is_away = True
    with pytest.raises(StoreUnavailable):
        await node.begin()
    fleet.is_away = False
    await node.begin()
    fleet.is_away = True
    await node.begin()


async def test_keys_that_cannot_be_read_keep_the_file_as_it_is(
    fleet: _Fleet, tmp_path: Path
) -> None:
    node = _Node(fleet, tmp_path / "one")
    own = load_or_make(tmp_path / "one")
    fleet.lines = "flurb\n"
    with pytest.raises(AssemblyError, match="in the store"):
        await node.begin()
    assert read_keys(tmp_path / "one") == own


async def test_an_embedded_store_is_not_asked(fleet: _Fleet, tmp_path: Path) -> None:
    node = _Node(fleet, tmp_path / "one")
    node.store.is_shared = False
    fleet.is_away = True
    await node.shared.take(node.config)
    assert not (tmp_path / "one" / FILE_NAME).exists()
