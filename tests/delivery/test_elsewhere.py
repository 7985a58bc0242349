"""Mail that other nodes are to carry, and mail that they leave to this one."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.feedback.restraints import Rest
from relay.store.fleet_values import NOWHERE, Elsewhere
from relay.store.values import Due, PutOff, QueueFilter, Want
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Do, Receiver

MINUTE_MS = 60_000
THEIRS = Elsewhere({"other": ("b",)}, {"other": "other"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def in_a_fleet(directory: Path, receiver: Receiver, lacks: tuple[str, ...] = ()) -> Outgoing:
    """A worker that looks for what other nodes leave, on a host that `lacks` some addresses."""
    config = make_config(directory, route=receiver.address)
    store = config.store.model_copy(update={"url": "postgresql://db.test/relay"})
    missing = "this host does not have the address"
    return Outgoing(
        config.model_copy(update={"store": store}),
        bind=lambda address: missing if address in lacks else "",
    )


async def test_mail_of_a_set_for_other_nodes_is_left_as_due_as_it_was(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with in_a_fleet(tmp_path, receiver) as relay:
        relay.scheduler.elsewhere(THEIRS)
        assert not relay.scheduler.has_room("other")
        await relay.send("a@x.test", configuration_set="other", due_ms_ago=1_000)
        await relay.send("a@x.test")
        await receiver.until_messages(1)
        await relay.until_attempted(1)
        (entry,) = await relay.queue()
        assert (entry.configuration_set, entry.claimed, entry.waits_for) == ("other", False, "")
        line = ("other", "x.test")
        assert relay.scheduler.why_lines_wait([line]) == {
            line: "it waited for a node that has addresses of pool other: b"
        }
        relay.scheduler.elsewhere(NOWHERE)  # node b has died
        await relay.until_empty()
    assert {message.client for message in receiver.messages} == {"127.0.0.2", "127.0.0.3"}


async def test_what_waits_in_memory_is_given_back_when_other_nodes_are_to_carry_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.script["MAIL"] = Do.HANG
    bounds = {"connections_per_destination": 1, "command_timeout": "30s"}
    config = make_config(tmp_path, route=receiver.address, delivery=bounds)
    async with Outgoing(config) as relay:
        for number in range(5):
            await relay.send(f"r{number}@x.test", configuration_set="other")
        await receiver.until(lambda: receiver.open > 0)
        relay.scheduler.elsewhere(THEIRS)

        async def one_is_held() -> bool:
            return [entry.claimed for entry in await relay.queue()].count(True) == 1

        await relay.until(one_is_held)
        await relay.stop(0.0)
        assert [entry.due_at <= now_ms() for entry in await relay.queue()] == [True] * 5


async def test_moved_mail_is_put_off_with_a_word_for_its_pool_and_keeps_nothing_else_back(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with in_a_fleet(tmp_path, receiver) as relay:
        relay.scheduler.elsewhere(THEIRS)
        await relay.stop()
        await relay.send("moved@x.test", offer=False)
        await relay.store.move(QueueFilter(), "other")
        await relay.send("b@x.test", offer=False)
        await relay.start()
        relay.scheduler.elsewhere(THEIRS)
        await receiver.until_messages(1)

        async def is_put_off() -> bool:
            return [e.waits_for for e in await relay.queue()] == ["pool:other"]

        await relay.until(is_put_off)
        (entry,) = await relay.queue()
        assert not entry.claimed
        assert 14 * MINUTE_MS < entry.due_at - now_ms() <= 17 * MINUTE_MS
        relay.scheduler.elsewhere(NOWHERE)  # now this node has an address of the pool
        await relay.until_empty()
    assert [(m.recipients, m.client) for m in receiver.messages] == [
        (["b@x.test"], "127.0.0.2"),
        (["moved@x.test"], "127.0.0.3"),
    ]


async def test_mail_that_nobody_can_send_waits_for_a_node_that_can(
    tmp_path: Path, receiver: Receiver
) -> None:
    lacks = ["127.0.0.3"]
    async with in_a_fleet(tmp_path, receiver) as relay:
        relay.health._bind = lambda address: "it is not here" if address in lacks else ""
        relay.health.probe()
        await relay.send("a@x.test", configuration_set="other")

        async def is_put_off() -> bool:
            return [e.waits_for for e in await relay.queue()] == ["pool:other"]

        await relay.until(is_put_off)
        (entry,) = await relay.queue()
        assert entry.due_at - now_ms() > MINUTE_MS / 2
        # What comes after it is not claimed and put off, one after the other.
        await relay.send("b@x.test", configuration_set="other")
        lacks.clear()
        relay.health.probe()
        await relay.until_empty()
    assert [message.client for message in receiver.messages] == ["127.0.0.3"] * 2


async def test_what_waits_for_a_pool_that_is_gone_goes_through_that_of_its_set(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with in_a_fleet(tmp_path, receiver) as relay:
        owner = await relay.store.register("b", 60_000)
        await relay.send("a@x.test", offer=False, due_ms_ago=-MINUTE_MS)
        (entry,) = await relay.queue()
        (delivery,) = await relay.store.take(owner, QueueFilter())
        assert delivery.id == entry.delivery_id
        off = PutOff(delivery.id, now_ms() + 10 * MINUTE_MS, "pool:gone")
        await relay.store.delays.put_off(owner, [off])
        await relay.until_empty()
    assert [message.client for message in receiver.messages] == ["127.0.0.2"]


async def test_mail_of_other_nodes_is_no_lack_of_room_and_no_reason_to_ask_all_the_time(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with in_a_fleet(tmp_path, receiver) as relay:
        relay.scheduler.elsewhere(THEIRS)
        asked: list[float] = []
        find_due = relay.store.find_due

        async def heard(want: Want) -> Due:
            asked.append(asyncio.get_running_loop().time())
            return await find_due(want)

        relay.store.find_due = heard
        for number in range(50):  # what is due next is theirs, each time
            await relay.send(
                f"{number}@x.test", configuration_set="other", offer=False, due_ms_ago=-20 * number
            )
        relay.scheduler.wake()
        await relay.until(lambda: len(asked) >= 4)
        assert asked[3] - asked[1] > 0.4
        assert not relay.scheduler._claiming.leaves_mail


@pytest.mark.parametrize(
    ("shared", "waits_for"), [(frozenset({"main"}), ""), (frozenset(), "rest")]
)
async def test_mail_whose_sources_rest_here_is_due_for_nodes_that_have_others(
    tmp_path: Path, receiver: Receiver, shared: frozenset[str], waits_for: str
) -> None:
    async with in_a_fleet(tmp_path, receiver) as relay:
        relay.scheduler.elsewhere(Elsewhere(shared=shared))
        rest = Rest("127.0.0.2", receiver.address, time.monotonic() + 600, "it said so")
        relay.scheduler.told(rest)
        await relay.send("a@x.test")

        async def is_given_back() -> bool:
            return not (await relay.queue())[0].claimed

        await relay.until(is_given_back)
        (entry,) = await relay.queue()
        assert entry.waits_for.partition(":")[0] == waits_for
        assert (entry.due_at <= now_ms()) == bool(shared)
        asked: list[Want] = []
        find_due = relay.store.find_due

        async def heard(want: Want) -> Due:
            asked.append(want)
            return await find_due(want)

        relay.store.find_due = heard
        await relay.until(lambda: len(asked) == 2)  # and it is not claimed here again and again
        assert not (await relay.queue())[0].claimed
        assert len(relay.scheduler._claims) == 0
        if shared:
            relay.scheduler.told(Rest("127.0.0.2", receiver.address, 0.0))
            await relay.until_empty()
