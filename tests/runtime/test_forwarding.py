"""Mail that was put off comes forward when what it waits for is over before its time."""

import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from relay.observe.logging import make_logger
from relay.runtime import forwarding
from relay.runtime.forwarding import Forwarding
from relay.store.interface import StoreUnavailable
from relay.store.sqlite import SqliteStore
from relay.store.values import PutOff
from tests.contract.making import LEASE, NOW, make_new


class Desk:
    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.told = 0
        self.it = Forwarding(
            store.delays, lambda: NOW, self._tell, make_logger(stream=io.StringIO())
        )

    def _tell(self) -> None:
        self.told += 1

    async def put_off(self, word: str, count: int) -> None:
        owner = await self.store.register("worker", LEASE)
        for _ in range(count):
            (delivery,) = (await self.store.insert(make_new("a@x.test"), owner)).deliveries
            await self.store.delays.put_off(owner, [PutOff(delivery.id, NOW + 60_000, word)])

    async def due(self) -> int:
        owner = await self.store.register("reader", LEASE)
        return len(await self.store.claim(owner, NOW, 100))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = SqliteStore(tmp_path)
    await store.open()
    yield Desk(store)
    await store.close()


async def test_all_that_waits_for_a_line_comes_in_parts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_AT_ONCE", 2)
    await desk.put_off("rest:acme", 5)
    await desk.put_off("rest:other", 1)
    desk.it.bring("rest:acme")
    await desk.it.work()
    assert await desk.due() == 5
    assert desk.told == 3


async def test_a_kind_means_all_of_its_words_and_no_other_kind(desk: Desk) -> None:
    await desk.put_off("rest:acme", 1)
    await desk.put_off("rest:other", 1)
    await desk.put_off("warmup:192.0.2.1", 1)
    desk.it.bring("rest")
    await desk.it.work()
    assert await desk.due() == 2


async def test_what_must_still_wait_is_put_off_once_more_and_not_asked_again_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_AT_ONCE", 1)
    await desk.put_off("rest:acme", 3)
    bring = desk.store.delays.bring_forward

    async def and_put_off_again(word: str, after: int, now: int, limit: int) -> Sequence[int]:
        found = await bring(word, after, now, limit)
        owner = await desk.store.register("worker", LEASE)
        await desk.store.claim(owner, NOW, 10)
        await desk.store.delays.put_off(owner, [PutOff(i, NOW + 60_000, word) for i in found])
        return found

    monkeypatch.setattr(desk.store.delays, "bring_forward", and_put_off_again)
    desk.it.bring("rest:acme")
    await desk.it.work()
    assert desk.told == 3
    assert await desk.due() == 0


async def test_a_store_that_fails_is_asked_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_AGAIN", 0.0)
    await desk.put_off("rest:acme", 1)

    async def fail(*_: object) -> Sequence[int]:
        raise StoreUnavailable("no disk")

    with monkeypatch.context() as broken:
        broken.setattr(desk.store.delays, "bring_forward", fail)
        desk.it.bring("rest:acme")
        await desk.it.work()
    assert await desk.due() == 0
    await desk.it.work()
    assert await desk.due() == 1
