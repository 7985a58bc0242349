"""Mail of a pool with addresses that are warming up: what leaves from where, and what waits."""

import asyncio
import time
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from relay.config.model import Config
from relay.delivery.warming import Warming
from relay.limits.gatekeeper import Decision
from relay.limits.warmup import begin, completed, limits_in_force
from relay.routing.plan import Candidate, Destination, Plan
from relay.routing.sources import choose_source
from relay.store.values import Delivery, QueueFilter
from tests.delivery.outgoing import Outgoing, make_config, make_message, now_ms
from tests.delivery.receiver import Receiver

NEW, WARM, WARM_TOO = "127.0.0.2", "127.0.0.4", "127.0.0.5"
_EVERYTHING = QueueFilter()


def config_of(
    directory: Path,
    *warm: str,
    days: list[int],
    when_warming: str = "overflow",
    **changes: Any,
) -> Config:
    sources = [{"address": NEW, "warmup": "mine"}, *({"address": a} for a in warm)]
    return make_config(
        directory,
        pools={
            "main": {"sources": sources, "when_warming": when_warming},
            "other": {"sources": [{"address": "127.0.0.3"}]},
        },
        warmups={"mine": {"days": days, "providers": {"google": {"days": [8]}}}},
        **changes,
    )


class Ahead:
    """The monotonic clock, set forward: after a start slow rates are closed for a minute."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.seconds


def clients(receiver: Receiver) -> Counter[str]:
    return Counter(message.client for message in receiver.messages)


# What leaves from where


async def test_mail_beyond_the_allowance_leaves_at_once_from_a_warm_address(tmp_path: Path):
    clock = Ahead()
    async with Receiver() as receiver:
        config = config_of(tmp_path, WARM, days=[16], route=receiver.address)
        async with Outgoing(config, clock=clock) as relay:
            clock.seconds = 100
            for _ in range(40):
                await relay.send("b@example.test")
            await receiver.until_messages(40)
            await relay.until_empty()
    assert clients(receiver) == {NEW: 1, WARM: 39}  # 16 a day are one in half an hour


async def test_recipients_of_one_message_share_no_more_of_an_allowance_than_there_is(
    tmp_path: Path,
):
    clock = Ahead()
    async with Receiver() as receiver:
        config = config_of(tmp_path, WARM, days=[160], route=receiver.address)
        async with Outgoing(config, clock=clock) as relay:
            clock.seconds = 100
            await relay.send(*(f"b@d{n}.test" for n in range(30)))
            await relay.until_empty()
            delivered = "relay_recipients_delivered_total"
            assert relay.metric(delivered, source=NEW) == 1  # 20 an hour are one in three minutes
            assert relay.metric(delivered, source=WARM) == 29
    assert len(receiver.messages) == 2


async def test_an_allowance_is_used_as_its_rate_lets_it_and_no_mail_waits(tmp_path: Path):
    async with Receiver() as receiver:
        config = config_of(tmp_path, WARM, days=[400_000], route=receiver.address)
        async with Outgoing(config) as relay:
            await asyncio.sleep(1.1)  # 400,000 a day are 14/s; after a start none for a second
            began = time.monotonic()
            for _ in range(60):
                await relay.send("b@example.test")
                await asyncio.sleep(0.025)
            await receiver.until_messages(60)
            seconds = time.monotonic() - began
            await relay.until_empty()
    sent = clients(receiver)
    assert min(0.4 * 14 * seconds, 40) <= sent[NEW] <= 14 * seconds + 2
    assert sent[WARM] == 60 - sent[NEW]
    assert relay.metric("relay_recipients_deferred_total") == 0


async def test_mail_waits_where_every_address_is_warming_up(tmp_path: Path):
    clock = Ahead()
    async with Receiver() as receiver:
        config = config_of(tmp_path, days=[16], route=receiver.address)
        async with Outgoing(config, clock=clock) as relay:
            clock.seconds = 100
            for _ in range(5):
                await relay.send("b@example.test", lifetime=86_400)

            async def the_rest_waits_in_the_store() -> bool:
                queue = await relay.queue()
                return len(queue) == 4 and not any(entry.claimed for entry in queue)

            await relay.until(the_rest_waits_in_the_store)
            assert all(entry.due_at <= now_ms() for entry in await relay.queue())  # as it was
            assert relay.scheduler._dispatcher.narrows
            assert all(entry.attempts == 0 for entry in await relay.queue())
    assert clients(receiver) == {NEW: 1}


async def test_what_fell_to_a_new_address_waits_for_it_where_the_pool_says_so(tmp_path: Path):
    async with Receiver() as receiver:
        config = config_of(tmp_path, WARM, days=[16], when_warming="wait", route=receiver.address)
        async with Outgoing(config) as relay:  # closed for the minute after a start
            for _ in range(40):
                await relay.send("b@example.test", lifetime=86_400)

            async def the_rest_waits_in_the_store() -> bool:
                queue = await relay.queue()
                held = [entry for entry in queue if not entry.claimed]
                return len(queue) == len(held) and len(held) + len(receiver.messages) == 40

            await relay.until(the_rest_waits_in_the_store)
            waiting = len(await relay.queue())
            assert 8 <= waiting <= 32
            # Placed anew, it falls to the same address again.
            await relay.store.retry_now(_EVERYTHING, now_ms())
            relay.scheduler.wake()
            await asyncio.sleep(0.3)
            await relay.until(the_rest_waits_in_the_store)
            assert len(await relay.queue()) == waiting
    assert clients(receiver) == {WARM: 40 - waiting}


async def test_an_address_that_is_completed_sends_what_waited_for_it(tmp_path: Path):
    async with Receiver() as receiver:
        config = config_of(tmp_path, days=[16], route=receiver.address)
        async with Outgoing(config) as relay:
            for _ in range(5):
                await relay.send("b@example.test")

            async def all_wait_in_the_store() -> bool:
                return not any(entry.claimed for entry in await relay.queue())

            await relay.until(all_wait_in_the_store)
            assert not receiver.messages
            relay.warm_up({NEW: completed(begin(NEW, now_ms()))})
            await receiver.until_messages(5)


async def test_a_drained_warm_address_takes_nothing_over(tmp_path: Path):
    """Where no warm address can be used mail waits, and does not run in circles."""
    async with Receiver() as receiver:
        config = config_of(tmp_path, days=[16], route=receiver.address)
        sources = [*config.pools["main"].sources]
        drained = {"address": ip_address(WARM), "weight": 0, "warmup": None}
        sources.append(sources[0].model_copy(update=drained))
        pool = config.pools["main"].model_copy(update={"sources": tuple(sources)})
        config = config.model_copy(update={"pools": {**config.pools, "main": pool}})
        async with Outgoing(config) as relay:
            asked = 0
            admit = relay.limits.admit

            async def counting(*arguments: Any) -> Decision:
                nonlocal asked
                asked += 1
                return await admit(*arguments)

            relay.limits.admit = counting  # type: ignore[method-assign]
            for _ in range(20):
                await relay.send("b@example.test", lifetime=86_400)
            await asyncio.sleep(0.5)
            assert len(await relay.queue()) == 20
            assert asked <= 5


async def test_mail_that_no_address_can_take_now_waits_for_a_warm_one(tmp_path: Path):
    """The new address carries little: what waits for it would wait for long."""
    async with Receiver() as receiver:
        config = config_of(tmp_path, WARM, days=[400_000], route=receiver.address)
        async with Outgoing(config) as relay:
            choosing = relay.scheduler._dispatcher._choosing
            choosing._is_usable = lambda lane: False  # type: ignore[method-assign]
            await relay.send("b@example.test")
            await receiver.until_messages(1)
            await relay.until_empty()
    assert clients(receiver) == {WARM: 1}


# Which address is chosen


def plan_of(config: Config, *faulty: str) -> Plan:
    candidates = tuple(
        Candidate(
            source, "relay.test", source.weight, "gone" if str(source.address) in faulty else ""
        )
        for source in config.pools["main"].sources
    )
    return Plan("main", "main", candidates, Destination("mx"))


def delivery(number: int, recipients: int = 1) -> Delivery:
    """One that has an id, and as many recipients."""
    message = make_message(*(f"r{n}@example.test" for n in range(recipients)))
    return Delivery(
        id=number,
        message=message,
        domain="example.test",
        recipients=message.envelope.recipients,
        due_at=0,
        attempts=0,
        last_reply="",
        epoch=1,
    )


def choices(warming: Warming, plan: Plan, count: int, now: float = 0.0) -> Counter[str]:
    """Where `count` deliveries go that come at one moment."""
    rng, found = Random(1), Counter[str]()
    for number in range(count):
        for keep_off in warming.rounds(plan, "", delivery(number), now):
            candidate = choose_source(plan, rng, keep_off)
            if candidate is not None:
                warming.chosen(plan, candidate.address, "", 1, now)
                found[candidate.address] += 1
                break
    return found


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(tmp_path, WARM, WARM_TOO, days=[1_600])


def test_a_new_address_is_chosen_first_as_often_as_its_rate_lets_it(config: Config):
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    at_once = choices(warming, plan, 50)
    assert at_once[NEW] == 1
    assert min(at_once[WARM], at_once[WARM_TOO]) > 10
    assert choices(warming, plan, 50, now=17.0)[NEW] == 0  # 200 an hour: one in 18 s
    assert choices(warming, plan, 50, now=19.0)[NEW] == 1


def test_an_address_that_was_refused_is_not_chosen_before_its_time(config: Config):
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    refusal = Decision(3600.0, f"warmup:{NEW}", "quota", charged=False)
    assert warming.refused(refusal, plan, now=0.0)
    assert choices(warming, plan, 50, now=3599.0)[NEW] == 0
    assert choices(warming, plan, 50, now=3601.0)[NEW] == 1


def test_a_delivery_to_more_than_an_hours_worth_leaves_from_a_warm_address(config: Config):
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    assert NEW in warming.rounds(plan, "", delivery(1, recipients=201), 0.0)[0]
    assert NEW not in warming.rounds(plan, "", delivery(1, recipients=200), 0.0)[0]


def test_the_refusal_of_another_limit_is_no_word_on_a_warm_up(config: Config):
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    assert not warming.refused(Decision(5.0, "set:main", "rate", charged=False), plan, 0.0)
    assert choices(warming, plan, 1) == {NEW: 1}


def test_an_address_with_no_room_towards_one_provider_has_it_for_others(config: Config):
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    refusal = Decision(3600.0, f"warmup:{NEW}/google", "rate", charged=False)
    warming.refused(refusal, plan, now=0.0)
    assert NEW in warming.rounds(plan, "google", delivery(1), 0.0)[0]
    assert NEW not in warming.rounds(plan, "yahoo", delivery(1), 0.0)[0]


def test_where_no_warm_address_can_be_used_nothing_overflows(config: Config):
    warming = Warming.of(config, limits_in_force(config, {}))
    plan = plan_of(config, WARM, WARM_TOO)
    refusal = Decision(3600.0, f"warmup:{NEW}", "rate", charged=False)
    assert not warming.refused(refusal, plan, now=0.0)
    assert choices(warming, plan, 5) == {NEW: 5}
    standing = warming.standing_refusal(NEW, "", now=600.0)
    assert standing == Decision(3000.0, f"warmup:{NEW}", "rate", charged=False)


def test_a_pool_that_waits_chooses_by_weight_and_always_the_same_for_one_delivery(tmp_path: Path):
    config = config_of(tmp_path, WARM, days=[1_600], when_warming="wait")
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    first = [warming.rounds(plan, "", delivery(number), 0.0) for number in range(100)]
    warming.refused(Decision(3600.0, f"warmup:{NEW}", "rate", charged=False), plan, 0.0)
    assert [warming.rounds(plan, "", delivery(number), 9.0) for number in range(100)] == first
    fallen = sum(NEW not in keep_off for (keep_off,) in first)
    assert 30 < fallen < 70


def test_what_waits_for_an_address_is_due_one_behind_the_other(tmp_path: Path):
    config = config_of(tmp_path, WARM, days=[1_600], when_warming="wait")
    warming, plan = Warming.of(config, limits_in_force(config, {})), plan_of(config)
    refusal = Decision(600.0, f"warmup:{NEW}", "quota", charged=False)
    assert warming.refused(refusal, plan, now=0.0)
    assert [warming.put_off(refusal, plan, 1, 0.0) for _ in range(3)] == [600.0, 618.0, 636.0]
    assert warming.put_off(refusal, plan, 1, 100.0) == 600.0  # 700 s is later than the last one
    short = Decision(5.0, f"warmup:{NEW}", "rate", charged=False)
    assert not warming.refused(short, plan, now=0.0)
    assert warming.put_off(short, plan, 1, 0.0) == 0.0


def test_nothing_is_put_off_where_mail_overflows_or_all_addresses_are_new(
    config: Config, tmp_path: Path
):
    refusal = Decision(600.0, f"warmup:{NEW}", "quota", charged=False)
    overflowing = Warming.of(config, limits_in_force(config, {}))
    assert overflowing.put_off(refusal, plan_of(config), 1, 0.0) == 0.0
    all_new = config_of(tmp_path, days=[1_600], when_warming="wait")
    waiting = Warming.of(all_new, limits_in_force(all_new, {}))
    assert waiting.put_off(refusal, plan_of(all_new), 1, 0.0) == 0.0


def test_a_pool_without_a_warm_up_is_left_as_it_is(config: Config):
    plan = plan_of(config)
    warm = limits_in_force(config, {NEW: completed(begin(NEW, 0))})
    assert Warming.of(config, warm).rounds(plan, "", delivery(1), 0.0) == (frozenset(),)
