"""Connections of one line over several nodes: never more than the bound, and some for everyone."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from relay.limits.slots import Slots, SlotWanted
from tests.limits.fleet import LEASE, MemoryShares, Node
from tests.limits.simulation import simulate

LINE = "192.0.2.1/example.com"


class Lanes:
    """One process of one node; it closes a connection when it is told that another one waits."""

    def __init__(self, node: Node, bound: int) -> None:
        self.open = self.most = 0
        self.told: list[SlotWanted] = []
        self.node = node
        self.slots = Slots()
        node.sharing.divide(self.slots)
        self.slots.configure(100, lambda _: bound)
        self.seat = self.slots.seat(self)

    def granted(self, line: str) -> None:
        self.open += 1

    def wanted(self, notice: SlotWanted) -> None:
        self.told.append(notice)
        if not notice.is_over and not notice.own:
            asyncio.get_running_loop().call_later(0.1, self.close)

    def want(self, count: int) -> None:
        for _ in range(count):
            self.seat.want(LINE)

    def close(self) -> None:
        if self.open:
            self.open -= 1
            self.seat.give_back(LINE)


def run(bound: int, nodes: int, story: Callable[[list[Lanes]], Awaitable[None]]) -> None:
    async def main() -> None:
        store, rng = MemoryShares(), Random(1)
        lanes = [Lanes(Node(store, {}, rng, 0.002), bound) for _ in range(nodes)]
        watching = asyncio.create_task(watch(bound, lanes))
        await story(lanes)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert watching.cancelled(), "more were open than the bound"
        for one in lanes:
            if one.node.is_alive:
                await one.node.stop()

    simulate(main)


async def watch(bound: int, lanes: list[Lanes]) -> None:
    while True:
        assert sum(one.open for one in lanes) <= bound
        await asyncio.sleep(0.01)


def test_a_lone_node_may_open_all_connections_within_two_seconds():
    async def story(lanes: list[Lanes]) -> None:
        lanes[0].want(30)
        await asyncio.sleep(2)
        assert lanes[0].open == 20

    run(20, 2, story)


def test_who_has_more_than_a_fair_part_closes_some_when_another_node_wants_them():
    async def story(lanes: list[Lanes]) -> None:
        lanes[0].want(30)
        await asyncio.sleep(3)
        lanes[1].want(30)
        await asyncio.sleep(8)
        assert [one.open for one in lanes] == [10, 10]

    run(20, 2, story)


def test_one_connection_goes_from_node_to_node():
    async def story(lanes: list[Lanes]) -> None:
        seen = [0, 0, 0]
        for one in lanes:
            one.want(100)
        for _ in range(60):
            await asyncio.sleep(1)
            for place, one in enumerate(lanes):
                seen[place] += one.open
        assert all(one > 8 for one in seen)

    run(1, 3, story)


def test_a_node_that_is_no_member_any_more_opens_nothing():
    async def story(lanes: list[Lanes]) -> None:
        lanes[0].want(2)
        await asyncio.sleep(2)
        lanes[0].node.store.is_broken = True
        await asyncio.sleep(LEASE + 3)
        before = lanes[0].open
        lanes[0].want(5)
        await asyncio.sleep(1)
        assert lanes[0].open <= before
        lanes[0].node.store.is_broken = False
        await asyncio.sleep(6)
        assert lanes[0].open >= 5

    run(20, 1, story)


def test_what_a_dead_node_had_open_is_free_when_its_lease_is_over():
    async def story(lanes: list[Lanes]) -> None:
        lanes[0].want(20)
        await asyncio.sleep(3)
        await lanes[0].node.die()
        lanes[0].open = 0
        lanes[1].want(20)
        await asyncio.sleep(LEASE + 4)
        assert lanes[1].open == 20

    run(20, 2, story)
