"""A deep queue: whom it delays, what is looked at, and what becomes of mail that grows too old."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay.limits.specs import config_limits
from relay.store.values import NewMessage, QueueFilter
from tests.delivery.outgoing import Outgoing, make_config, make_message, now_ms
from tests.delivery.receiver import Do, Receiver
from tests.delivery.test_throttling import Calls

CAMPAIGN = 20_000


async def put(relay: Outgoing, count: int, *, to: str = "b@example.test", **facts: object) -> None:
    """Mail in the store that is due, as a campaign that was injected before."""
    for start in range(0, count, 500):
        news = [
            NewMessage(make_message(to, **facts), now_ms() - 60_000)
            for _ in range(min(500, count - start))
        ]
        await asyncio.gather(*(relay.store.insert(new, None) for new in news))


async def test_a_campaign_of_twenty_thousand_does_not_delay_another_set(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    async with Receiver() as campaign, Receiver() as shop:
        routes = {"example.test": {"to": campaign.address}, "*": {"to": shop.address}}
        config = make_config(tmp_path, routes=routes, delivery={"working_set": 1_000})
        async with Outgoing(config) as relay:
            await relay.stop()
            await put(relay, CAMPAIGN)
            await relay.start()
            await campaign.until(lambda: bool(campaign.messages))
            began = len(campaign.messages)
            await put(relay, 20, to="c@shop.test", configuration_set="other")
            relay.scheduler.expect(now_ms(), "other")
            for _ in range(20):
                await relay.send("d@shop.test", configuration_set="other")
            await shop.until_messages(40, seconds=30.0)
            assert len(campaign.messages) - began < CAMPAIGN / 2
            assert len(relay.scheduler._claims) <= 1_000
            await relay.stop(0.0)


async def test_fresh_mail_of_another_set_goes_out_at_once_while_a_campaign_is_injected(
    tmp_path: Path,
) -> None:
    bounds = {"working_set": 100, "command_timeout": "30s"}
    async with Receiver({"MAIL": Do.HANG}) as slow, Receiver() as fast:
        routes = {"slow.test": {"to": slow.address}, "*": {"to": fast.address}}
        async with Outgoing(make_config(tmp_path, routes=routes, delivery=bounds)) as relay:
            for _ in range(300):
                await relay.send("b@slow.test")
            assert relay.scheduler.working_set <= 60
            assert relay.scheduler.has_room("other")
            await relay.send("c@fast.test", configuration_set="other")
            await fast.until_messages(1, seconds=2.0)
            await relay.stop(0.0)


async def test_a_line_that_is_full_is_left_alone_and_comes_back_when_there_is_room(
    tmp_path: Path,
) -> None:
    bounds = {"working_set": 100, "command_timeout": "30s", "connections_per_destination": 1}
    async with Receiver({"MAIL": Do.HANG}) as slow, Receiver() as fast:
        routes = {"slow.test": {"to": slow.address}, "*": {"to": fast.address}}
        async with Outgoing(make_config(tmp_path, routes=routes, delivery=bounds)) as relay:
            await put(relay, 200, to="b@slow.test")
            relay.scheduler.expect(now_ms())

            async def is_left_alone() -> bool:
                return bool(relay.scheduler._dispatcher.narrows) and bool(slow.sessions)

            await relay.until(is_left_alone)
            await relay.scheduler._claims.given_back()
            calls = Calls(relay)
            for _ in range(5):
                await relay.scheduler._claiming._claim()
            assert calls.released == 0
            assert calls.claimed <= 100
            await put(relay, 5, to="c@fast.test")
            relay.scheduler.wake()
            await fast.until_messages(5)
            del slow.script["MAIL"]
            for task in tuple(relay.scheduler._workers._tasks):
                task.cancel()
            await slow.until_messages(200, seconds=20.0)
            await relay.until_empty()


async def test_a_higher_limit_brings_forward_what_had_to_wait(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        sets = {"main": {"pool": "main", "rate": "1/h"}, "other": {"pool": "other"}}
        config = make_config(tmp_path, route=receiver.address, configuration_sets=sets)
        async with Outgoing(config) as relay:
            await put(relay, 50)
            relay.scheduler.expect(now_ms())
            await relay.until(lambda: bool(relay.scheduler._dispatcher.narrows))
            config = make_config(tmp_path, route=receiver.address)
            relay.limits.configure(config_limits(config))
            relay.scheduler.reconfigure(config, relay.router(config), relay._keyring)
            await receiver.until_messages(50, seconds=20.0)
            await relay.until_empty()


async def test_mail_that_a_limit_keeps_in_the_store_bounces_when_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.scheduler.TIDY_SECONDS", 0.1)
    sets = {"main": {"pool": "main", "quota": 1}, "other": {"pool": "other"}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        await relay.send("a@example.test")
        await receiver.until_messages(1)
        for _ in range(3):
            await relay.send("b@example.test", lifetime=1.5, reverse_path="")
        await relay.until_empty()
        assert relay.metric("relay_recipients_bounced_total", outcome="expired") == 3
        (line, *_) = relay.lines.of("delivery given up: the message has expired")
        assert "quota of its configuration set" in line["reason"]


async def test_nothing_is_claimed_while_an_operator_changes_what_waits(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        config = make_config(tmp_path, routes={"*": {"to": receiver.address}})
        async with Outgoing(config) as relay:
            await relay.scheduler.recall(QueueFilter())
            calls = Calls(relay)
            await put(relay, 3)
            relay.scheduler.expect(now_ms())
            await relay.send("c@example.test")  # what is accepted now goes
            await receiver.until_messages(1)
            assert calls.claimed == 0
            relay.scheduler.wake()
            await receiver.until_messages(4)


async def test_a_backlog_is_claimed_in_batches_worth_the_search(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        routes = {"*": {"to": receiver.address}}
        config = make_config(tmp_path, routes=routes, delivery={"working_set": 1_000})
        async with Outgoing(config) as relay:
            await relay.stop()
            await put(relay, 1_500)
            await relay.start()
            searches = 0
            find_due = relay.store.find_due

            async def finding(*arguments: Any) -> Any:
                nonlocal searches
                searches += 1
                return await find_due(*arguments)

            relay.store.find_due = finding
            await receiver.until_messages(1_500, seconds=60.0)
            assert 1_500 / searches > 40
            await relay.stop(0.0)
