"""Notes of what is being sent: few writes for many who ask."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from relay.store.interface import StoreUnavailable
from relay.store.postgres.sending import Notes
from relay.store.postgres.session import Session
from relay.store.values import Owner

OWNER = Owner("worker", 1)


class _Server:
    """What is written, while the gate is open."""

    def __init__(self) -> None:
        self.written: list[tuple[set[int], set[int]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_away = False

    async def write(self, work: Callable[[Session], Awaitable[frozenset[int]]]) -> frozenset[int]:
        await self.gate.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        return await work(self)  # type: ignore[arg-type]

    async def fetchval(self, query: str, epoch: int, new: Sequence[int], over: list[int]) -> bool:
        self.written.append((set(new), set(over)))
        return True


async def test_who_asks_while_a_note_is_written_waits_for_the_next_with_all_others() -> None:
    server = _Server()
    notes = Notes(server.write)
    server.gate.clear()
    asked = []
    for number in range(1, 6):
        asked.append(asyncio.ensure_future(notes.note(OWNER, range(number))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    server.gate.set()
    await asyncio.gather(*asked)
    assert server.written == [({0}, set()), ({1, 2, 3, 4}, set())]


async def test_only_what_has_changed_is_written() -> None:
    server = _Server()
    notes = Notes(server.write)
    for deliveries in ([1, 2], [2, 3], []):
        await notes.note(OWNER, deliveries)
    assert server.written == [({1, 2}, set()), ({3}, {1}), (set(), {2, 3})]


async def test_after_a_failure_everything_is_written_again() -> None:
    server = _Server()
    notes = Notes(server.write)
    await notes.note(OWNER, [1])
    server.is_away = True
    with pytest.raises(StoreUnavailable):
        await notes.note(OWNER, [1, 2])
    server.is_away = False
    await notes.note(OWNER, [1, 2, 3])
    assert server.written[-1] == ({1, 2, 3}, set())


async def test_who_goes_away_takes_nobody_with_him() -> None:
    server = _Server()
    notes = Notes(server.write)
    server.gate.clear()
    gone = asyncio.ensure_future(notes.note(OWNER, [1]))
    stays = asyncio.ensure_future(notes.note(OWNER, [1, 2]))
    await asyncio.sleep(0)
    gone.cancel()
    server.gate.set()
    await stays
    assert server.written == [({1, 2}, set())]
