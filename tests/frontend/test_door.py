import asyncio
import io
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from relay.config.model import Config
from relay.frontend.door import Door
from relay.frontend.visit import Visit
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics


class Serving:
    """Takes connections over, or refuses to, as told."""

    def __init__(self) -> None:
        self.ready = True
        self.taken: list[tuple[Visit, socket.socket]] = []
        self.metrics = Metrics()
        self.changed = asyncio.Event()
        self.refusals = 0

    def hand_over(self, visit: Visit, connection: socket.socket) -> bool:
        self.changed.set()
        if not self.ready:
            self.refusals += 1
            return False
        self.taken.append((visit, connection))
        return True

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"relay_{name}", labels) or 0.0


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    yield serving
    for _, connection in serving.taken:
        connection.close()


@pytest.fixture
async def make_door(
    serving: Serving, configure: Callable[..., Config]
) -> AsyncIterator[Callable[..., Door]]:
    doors = []

    def make(**changes: object) -> Door:
        door = Door(
            config=configure(**changes),
            hand_over=serving.hand_over,
            metrics=serving.metrics,
            log=make_logger(stream=io.StringIO()),
        )
        doors.append(door)
        return door

    yield make
    for door in doors:
        door.stop()


def connect(door: Door, listener: str = "submission") -> socket.socket:
    return socket.create_connection(door.addresses[listener], 5)


async def test_a_connection_is_handed_over_with_what_is_known_of_it(
    serving: Serving, make_door: Callable[..., Door]
):
    door = make_door()
    await door.start()
    with connect(door, "implicit"):
        await serving.until(lambda: len(serving.taken) == 1)
    (visit, connection), *_ = serving.taken
    assert visit == Visit("implicit", "127.0.0.1", implicit_tls=True)
    assert not connection.getblocking()
    assert door.session_count("implicit") == 1
    assert serving.metric("connections", listener="implicit") == 1
    door.closed(visit)
    assert door.session_count("implicit") == 0
    assert serving.metric("connections", listener="implicit") == 0
    assert serving.metric("connections_opened_total", listener="implicit") == 1
    assert door.guard.connections == 0


async def test_while_nobody_is_ready_clients_wait_and_are_served_in_order_then(
    serving: Serving, make_door: Callable[..., Door]
):
    door = make_door()
    await door.start()
    serving.ready = False
    with connect(door) as first, connect(door) as second:
        await serving.until(lambda: serving.refusals == 1)
        assert not door.accepting
        await asyncio.sleep(0)
        assert serving.refusals == 1
        serving.ready = True
        door.resume()
        await serving.until(lambda: len(serving.taken) == 2)
        assert door.accepting
        served = [connection.getpeername() for _, connection in serving.taken]
        assert served == [first.getsockname(), second.getsockname()]


async def test_a_door_that_is_paused_before_it_starts_is_bound_and_lets_nobody_in(
    serving: Serving, make_door: Callable[..., Door]
):
    door = make_door()
    door.pause()
    await door.start()
    with connect(door):
        await asyncio.sleep(0.01)
        assert serving.taken == []
        door.resume()
        await serving.until(lambda: len(serving.taken) == 1)


async def test_who_waits_when_the_door_stops_is_closed_and_not_counted_any_more(
    serving: Serving, make_door: Callable[..., Door]
):
    door = make_door()
    await door.start()
    serving.ready = False
    with connect(door) as client:
        await serving.until(lambda: serving.refusals == 1)
        door.stop()
        assert await asyncio.to_thread(client.recv, 1) == b""
    assert door.guard.connections == 0


async def test_the_refused_are_handed_over_to_hear_why_up_to_a_bound(
    serving: Serving, make_door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("relay.frontend.door._REFUSED_AT_ONCE", 1)
    door = make_door(bounds={"connections_per_client": 1})
    await door.start()
    with connect(door), connect(door), connect(door) as third:
        assert await asyncio.to_thread(third.recv, 1) == b""
        assert [visit.verdict for visit, _ in serving.taken] == ["", "client connections"]
        refused = {"listener": "submission", "reason": "connections"}
        assert serving.metric("connections_refused_total", **refused) == 2
        door.closed(serving.taken[1][0])
        with connect(door):
            await serving.until(lambda: len(serving.taken) == 3)
    assert door.guard.connections == 1


async def test_a_configuration_that_is_discarded_frees_what_was_bound_for_it(
    make_door: Callable[..., Door], configure: Callable[..., Config]
):
    door = make_door()
    await door.start()
    before = door.addresses
    prepared = door.prepare(configure(listeners={"new": {"address": "127.0.0.3:0"}}))
    address = prepared.bound["new"].address
    prepared.discard()
    assert door.addresses == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


async def test_new_bounds_are_counted_by(
    serving: Serving, make_door: Callable[..., Door], configure: Callable[..., Config]
):
    door = make_door()
    await door.start()
    door.put_in_force(door.prepare(configure(bounds={"connections": 1})))
    with connect(door), connect(door):
        await serving.until(lambda: len(serving.taken) == 2)
    assert [visit.verdict for visit, _ in serving.taken] == ["", "connections"]


async def test_a_door_that_was_stopped_binds_nothing_until_it_is_started_again(
    serving: Serving, make_door: Callable[..., Door], configure: Callable[..., Config]
):
    door = make_door()
    await door.start()
    door.stop()
    door.put_in_force(door.prepare(configure()))
    assert not door.addresses

    await door.start()
    with connect(door):
        await serving.until(lambda: len(serving.taken) == 1)


async def test_a_connection_whose_worker_died_behind_a_stopped_door_is_closed(
    serving: Serving, make_door: Callable[..., Door]
):
    door = make_door()
    await door.start()
    with connect(door) as client:
        await serving.until(lambda: len(serving.taken) == 1)
        visit, connection = serving.taken.pop()
        door.stop()
        door.offer(visit, connection)

        assert await asyncio.to_thread(client.recv, 1) == b""
    assert door.session_count("submission") == 0
