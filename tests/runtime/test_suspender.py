"""Orders to wait, put in force in the workers and ended at their time."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.messages import Suspend
from relay.runtime.suspender import Suspender
from relay.store.sqlite import SqliteStore
from relay.store.values import Suspension
from tests.contract.making import LEASE, make_new

NOW = 1_800_000_000_000
DOMAIN = Suspension("domain", "x.test", "test", "ann", NOW)


class Crew:
    """Workers that remember what they were told."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, ...]] = []
        self.told = 0

    async def ask(self, question: Suspend, within: float) -> list[bool]:
        self.orders.append(tuple(entry.key for entry in question.suspensions))
        return [True]

    def tell(self, message: object) -> None:
        self.told += 1


class Desk:
    """A store, the suspender over it, and a clock."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.now = NOW
        self.crew = Crew()
        self.metrics = Metrics()
        self.ended = 0
        self.suspender = self.another()

    def another(self) -> Suspender:
        crew: Any = self.crew
        return Suspender(
            self.store.suspensions,
            lambda: crew,
            lambda: self.now,
            self.metrics,
            make_logger(stream=io.StringIO()),
            lambda suspensions: None,
            self._has_ended,
        )

    def _has_ended(self) -> None:
        self.ended += 1

    async def set_aside(self, suspension: Suspension, count: int) -> None:
        owner = await self.store.register("worker", LEASE)
        for _ in range(count):
            accepted = await self.store.insert(make_new("a@x.test"), owner)
            pairs = [(delivery.id, suspension.key) for delivery in accepted.deliveries]
            await self.store.suspensions.set_aside(owner, pairs)

    async def suspended(self) -> int:
        return sum(depth.suspended for depth in await self.store.depths())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = SqliteStore(tmp_path)
    await store.open()
    yield Desk(store)
    await store.close()


@contextlib.asynccontextmanager
async def working(suspender: Suspender) -> AsyncIterator[None]:
    task = asyncio.create_task(suspender.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_workers_hear_of_each_change_once(desk: Desk) -> None:
    await desk.store.suspensions.put(DOMAIN)
    await desk.suspender.refresh()
    await desk.suspender.refresh()
    await desk.store.suspensions.lift("domain", "x.test")
    await desk.suspender.refresh()
    assert desk.crew.orders == [("domain:x.test",), ()]


async def test_a_suspension_ends_by_itself_at_its_time_and_its_mail_is_queued_again(
    desk: Desk,
) -> None:
    ends = Suspension("domain", "x.test", "test", "ann", NOW, NOW + 60_000)
    await desk.store.suspensions.put(ends)
    await desk.set_aside(ends, 3)
    async with working(desk.suspender):
        await until(lambda: _true(desk.crew.orders == [("domain:x.test",)]))
        assert await desk.suspended() == 3
        desk.now = NOW + 60_000
        await desk.suspender.refresh()
        await until(lambda: _is_zero(desk.suspended()))
    assert desk.crew.orders[-1] == ()
    assert await desk.store.suspensions.all() == []
    assert desk.crew.told


async def test_other_nodes_are_to_be_told_once_of_what_ended_at_its_time(desk: Desk) -> None:
    await desk.store.suspensions.put(Suspension("domain", "x.test", "test", "ann", NOW, NOW + 1))
    await desk.suspender.refresh()
    assert desk.ended == 0
    desk.now += 1
    await desk.suspender.refresh()
    await desk.suspender.refresh()
    assert desk.ended == 1


async def test_what_ended_while_no_relay_ran_is_freed_by_the_next_one(desk: Desk) -> None:
    """Also where the one before died between lifting an order and freeing its mail."""
    await desk.store.suspensions.put(DOMAIN)
    await desk.set_aside(DOMAIN, 2)
    await desk.store.suspensions.lift("domain", "x.test")
    await desk.suspender.begin()
    assert not desk.suspender.in_force
    async with working(desk.suspender):
        await until(lambda: _is_zero(desk.suspended()))


async def test_the_next_relay_begins_with_what_is_in_force(desk: Desk) -> None:
    await desk.store.suspensions.put(DOMAIN)
    later = desk.another()
    await later.begin()
    assert later.in_force.entries == (DOMAIN,)
    assert desk.metrics.suspensions.labels("domain")._value.get() == 1


async def _true(value: bool) -> bool:
    return value


async def _is_zero(count: Any) -> bool:
    return await count == 0
