"""A duty of the fleet is done by one node at a time."""

import asyncio
from collections.abc import Callable

import pytest

from relay.observe.logging import make_logger
from relay.runtime.tenure import Tenure
from relay.store.alone import Alone
from relay.store.fleet_values import Membership
from relay.store.interface import StoreUnavailable

LEASE = 10_000


class Register(Alone):
    """Who has the duty, as the store of a fleet says it to any member."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = 0
        self.is_away = False

    async def hold_duty(self, duty: str, member: Membership) -> bool:
        if self.is_away:
            raise StoreUnavailable("The database does not answer.")
        self.holder = self.holder or member.epoch
        return self.holder == member.epoch

    async def give_up_duty(self, duty: str, member: Membership) -> None:
        if self.holder == member.epoch:
            self.holder = 0


class Candidate:
    """A node that wants the duty."""

    def __init__(self, register: Register, epoch: int) -> None:
        self.member: Membership | None = Membership(f"node-{epoch}", epoch, LEASE)
        self.now = 100.0
        self.told: list[str] = []
        self.work: Callable[[], None] = lambda: None
        self.tenure = Tenure(
            "scribe",
            fleet=register,
            member=lambda: self.member,
            work=self._work,
            end=self._end,
            grace=7.0,
            log=make_logger(level="error"),
            clock=lambda: self.now,
        )

    async def _work(self) -> None:
        self.told.append("begins")
        self.work()
        await asyncio.Event().wait()

    async def _end(self, grace: float) -> None:
        self.told.append(f"ends within {grace:g}")

    async def look(self) -> list[str]:
        """What came of looking once."""
        self.told.clear()
        await self.tenure.look()
        await asyncio.sleep(0)
        return list(self.told)


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def one(register: Register) -> Candidate:
    return Candidate(register, 1)


@pytest.fixture
def two(register: Register) -> Candidate:
    return Candidate(register, 2)


async def test_one_node_has_the_duty_and_keeps_it(one: Candidate, two: Candidate) -> None:
    assert await one.look() == ["begins"]
    assert await two.look() == []
    assert await one.look() == []
    assert (one.tenure.is_held, two.tenure.is_held) == (True, False)


async def test_who_is_no_member_has_no_duty(one: Candidate) -> None:
    one.member = None
    assert await one.look() == []


async def test_a_node_that_drains_finishes_and_leaves_the_duty_to_another(
    one: Candidate, two: Candidate
) -> None:
    await one.look()
    one.member = None
    assert await one.look() == ["ends within 7"]
    assert await two.look() == ["begins"]


async def test_a_node_that_ends_takes_no_duty_any_more(one: Candidate, two: Candidate) -> None:
    await one.look()
    await one.tenure.finish(3.0)
    assert one.told[-1] == "ends within 3"
    assert await one.look() == []
    assert await two.look() == ["begins"]


async def test_a_duty_that_another_has_taken_over_ends_at_once(
    one: Candidate, register: Register
) -> None:
    await one.look()
    register.holder = 2
    assert await one.look() == ["ends within 0"]
    assert not one.tenure.is_held


async def test_a_node_that_was_declared_dead_begins_anew(
    one: Candidate, register: Register
) -> None:
    await one.look()
    register.holder, one.member = 0, Membership("node-1", 3, LEASE)
    assert await one.look() == ["ends within 0", "begins"]


async def test_while_the_store_is_away_a_duty_lasts_as_long_as_the_lease(
    one: Candidate, register: Register
) -> None:
    await one.look()
    one.now += 8.0
    await one.look()
    register.is_away = True
    one.now += 9.9
    assert await one.look() == []
    one.now += 0.1
    assert await one.look() == ["ends within 0"]
    register.is_away = False
    assert await one.look() == ["begins"]


async def test_work_that_fails_is_no_secret(one: Candidate) -> None:
    def fail() -> None:
        raise ValueError("no room")

    one.work = fail
    with pytest.raises(ValueError, match="no room"):
        await one.tenure.run()
