"""Several processes deliver, and count their connections together."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from relay.limits.shapes import Shapes
from relay.limits.slots import ReturnSlot, SlotGranted, Slots, WantSlot
from relay.store.values import NewMessage
from tests.delivery.outgoing import Outgoing, make_config, make_message, now_ms
from tests.delivery.receiver import Do, Receiver


class Remote:
    """Slots as another process has them: what is said arrives later, in order."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def seat(self, holder: Any) -> "Remote":
        self._holder = holder
        self.theirs = self._slots.seat(self)
        return self

    def die(self) -> None:
        """The process has ended."""
        self.theirs.leave()

    def want(self, site: str) -> None:
        self._later(WantSlot(site))

    def give_back(self, site: str) -> None:
        self._later(ReturnSlot(site))

    def granted(self, site: str) -> None:
        self._later(SlotGranted(site))

    def wanted(self, notice: Any) -> None:
        self._later(notice)

    def _later(self, message: Any) -> None:
        asyncio.get_running_loop().call_later(0.001, self._say, message)

    def _say(self, message: Any) -> None:
        match message:
            case WantSlot(site):
                self.theirs.want(site)
            case ReturnSlot(site):
                self.theirs.give_back(site)
            case SlotGranted(site):
                self._holder.granted(site)
            case _:
                self._holder.wanted(message)


@pytest.fixture
def slots() -> Slots:
    return Slots()


async def _start(stack: AsyncExitStack, slots: Slots, *workers: Outgoing) -> None:
    """Begin to deliver what is stored, all at the same time."""
    slots.configure(0, lambda _: 0)
    for worker in workers:
        worker.slots = Remote(slots)
        await worker.start()
        stack.push_async_callback(worker.stop, 1.0)
    busy = [worker for worker in workers if await worker.queue()]
    await workers[0].until(lambda: f" {len(busy)} wanted" in repr(slots))
    config = workers[0].config
    slots.configure(config.delivery.connections, Shapes(config).connections)


async def _stored(worker: Outgoing, recipient: str, count: int) -> None:
    for _ in range(count):
        message = make_message(recipient)
        await worker.store.insert(NewMessage(message, now_ms()), None)


async def _workers(
    stack: AsyncExitStack, directory: Path, count: int, **changes: Any
) -> list[Outgoing]:
    """So many relays, each with its own queue."""
    workers = []
    for number in range(count):
        config = make_config(directory / str(number), **changes)
        worker = Outgoing(config)
        await worker.store.open()
        stack.push_async_callback(worker.store.close)
        workers.append(worker)
    return workers


async def test_two_workers_share_the_only_connection_of_a_destination(
    tmp_path: Path, slots: Slots
) -> None:
    bounds = {"connections_per_destination": 1, "messages_per_connection": 1000}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        route = receiver.address
        one, two = await _workers(stack, tmp_path, 2, route=route, delivery=bounds)
        await _stored(one, "one@example.test", 100)
        await _stored(two, "two@example.test", 60)
        await _start(stack, slots, one, two)
        await receiver.until_messages(160)
        await one.until_empty()
        await two.until_empty()
    assert receiver.most_open == 1
    order = [message.recipients[0] for message in receiver.messages]
    assert order[:100].count("one@example.test") >= 30
    assert order[:100].count("two@example.test") >= 30


async def test_a_worker_with_little_mail_does_not_wait_behind_one_with_much(
    tmp_path: Path, slots: Slots
) -> None:
    bounds = {"connections_per_destination": 4, "messages_per_connection": 1000}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        route = receiver.address
        one, two = await _workers(stack, tmp_path, 2, route=route, delivery=bounds)
        await _stored(one, "one@example.test", 400)
        await _stored(two, "two@example.test", 60)
        await _start(stack, slots, one, two)
        await receiver.until_messages(460)
    assert receiver.most_open == 4
    order = [message.recipients[0] for message in receiver.messages]
    assert max(n for n, recipient in enumerate(order) if recipient.startswith("two")) < 400


async def test_an_idle_connection_makes_room_for_another_worker(
    tmp_path: Path, slots: Slots
) -> None:
    bounds = {"connections": 1, "idle_timeout": "5min"}
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(Receiver())
        there = await stack.enter_async_context(Receiver())
        routes = {"here.test": {"to": here.address}, "*": {"to": there.address}}
        one, two = await _workers(stack, tmp_path, 2, routes=routes, delivery=bounds)
        await _start(stack, slots, one, two)
        await one.send("b@here.test")
        await one.until_empty()
        await two.send("b@there.test")
        await two.until_empty()
        await one.send("b@there.test")
        await one.until_empty()
    assert there.most_open == 1


async def test_the_slots_of_a_worker_that_died_are_free_at_once(
    tmp_path: Path, slots: Slots
) -> None:
    bounds = {"connections_per_destination": 1, "command_timeout": "30s"}
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver({"MAIL": Do.HANG}))
        route = receiver.address
        one, two = await _workers(stack, tmp_path, 2, route=route, delivery=bounds)
        await _start(stack, slots, one, two)
        await one.send("b@example.test")
        await receiver.until(lambda: receiver.open == 1)
        await two.send("b@example.test")
        await two.until(lambda: "1 wanted" in repr(slots))
        assert two.scheduler.outbound_connections == 0
        one.slots.die()
        await receiver.until(lambda: receiver.open == 2)
        await one.stop(0.0)
        await two.stop(0.0)
