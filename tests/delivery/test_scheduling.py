"""The scheduler: who goes when, by which way, and what waits where."""

import asyncio
from pathlib import Path

import pytest

from relay.store.values import NewMessage
from tests.delivery.outgoing import Outgoing, make_config, make_message, now_ms
from tests.delivery.receiver import Do, Receiver, Session
from tests.delivery.test_connections import closed_port


async def test_each_set_leaves_from_its_own_pool_with_its_own_name(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        for number in range(6):
            await relay.send("b@example.test", configuration_set=("main", "other")[number % 2])
        await receiver.until_messages(6)
        await relay.until_empty()
    seen = {(message.client, message.ehlo) for message in receiver.messages}
    assert seen == {("127.0.0.2", "relay.test"), ("127.0.0.3", "other.relay.test")}


async def test_mail_in_the_store_is_found_when_it_is_due(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test", offer=False)
        await receiver.until_messages(1)
        await relay.until_empty()


async def test_a_small_working_set_takes_any_number_of_messages(tmp_path: Path) -> None:
    bounds = {"working_set": 10}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, delivery=bounds)) as relay,
    ):
        held = []
        for number in range(100):
            await relay.send(f"r{number}@example.test")
            held.append(len(relay.scheduler._claims))
        await receiver.until_messages(100)
        await relay.until_empty()
        assert max(held) <= 10
    assert len({message.recipients[0] for message in receiver.messages}) == 100


async def test_a_slow_destination_holds_only_its_own_connections(tmp_path: Path) -> None:
    bounds = {"connections": 12, "connections_per_destination": 4, "command_timeout": "30s"}
    async with Receiver({"MAIL": Do.HANG}) as slow, Receiver() as fast:
        routes = {"slow.test": {"to": slow.address}, "*": {"to": fast.address}}
        async with Outgoing(make_config(tmp_path, routes=routes, delivery=bounds)) as relay:
            for _ in range(30):
                await relay.send("b@slow.test")
            for _ in range(30):
                await relay.send("b@fast.test")
            await fast.until_messages(30)
            await slow.until(lambda: slow.open == 4)
            assert slow.most_open == 4
            await relay.stop(0.0)
            queue = await relay.queue()
            assert len(queue) == 30
            assert not any(entry.claimed for entry in queue)


async def test_no_more_connections_are_opened_than_allowed(tmp_path: Path) -> None:
    bounds = {"connections": 3, "connections_per_destination": 2, "messages_per_connection": 5}
    async with Receiver() as one, Receiver() as two, Receiver() as three:
        places = {"one.test": one, "two.test": two, "three.test": three}
        routes = {domain: {"to": receiver.address} for domain, receiver in places.items()}
        async with Outgoing(make_config(tmp_path, routes=routes, delivery=bounds)) as relay:
            most = 0.0
            for _ in range(40):
                for domain in places:
                    await relay.send(f"b@{domain}")
                most = max(most, len(relay.scheduler._workers))
            for receiver in places.values():
                await receiver.until_messages(40)
            await relay.until_empty()
            assert most <= 3


async def test_two_pools_share_the_only_connection_of_a_destination(tmp_path: Path) -> None:
    bounds = {"connections_per_destination": 1, "messages_per_connection": 1000}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, delivery=bounds)) as relay,
    ):
        await relay.stop()
        for _ in range(200):
            await relay.send("b@example.test", offer=False)
        for _ in range(10):
            await relay.send("c@example.test", configuration_set="other", offer=False)
        await relay.start()
        await receiver.until_messages(210)
        await relay.until_empty()
    last = max(n for n, m in enumerate(receiver.messages) if m.client == "127.0.0.3")
    assert last < 150  # it did not wait for all the others


async def test_a_destination_that_is_down_defers_its_mail_together(tmp_path: Path) -> None:
    config = make_config(tmp_path, route=f"127.0.0.1:{closed_port()}")
    async with Outgoing(config) as relay:
        for number in range(50):
            await relay.send(f"r{number}@example.test")
        lines = await relay.until_attempted(50)
        assert all(line["kind"] == "deferred" for line in lines)
        assert all("Connection refused" in line["reply"] for line in lines)
        assert relay.metric("relay_outbound_connections_opened_total", result="refused") <= 6
        queue = await relay.queue()
        assert len(queue) == 50
        assert all(entry.attempts == 1 and not entry.claimed for entry in queue)
        spread = {entry.due_at for entry in queue}
        assert len(spread) > 40  # jitter: they do not come back at once


async def test_one_unreachable_host_does_not_defer_mail_to_others(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        routes = {
            "down.test": {"to": f"127.0.0.1:{closed_port()}"},
            "*": {"to": receiver.address},
        }
        async with Outgoing(make_config(tmp_path, routes=routes)) as relay:
            for _ in range(10):
                await relay.send("b@down.test")
                await relay.send("b@up.test")
            await receiver.until_messages(10)
            await relay.until_attempted(20)
            assert {entry.domain for entry in await relay.queue()} == {"down.test"}


async def test_a_deferred_message_is_tried_again_when_it_is_due(tmp_path: Path) -> None:
    def first_refused(session: Session, line: str) -> bytes:
        refused.append(line)
        return b"451 4.3.0 later\r\n" if len(refused) == 1 else b"250 ok\r\n"

    refused: list[str] = []
    async with (
        Receiver({"RCPT": first_refused}) as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, retry={"schedule": ["1s"], "jitter": 0})
        ) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until_messages(1)
        await relay.until_empty()
        assert [line["attempt"] for line in relay.lines.of("delivery attempt")] == [1, 2]


async def test_expired_mail_is_given_up_with_a_report(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test", lifetime=-1.0, due_ms_ago=60_000)
        await receiver.until_messages(1)
        await relay.until_empty()
        assert relay.metric("relay_recipients_bounced_total", outcome="expired") == 1
    (report,) = receiver.messages
    assert (report.reverse_path, report.recipients) == ("", ["a@sender.test"])


async def test_a_bounce_is_reported_to_the_sender_at_once(tmp_path: Path) -> None:
    script = {
        "RCPT": lambda s, line: b"550 5.1.1 no such user\r\n" if "<b@" in line else b"250 ok\r\n"
    }
    async with (
        Receiver(script) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until_messages(1)
        await relay.until_empty()
        assert await relay.store.suppressions.find("b@example.test") is not None
    assert b"multipart/report" in receiver.messages[0].content


async def test_a_reload_plans_waiting_mail_anew(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "rate": "1/day"}, "other": {"pool": "other"}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        relay.scheduler._claims.give_back = lambda *_: None  # keep it here
        await relay.send("b@example.test")
        await relay.until(lambda: relay.lines.of("delivery attempt") or True)
        del relay.scheduler._claims.give_back
        config = make_config(
            tmp_path,
            route=receiver.address,
            configuration_sets={"main": {"pool": "other"}, "other": {"pool": "other"}},
        )
        relay.health.reconfigure(config)
        relay.limits.configure({})
        relay.scheduler.reconfigure(config, relay.router(config), relay._keyring)
        await relay.send("c@example.test")
        await receiver.until(lambda: any("c@" in m.rcpts[0] for m in receiver.messages))
    assert {m.client for m in receiver.messages if "c@" in m.rcpts[0]} == {"127.0.0.3"}


async def test_a_slow_destination_does_not_fill_the_working_set_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.scheduler.TIDY_SECONDS", 0.2)
    bounds = {"working_set": 100, "command_timeout": "30s", "connections_per_destination": 2}
    async with Receiver({"MAIL": Do.HANG}) as slow, Receiver() as fast:
        routes = {"slow.test": {"to": slow.address}, "*": {"to": fast.address}}
        async with Outgoing(make_config(tmp_path, routes=routes, delivery=bounds)) as relay:
            for _ in range(300):
                await relay.send("b@slow.test")
            for _ in range(20):
                await relay.send("b@fast.test")
            await fast.until_messages(20)
            slow_ones = [e for e in await relay.queue() if e.domain == "slow.test"]
            assert len(slow_ones) == 300
            assert all(entry.attempts == 0 for entry in slow_ones)
            await relay.stop(0.0)


async def test_mail_that_was_accepted_to_go_later_goes_then(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        message = make_message("b@example.test")
        due = now_ms() + 300
        accepted = await relay.store.insert(NewMessage(message, due), relay.scheduler.owner)
        relay.scheduler.offer(accepted.deliveries)
        late = make_message("c@example.test")
        accepted = await relay.store.insert(
            NewMessage(late, now_ms() + 3_600_000), relay.scheduler.owner
        )
        relay.scheduler.offer(accepted.deliveries)
        await receiver.until_messages(1)
        assert now_ms() >= due

        async def only_the_late_one_waits_in_the_store() -> bool:
            return [entry.claimed for entry in await relay.queue()] == [False]

        await relay.until(only_the_late_one_waits_in_the_store)
    assert receiver.messages[0].recipients == ["b@example.test"]


async def test_mail_that_stands_in_line_for_a_connection_is_not_forgotten_by_a_reload(
    tmp_path: Path,
) -> None:
    goes_on = asyncio.Event()

    class Held(Receiver):
        async def _tell(self) -> None:
            await super()._tell()
            if self.sessions and self.sessions[0].seen["MAIL"]:
                await goes_on.wait()

    async with Held() as busy, Receiver() as free:
        routes = {"busy.test": {"to": busy.address}, "*": {"to": free.address}}
        config = make_config(
            tmp_path,
            routes=routes,
            delivery={"connections": 1, "command_timeout": "30s"},
        )
        async with Outgoing(config) as relay:
            await relay.send("a@busy.test")
            await busy.until(lambda: busy.open == 1)
            await relay.send("b@example.test")
            relay.scheduler.reconfigure(config, relay.router(config), relay._keyring)
            goes_on.set()
            await free.until_messages(1)
            await relay.until_empty()
