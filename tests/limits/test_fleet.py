"""Several nodes with one limit: what they send together never exceeds it, and each has its part."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.limits.limits import Limit
from tests.limits.fleet import LEASE, MemoryShares, Node
from tests.limits.simulation import busiest_window, now, simulate

KEYS = ("pool:main",)
HARD = 0.0005  # seconds between the messages of one lane


class Fleet:
    """Some nodes; each sends all it can."""

    def __init__(self, limit: Limit, *, nodes: int, delay: float = 0.002, seed: int = 1) -> None:
        self.store = MemoryShares()
        self._rng = Random(seed)
        self._specs = {KEYS[0]: limit}
        self._delay = delay
        self.nodes = [self.add() for _ in range(nodes)]
        self.began = now()

    def add(self) -> Node:
        return Node(self.store, self._specs, self._rng, self._delay)

    def send(self, node: Node, *, pause: float = HARD, lanes: int = 2) -> None:
        for _ in range(lanes):
            node.worker.send(KEYS, lambda: 1, pause)

    @property
    def gone(self) -> list[tuple[float, int]]:
        return [one for node in self.nodes for one in node.gone]

    async def stop(self) -> None:
        for node in self.nodes:
            if node.is_alive:
                await node.stop()


def run(
    limit: Limit, story: Callable[[Fleet], Awaitable[None]], *, nodes: int = 3, delay: float = 0.002
) -> Fleet:
    fleets: list[Fleet] = []

    async def main() -> None:
        fleet = Fleet(limit, nodes=nodes, delay=delay)
        fleets.append(fleet)
        await story(fleet)
        await fleet.stop()

    simulate(main)
    return fleets[0]


def never_above(fleet: Fleet, rate: Rate) -> bool:
    return busiest_window(fleet.gone, rate.seconds) < rate.count


def test_a_lone_sender_has_the_whole_limit_within_two_seconds():
    async def story(fleet: Fleet) -> None:
        fleet.send(fleet.nodes[0])
        await asyncio.sleep(6)
        assert fleet.nodes[0].spent(fleet.began + 2, fleet.began + 6) > 0.95 * 4 * 50

    fleet = run(Limit(Rate(50, 1)), story)
    assert never_above(fleet, Rate(50, 1))


def test_all_senders_have_equal_parts_after_a_few_seconds():
    async def story(fleet: Fleet) -> None:
        fleet.send(fleet.nodes[0])
        await asyncio.sleep(4)
        fleet.send(fleet.nodes[1])
        fleet.send(fleet.nodes[2])
        await asyncio.sleep(6)
        since = now()
        await asyncio.sleep(5)
        parts = [node.spent(since, now()) for node in fleet.nodes]
        assert sum(parts) > 0.9 * 5 * 60
        assert max(parts) - min(parts) <= 0.1 * 5 * 60

    fleet = run(Limit(Rate(60, 1)), story)
    assert never_above(fleet, Rate(60, 1))


def test_who_sends_little_leaves_the_rest_to_others():
    async def story(fleet: Fleet) -> None:
        fleet.send(fleet.nodes[0], pause=0.25, lanes=1)
        fleet.send(fleet.nodes[1])
        await asyncio.sleep(8)
        since = now()
        await asyncio.sleep(10)
        assert fleet.nodes[0].spent(since, now()) > 30
        assert fleet.nodes[1].spent(since, now()) > 0.6 * 10 * 50

    fleet = run(Limit(Rate(50, 1)), story, nodes=2)
    assert never_above(fleet, Rate(50, 1))


def test_where_there_is_less_than_one_for_each_all_have_turns():
    async def story(fleet: Fleet) -> None:
        for node in fleet.nodes:
            fleet.send(node, lanes=1)
        await asyncio.sleep(60)

    fleet = run(Limit(Rate(1, 1)), story)
    assert all(node.worker.spent >= 10 for node in fleet.nodes)
    assert fleet.nodes[0].worker.spent + fleet.nodes[1].worker.spent < 60
    assert busiest_window(fleet.gone, 1) == 0


def test_what_a_dead_node_held_is_free_when_its_lease_and_its_window_are_over():
    async def story(fleet: Fleet) -> None:
        for node in fleet.nodes:
            fleet.send(node)
        await asyncio.sleep(5)
        await fleet.nodes[0].die()
        await asyncio.sleep(LEASE + 5)
        since = now()
        await asyncio.sleep(4)
        assert sum(node.spent(since, now()) for node in fleet.nodes) > 0.9 * 4 * 60

    fleet = run(Limit(Rate(60, 1)), story)
    assert never_above(fleet, Rate(60, 1))


def test_a_node_that_stood_still_sends_nothing_of_what_others_have_now():
    async def story(fleet: Fleet) -> None:
        for node in fleet.nodes:
            fleet.send(node)
        await asyncio.sleep(5)
        fleet.nodes[0].stall(LEASE + 6)
        await asyncio.sleep(LEASE + 20)
        assert fleet.nodes[0].spent(now() - 4, now()) > 40

    fleet = run(Limit(Rate(60, 1)), story)
    assert never_above(fleet, Rate(60, 1))


def test_without_the_store_a_node_goes_on_until_its_membership_ends_and_then_stops():
    async def story(fleet: Fleet) -> None:
        for node in fleet.nodes:
            fleet.send(node)
        await asyncio.sleep(5)
        fleet.store.is_broken = True
        broke = now()
        await asyncio.sleep(LEASE + 4)
        sent = [sum(n.spent(broke + t, broke + t + 1) for n in fleet.nodes) for t in range(7)]
        assert all(one > 50 for one in sent[:2])
        assert sent[-1] == 0
        fleet.store.is_broken = False
        await asyncio.sleep(10)
        assert sum(n.spent(now() - 2, now()) for n in fleet.nodes) > 80

    fleet = run(Limit(Rate(60, 1)), story)
    assert never_above(fleet, Rate(60, 1))


def test_what_was_sent_in_a_long_window_counts_for_all_until_it_is_over():
    async def story(fleet: Fleet) -> None:
        fleet.send(fleet.nodes[0])
        await asyncio.sleep(100)
        fleet.send(fleet.nodes[1])
        await asyncio.sleep(200)

    fleet = run(Limit(Rate(30, 60)), story, nodes=2)
    assert never_above(fleet, Rate(30, 60))
    assert fleet.nodes[1].worker.spent > 30


def test_a_question_a_second_is_enough_for_a_steady_stream():
    async def story(fleet: Fleet) -> None:
        for node in fleet.nodes:
            fleet.send(node, pause=0.05)
        await asyncio.sleep(20)

    fleet = run(Limit(Rate(1_000, 1)), story)
    assert fleet.store.asked < 3 * 20 * 1.5


MISHAPS = st.lists(
    st.tuples(
        st.floats(0, 4), st.integers(0, 3), st.sampled_from(["stall", "die", "add", "away", "rest"])
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 4),
    st.sampled_from([Rate(1, 1), Rate(7, 1), Rate(100, 1), Rate(40, 10)]),
    st.floats(0, 0.2),
    st.integers(0, 1_000),
    MISHAPS,
)
def test_no_window_holds_more_than_the_limit_whatever_happens(nodes, rate, delay, seed, mishaps):
    fleets: list[Fleet] = []

    async def main() -> None:
        rng = Random(seed)
        fleet = Fleet(Limit(rate), nodes=nodes, delay=delay, seed=seed)
        fleets.append(fleet)
        for node in fleet.nodes:
            fleet.send(node, pause=rng.choice([0.001, 0.05, 1.0]))
        for wait, which, mishap in mishaps:
            await asyncio.sleep(wait)
            node = fleet.nodes[which % len(fleet.nodes)]
            if mishap == "stall" and node.is_alive:
                node.stall(rng.choice([0.5, 3.0, LEASE + 3]))
            elif mishap == "die" and node.is_alive:
                await node.die()
            elif mishap == "add":
                fleet.nodes.append(fleet.add())
                fleet.send(fleet.nodes[-1])
            elif mishap == "away":
                fleet.store.is_broken = not fleet.store.is_broken
        await asyncio.sleep(6)
        fleet.store.is_broken = False
        await fleet.stop()

    simulate(main)
    assert never_above(fleets[0], rate)
