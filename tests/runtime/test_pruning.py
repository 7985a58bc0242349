"""What is old is forgotten, in small steps, and a store that fails does not end it."""

import asyncio

import pytest

from relay.config.model import Config
from relay.observe.logging import make_logger
from relay.runtime import pruning
from relay.store.interface import StoreUnavailable

NOW = 1_800_000_000_000
DAY = 86_400_000


class List:
    """A suppression list that has so many old entries and changes; it fails once at first."""

    def __init__(self, entries=0, changes=0, faults=0):
        self.entries, self.changes, self.faults = entries, changes, faults
        self.asked = []

    async def prune(self, before, limit):
        if self.faults:
            self.faults -= 1
            raise StoreUnavailable("not now")
        self.asked.append((before, limit))
        gone = min(limit, self.entries)
        self.entries -= gone
        return gone

    async def prune_changes(self, before, most, limit):
        self.asked.append((before, most))
        gone = min(limit, self.changes)
        self.changes -= gone
        return gone


@pytest.fixture
def config(tmp_path):
    return Config.model_validate(
        {
            "hostname": "relay.test",
            "data_dir": tmp_path,
            "tls": {"certificate": "c.pem", "key": "k.pem"},
            "listeners": {"main": {"address": "127.0.0.1:2587"}},
            "identities": {"sender.test": {}},
            "configuration_sets": {"news": {"pool": "main"}},
            "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
            "suppression": {"keep_changes": "10d", "most_changes": 7},
        }
    )


async def ours() -> bool:
    return True


async def rounds(monkeypatch, config, store, number, is_ours=ours):
    """Run the loop until it has slept so often; how long it slept each time."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == number:
            raise asyncio.CancelledError

    monkeypatch.setattr(pruning.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await pruning.prune_suppressions(
            store, lambda: config, lambda: NOW, is_ours, make_logger("json", "error")
        )
    return slept


async def test_what_is_left_is_taken_in_steps_with_a_breath_between(monkeypatch, config):
    store = List(entries=1_200, changes=600)
    slept = await rounds(monkeypatch, config, store, 3)
    assert (store.entries, store.changes) == (0, 0)
    assert slept[0] == slept[1] < slept[2]


async def test_entries_are_kept_for_their_count_and_changes_as_configured(monkeypatch, config):
    store = List()
    await rounds(monkeypatch, config, store, 1)
    assert store.asked == [(NOW - 90 * DAY, 500), (NOW - 10 * DAY, 7)]


async def test_a_store_that_fails_is_asked_again(monkeypatch, config):
    store = List(entries=3, faults=1)
    await rounds(monkeypatch, config, store, 2)
    assert store.entries == 0


async def test_what_another_node_tidies_is_left_to_it(monkeypatch, config):
    async def theirs():
        return False

    store = List(entries=600)
    await rounds(monkeypatch, config, store, 2, theirs)
    assert store.entries == 600
