"""Nodes that share a store: who lives, what they tell each other, what only one of them does."""

import asyncio
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from relay.store.fleet_values import Membership, NewsKind, NodeReport
from relay.store.interface import StoreUnavailable
from relay.store.postgres import Place, PostgresStore

LEASE = 10_000
REPORT = NodeReport("1.0", sources=("192.0.2.1",), mail_at=("192.0.2.9:25",))


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(Place(postgres_url))
    await opened.open()
    yield opened
    await opened.close()


async def _pass_ms(url: str, milliseconds: int) -> None:
    """Nodes were last heard of that much earlier."""
    session = await Place(url).connect()
    await session.execute(
        "UPDATE node SET renewed_at = renewed_at - $1 * interval '1 millisecond',"
        " steady_since = steady_since - $1 * interval '1 millisecond'",
        milliseconds,
    )
    await session.close()


async def _live(store: PostgresStore, url: str, member: Membership, milliseconds: int) -> None:
    """Time passes, in which one node beats as it should."""
    for _ in range(0, milliseconds, LEASE // 4):
        await _pass_ms(url, LEASE // 4)
        assert await store.fleet.beat(member, REPORT)


async def test_nodes_see_each_other_and_what_they_say_of_themselves(store: PostgresStore) -> None:
    one = await store.fleet.join("one", "i1", LEASE, REPORT)
    two = await store.fleet.join("two", "i2", LEASE, NodeReport("1.1"))
    assert one.epoch != two.epoch
    draining = NodeReport("1.1", "draining", held=3)
    assert await store.fleet.beat(two, draining)
    first, second = await store.fleet.nodes()
    assert (first.name, first.epoch, first.is_alive, first.report) == (
        "one", one.epoch, True, REPORT
    )  # fmt: skip
    assert (second.name, second.report, second.lease) == ("two", draining, LEASE)
    now = await store.fleet.clock()
    assert now - 5_000 < first.joined_at <= first.seen_at <= now


async def test_a_name_belongs_to_one_living_installation(
    store: PostgresStore, postgres_url: str
) -> None:
    first = await store.fleet.join("one", "here", LEASE, REPORT)
    with pytest.raises(StoreUnavailable, match=r"fleet\.node"):
        await store.fleet.join("one", "elsewhere", LEASE, REPORT)
    again = await store.fleet.join("one", "here", LEASE, REPORT)
    assert not await store.fleet.beat(first, REPORT)
    assert await store.fleet.beat(again, REPORT)
    await _pass_ms(postgres_url, LEASE + 1)
    taken = await store.fleet.join("one", "elsewhere", LEASE, REPORT)
    assert not await store.fleet.beat(again, REPORT)
    assert [node.epoch for node in await store.fleet.nodes()] == [taken.epoch]


async def test_of_many_who_join_under_one_name_at_once_one_does(store: PostgresStore) -> None:
    answers = await asyncio.gather(
        *(store.fleet.join("one", f"i{number}", LEASE, REPORT) for number in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Membership) for answer in answers) == 1


async def test_a_silent_node_is_dead_after_its_lease_to_a_node_that_was_steady(
    store: PostgresStore, postgres_url: str
) -> None:
    silent = await store.fleet.join("silent", "i1", LEASE, REPORT)
    steady = await store.fleet.join("steady", "i2", LEASE, REPORT)
    await _live(store, postgres_url, steady, LEASE)
    dead, living = await store.fleet.nodes()
    assert (dead.is_alive, living.is_alive) == (False, True)
    await _live(store, postgres_url, steady, LEASE // 4)
    assert not await store.fleet.beat(silent, REPORT)
    assert await store.fleet.forget("silent")
    assert not await store.fleet.forget("steady")
    assert [node.name for node in await store.fleet.nodes()] == ["steady"]


async def test_after_the_store_was_away_nobody_is_buried_for_it(
    store: PostgresStore, postgres_url: str
) -> None:
    one = await store.fleet.join("one", "i1", LEASE, REPORT)
    two = await store.fleet.join("two", "i2", LEASE, REPORT)
    await _pass_ms(postgres_url, 10 * LEASE)
    assert await store.fleet.beat(one, REPORT)
    await _live(store, postgres_url, one, LEASE - LEASE // 4)
    assert await store.fleet.beat(two, REPORT)
    assert all(node.is_alive for node in await store.fleet.nodes())


async def test_who_is_silent_since_the_clock_went_back_is_dead_too(
    store: PostgresStore, postgres_url: str
) -> None:
    silent = await store.fleet.join("silent", "i1", LEASE, REPORT)
    steady = await store.fleet.join("steady", "i2", LEASE, REPORT)
    await _pass_ms(postgres_url, -10 * LEASE)
    assert await store.fleet.beat(steady, REPORT)
    await _live(store, postgres_url, steady, LEASE + LEASE // 4)
    assert not await store.fleet.beat(silent, REPORT)


async def test_a_node_that_leaves_is_none(store: PostgresStore) -> None:
    member = await store.fleet.join("one", "i1", LEASE, REPORT)
    await store.fleet.leave(member)
    assert await store.fleet.nodes() == []
    assert not await store.fleet.beat(member, REPORT)
    assert not await store.fleet.forget("one")


async def test_a_duty_is_one_nodes_until_it_is_dead(
    store: PostgresStore, postgres_url: str
) -> None:
    one = await store.fleet.join("one", "i1", LEASE, REPORT)
    two = await store.fleet.join("two", "i2", LEASE, REPORT)
    assert await store.fleet.holder_of("scribe") == ""
    assert await store.fleet.hold_duty("scribe", one)
    assert await store.fleet.hold_duty("scribe", one)
    assert not await store.fleet.hold_duty("scribe", two)
    assert await store.fleet.holder_of("scribe") == "one"
    await _live(store, postgres_url, two, LEASE + LEASE // 4)
    assert await store.fleet.hold_duty("scribe", two)
    assert not await store.fleet.hold_duty("scribe", one)
    await store.fleet.give_up_duty("scribe", one)
    assert await store.fleet.holder_of("scribe") == "two"
    await store.fleet.give_up_duty("scribe", two)
    assert await store.fleet.holder_of("scribe") == ""


async def test_who_leaves_has_no_duty_any_more(store: PostgresStore) -> None:
    member = await store.fleet.join("one", "i1", LEASE, REPORT)
    assert await store.fleet.hold_duty("scribe", member)
    await store.fleet.leave(member)
    assert await store.fleet.holder_of("scribe") == ""
    assert not await store.fleet.hold_duty("scribe", member)


async def test_of_many_who_want_a_duty_at_once_one_has_it(store: PostgresStore) -> None:
    members = [await store.fleet.join(f"n{i}", f"i{i}", LEASE, REPORT) for i in range(5)]
    held = await asyncio.gather(*(store.fleet.hold_duty("scribe", m) for m in members))
    assert sum(held) == 1


async def test_the_configuration_that_is_published_is_replaced_by_who_knows_it(
    store: PostgresStore,
) -> None:
    assert await store.fleet.published() is None
    assert not await store.fleet.unpublish()
    first = await store.fleet.publish("pools: {}", "d1", "ann", 0)
    assert first is not None
    assert await store.fleet.published() == first
    assert await store.fleet.publish("pools: {a: {}}", "d2", "bob", 0) is None
    second = await store.fleet.publish("pools: {a: {}}", "d2", "bob", first.epoch)
    assert second is not None
    assert (second.document, second.digest, second.published_by) == ("pools: {a: {}}", "d2", "bob")
    assert second.epoch > first.epoch
    assert await store.fleet.unpublish()
    assert await store.fleet.published() is None
    third = await store.fleet.publish("pools: {}", "d1", "ann", 0)
    assert third is not None
    assert third.epoch > second.epoch


class Listener:
    """A node that listens, and what it hears."""

    def __init__(self, url: str) -> None:
        self.store = PostgresStore(Place(url, session="listener"))
        self._heard: asyncio.Queue[NewsKind] = asyncio.Queue()
        self.store.fleet.listen(self._heard.put_nowait)

    async def next(self) -> NewsKind:
        async with asyncio.timeout(20):
            return await self._heard.get()

    async def everything(self) -> None:
        """It begins to listen, and is told of all that it may have missed."""
        heard = {await self.next() for _ in get_args(NewsKind)}
        assert {"secrets", "suspensions", "queue", "configuration", "nodes"} < heard


@pytest.fixture
async def listener(postgres_url: str) -> AsyncIterator[Listener]:
    made = Listener(postgres_url)
    await made.store.open()
    yield made
    await made.store.close()


async def test_every_node_hears_what_one_tells(store: PostgresStore, listener: Listener) -> None:
    await listener.everything()
    await store.fleet.tell("suspensions")
    assert await listener.next() == "suspensions"
    await listener.store.fleet.tell("secrets")
    assert await listener.next() == "secrets"


async def test_nodes_that_come_and_go_and_configurations_are_news(
    store: PostgresStore, listener: Listener
) -> None:
    await listener.everything()
    member = await store.fleet.join("one", "i1", LEASE, REPORT)
    assert await listener.next() == "nodes"
    await store.fleet.publish("pools: {}", "d1", "ann", 0)
    assert await listener.next() == "configuration"
    await store.fleet.leave(member)
    assert await listener.next() == "nodes"


async def test_who_lost_its_session_is_told_of_everything_and_hears_again(
    store: PostgresStore, listener: Listener, postgres_url: str
) -> None:
    await listener.everything()
    session = await Place(postgres_url).connect()
    await session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'listener' AND query LIKE 'LISTEN%'"
    )
    await session.close()
    await listener.everything()
    await store.fleet.tell("warmups")
    assert await listener.next() == "warmups"


async def test_the_first_keys_of_return_paths_are_those_of_all_until_they_are_replaced(
    store: PostgresStore,
) -> None:
    fleet = store.fleet
    assert await fleet.return_path_keys("") == ""
    offered = [fleet.return_path_keys(f"key {number}\n") for number in range(3)]
    assert await asyncio.gather(*offered) == ["key 0\n"] * 3
    assert await fleet.return_path_keys("", "key 0\n") == "key 0\n"
    assert await fleet.return_path_keys("key 4\n", "key 1\n") == "key 0\n"
    assert await fleet.return_path_keys("key 4\n", "key 0\n") == "key 4\n"
    assert await fleet.return_path_keys("") == "key 4\n"
