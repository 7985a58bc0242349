"""Statements beside the group commit."""

import asyncio
from typing import cast

import pytest

from relay.store.interface import StoreError, StoreUnavailable
from relay.store.postgres.place import Place
from relay.store.postgres.session import Session
from relay.store.postgres.side import Side


class _Session:
    """One that is lost where it is told to be."""

    def __init__(self, fault: Exception | None) -> None:
        self._fault = fault
        self.is_over = False

    async def execute(self, query: str) -> str:
        if self._fault is not None:
            raise self._fault
        return "DONE"

    def is_closed(self) -> bool:
        return self.is_over

    def terminate(self) -> None:
        self.is_over = True


class _Place:
    """Gives sessions with these faults, one after the other, and then none."""

    def __init__(self, *faults: Exception | None) -> None:
        self._faults = list(faults)
        self.asked = 0

    async def connect(self, *, durable: bool = True, patience: float = 0.0) -> _Session:
        self.asked += 1
        if not self._faults:
            raise StoreUnavailable("away")
        return _Session(self._faults.pop(0))


def make_side(place: _Place) -> tuple[Side, list[StoreError]]:
    errors: list[StoreError] = []
    return Side(cast("Place", place), errors.append), errors


async def do(session: Session) -> str:
    return await session.execute("SELECT 1")


async def test_what_was_lost_with_its_session_is_done_again() -> None:
    place = _Place(ConnectionResetError("lost"), None)
    side, errors = make_side(place)
    assert await side.work(do) == "DONE"
    assert (place.asked, errors) == (2, [])


async def test_what_was_answered_with_silence_is_not_done_again() -> None:
    place = _Place(TimeoutError(), None)
    side, errors = make_side(place)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await side.work(do)
    assert (place.asked, len(errors)) == (1, 1)


async def test_while_the_database_is_away_all_who_wait_are_told_at_once() -> None:
    place = _Place()
    side, errors = make_side(place)
    told = await asyncio.gather(*(side.work(do) for _ in range(50)), return_exceptions=True)
    assert {str(error) for error in told} == {"away"}
    assert (place.asked, len(errors)) == (1, 1)


async def test_a_refusal_of_the_work_itself_is_no_fault_of_the_database() -> None:
    place = _Place(None)
    side, errors = make_side(place)

    async def refuse(session: Session) -> None:
        raise StoreUnavailable("swept up")

    with pytest.raises(StoreUnavailable, match="swept up"):
        await side.work(refuse)
    assert await side.work(do) == "DONE"
    assert (place.asked, errors) == (1, [])
