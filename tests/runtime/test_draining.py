import asyncio
import io

import pytest

from relay.admin.control import Refused
from relay.observe.logging import make_logger
from relay.runtime.crew import CrewError
from relay.runtime.draining import LONGEST_S, Draining


class House:
    """A door and a crew that do as they are told, and note it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.finished = asyncio.Event()
        self.problem: Exception | None = None
        self.is_stopping = False
        self.states: list[str] = []
        self._stopped = asyncio.Event()
        self.draining = Draining(
            Door(self),
            self,
            grace=lambda: 30.0,
            is_stopping=lambda: self.is_stopping,
            changed=self.states.append,
            log=make_logger(stream=io.StringIO()),
        )

    async def start(self) -> None:
        if self.problem is not None:
            raise self.problem
        self._stopped.clear()
        self.done.append("workers start")

    async def keep(self) -> None:
        await self._stopped.wait()

    async def stop(self, grace: float) -> None:
        self.done.append(f"workers end within {grace:g} s")
        if grace == LONGEST_S:
            await self.finished.wait()
        self.finished.set()
        self._stopped.set()


class Door:
    def __init__(self, house: House) -> None:
        self._house = house

    async def start(self) -> None:
        self._house.done.append("opened")

    def stop(self) -> None:
        self._house.done.append("closed")


@pytest.fixture
async def house():
    house = House()
    yield house
    await house.draining.cancel()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_a_relay_that_drains_closes_its_door_before_workers_end(house: House):
    await house.draining.begin()
    await until(lambda: len(house.done) == 2)
    assert house.draining.state == "draining"
    house.finished.set()
    await until(lambda: house.draining.state == "drained")

    assert house.done == ["closed", "workers end within 3600 s"]
    assert house.states == ["draining", "drained"]


async def test_a_drained_relay_serves_again_and_misses_no_workers_meanwhile(house: House):
    keeping = asyncio.create_task(house.draining.keep_crew())
    house.finished.set()
    await house.draining.begin()
    await until(lambda: house.draining.state == "drained")
    assert not keeping.done()
    await house.draining.end()

    assert house.draining.state == "serving"
    assert house.done[2:] == ["opened", "workers start"]
    assert not keeping.done()
    keeping.cancel()


async def test_what_still_finishes_has_the_grace_period_when_the_relay_is_to_serve_again(
    house: House,
):
    await house.draining.begin()
    await until(lambda: len(house.done) == 2)
    await house.draining.end()

    assert house.done[2:] == ["workers end within 30 s", "opened", "workers start"]
    assert house.draining.state == "serving"


async def test_a_relay_whose_workers_do_not_start_stays_drained(house: House):
    house.finished.set()
    await house.draining.begin()
    await until(lambda: house.draining.state == "drained")
    house.problem = CrewError("no memory")

    with pytest.raises(Refused, match="stays drained: no memory"):
        await house.draining.end()
    assert house.draining.state == "drained"
    assert house.done[-2:] == ["opened", "closed"]

    house.problem = None
    await house.draining.end()
    assert house.draining.state == "serving"


async def test_a_relay_that_stops_neither_drains_nor_serves_again(house: House):
    house.finished.set()
    await house.draining.begin()
    await until(lambda: house.draining.state == "drained")
    house.is_stopping = True

    for turn in (house.draining.begin, house.draining.end):
        with pytest.raises(Refused, match="stopping"):
            await turn()
    assert house.done == ["closed", "workers end within 3600 s"]
