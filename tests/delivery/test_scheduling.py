"""The scheduler: who goes when, what waits where, and what happens when things end."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from relay.signing.keys import SigningKey
from relay.signing.make import make_private_key
from relay.store.interface import StoreUnavailable
from relay.store.values import NewMessage
from tests.delivery.outgoing import Outgoing, make_config, make_message, now_ms, with_lease
from tests.delivery.receiver import Do, Receiver, Session
from tests.delivery.test_connections import closed_port

_RATE = 20


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


async def test_a_limit_is_kept_and_other_mail_does_not_wait_for_it(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "rate": f"{_RATE}/s"}, "other": {"pool": "other"}}
    times: list[float] = []

    def note(session: Session, line: str) -> bytes:
        if session.client == "127.0.0.2":
            times.append(asyncio.get_running_loop().time())
        return b"250 ok\r\n"

    async with (
        Receiver({"end": note}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        for _ in range(3 * _RATE):
            await relay.send("b@example.test")
        for _ in range(20):
            await relay.send("c@example.test", configuration_set="other")
        await receiver.until(
            lambda: sum(message.client == "127.0.0.3" for message in receiver.messages) == 20
        )
        throttled = len(receiver.messages) - 20
        assert throttled <= _RATE
        await receiver.until_messages(3 * _RATE + 20)
        await relay.until_empty()
        assert relay.metric("relay_limit_waits_total", level="set", name="main") > 0
    span = times[-1] - times[0]
    assert (len(times) - _RATE) / _RATE - 0.1 <= span <= len(times) / _RATE + 1.0
    windows = [sum(start <= t < start + 1.0 for t in times) for start in times]
    assert max(windows) <= _RATE + 4  # late arrivals: the receiver's clock is not the relay's


async def test_mail_beyond_what_a_throttled_lane_keeps_waits_in_the_store_with_its_time(
    tmp_path: Path,
) -> None:
    sets = {"main": {"pool": "main", "rate": "10/min"}, "other": {"pool": "other"}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        for _ in range(60):
            await relay.send("b@example.test", lifetime=86_400)

        async def given_back() -> bool:
            return sum(not entry.claimed for entry in await relay.queue()) >= 45

        await relay.until(given_back)
        waiting = sorted(e.due_at for e in await relay.queue() if not e.claimed)
        gaps = [(after - before) / 1000 for before, after in pairwise(waiting)]
        assert min(gaps) > 5.5
        assert max(gaps) < 6.5
        assert waiting[-1] > now_ms() + 200_000
        assert all(entry.attempts == 0 for entry in await relay.queue())
        assert len(relay.scheduler._claims) <= 15


async def test_a_used_up_quota_leaves_room_for_other_mail(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "quota": 5}, "other": {"pool": "other"}}
    bounds = {"working_set": 20}
    async with (
        Receiver() as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, configuration_sets=sets, delivery=bounds)
        ) as relay,
    ):
        for _ in range(40):
            await relay.send("b@example.test", lifetime=200_000)
        for _ in range(40):
            await relay.send("c@example.test", configuration_set="other")
        await receiver.until_messages(45)

        async def settled() -> bool:
            return len(await relay.queue()) == 35 and not any(
                entry.claimed for entry in await relay.queue()
            )

        await relay.until(settled)
        assert min(e.due_at for e in await relay.queue()) > now_ms() + 20 * 3_600_000


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
    script = {"RCPT": lambda s, line: b"550 5.1.1 no\r\n" if "<b@" in line else b"250 ok\r\n"}
    async with (
        Receiver(script) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until_messages(1)
        await relay.until_empty()
        assert await relay.store.suppression("b@example.test", now_ms()) is not None
    assert b"multipart/report" in receiver.messages[0].content


async def test_a_restart_goes_on_with_the_queue(tmp_path: Path) -> None:
    async with (
        Receiver({"MAIL": Do.HANG}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        for number in range(5):
            await relay.send(f"r{number}@example.test")
        await receiver.until(lambda: receiver.open > 0)
        await relay.stop(0.0)
        del receiver.script["MAIL"]
        await relay.start()
        await receiver.until_messages(5)
        await relay.until_empty()


async def test_draining_lets_attempts_in_flight_finish_and_starts_no_more(tmp_path: Path) -> None:
    bounds = {"connections_per_destination": 1, "final_timeout": "10s"}
    async with (
        Receiver({"end": Do.SILENT}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, delivery=bounds)) as relay,
    ):
        for number in range(5):
            await relay.send(f"r{number}@example.test")
        await receiver.until(lambda: bool(receiver.sessions) and bool(receiver.sessions[0].raw))
        draining = asyncio.create_task(relay.scheduler.drain(10.0))
        await asyncio.sleep(0)
        assert not relay.scheduler.has_room()
        receiver.answer(b"250 2.0.0 taken\r\n")
        await draining
        queue = await relay.queue()
        assert len(queue) == 4
        assert not any(entry.claimed for entry in queue)
        assert len(relay.lines.of("delivery attempt")) == 1


async def test_a_store_that_fails_for_a_while_loses_no_outcome(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        settle, failures = relay.store.settle, []

        async def failing(owner: Any, settlement: Any) -> bool:
            if len(failures) < 2:
                failures.append(settlement)
                raise StoreUnavailable("the disk has gone")
            done: bool = await settle(owner, settlement)
            return done

        async def none(deliveries: Any) -> list[bool]:
            raise StoreUnavailable("the disk has gone")

        relay.store.settle, relay.store.end = failing, none
        await relay.send("b@example.test")
        await relay.until_empty()
        assert len(failures) == 2
    assert len(receiver.messages) == 1


async def test_a_lost_lease_drops_what_waits_and_begins_a_new_epoch(tmp_path: Path) -> None:
    bounds = {"connections_per_destination": 1, "command_timeout": "30s"}
    async with (
        Receiver({"MAIL": Do.HANG}) as receiver,
        Outgoing(
            with_lease(make_config(tmp_path, route=receiver.address, delivery=bounds), 0.6)
        ) as relay,
    ):
        for number in range(5):
            await relay.send(f"r{number}@example.test")
        await receiver.until(lambda: receiver.open > 0)
        first = relay.scheduler.owner
        del receiver.script["MAIL"]
        await relay.store.register(first.name, 600)  # as a second process of this name would
        await relay.until(lambda: relay.scheduler.owner.epoch > first.epoch + 1)
        await receiver.until_messages(5)
        await relay.until_empty()
        assert relay.lines.of("the lease was lost: other workers have the mail that waited here")
        assert relay.metric("relay_claims_lost_total") == 1
    assert len(receiver.messages) == 5


async def test_nothing_is_sent_when_the_lease_may_have_run_out(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(with_lease(make_config(tmp_path, route=receiver.address), 0.6)) as relay,
    ):
        renew, broken = relay.store.renew, True

        async def failing(*arguments: Any) -> bool:
            if broken:
                raise StoreUnavailable("the disk has gone")
            kept: bool = await renew(*arguments)
            return kept

        relay.store.renew = failing
        await relay.until(lambda: not relay.scheduler._claims.is_valid)
        await relay.send("b@example.test")
        await receiver.until(lambda: bool(receiver.sessions))
        assert receiver.messages == []
        broken = False
        await receiver.until_messages(1)
        await relay.until_empty()


async def test_an_unforeseen_error_defers_the_message_and_is_logged(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):

        def broken(*_: object) -> bytes:
            raise RuntimeError("no such luck")

        key = SigningKey("sender.test", "s", make_private_key("ed25519"))
        relay.scheduler._signer.keyring = type("Ring", (), {"keys_for": lambda *_: (key,)})()
        relay.scheduler._signer._sign = broken
        await relay.send("b@example.test")
        line = (await relay.until_attempted())[0]
        assert (line["kind"], line["phase"]) == ("deferred", "local")
        assert relay.lines.of("an attempt failed")
    assert receiver.messages == []


async def test_a_reload_plans_waiting_mail_anew(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "rate": "1/day"}, "other": {"pool": "other"}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        relay.scheduler._dispatcher._claims.give_back = lambda *_: None  # keep it here
        await relay.send("b@example.test")
        await relay.until(lambda: relay.lines.of("delivery attempt") or True)
        del relay.scheduler._dispatcher._claims.give_back
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


async def test_a_damaged_body_stops_its_message_only(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        damaged = await relay.send("b@example.test", body=b"x" * 78 + b"\r\n" * 50_000, offer=False)
        for file in (tmp_path / "spool").rglob("*"):
            if file.is_file():
                file.write_bytes(b"short")
        await relay.send("c@example.test")
        await receiver.until_messages(1)
        await relay.until(lambda: len(relay.scheduler._claims) == 0)
        assert damaged.body.ref
        (entry,) = await relay.queue()
        assert not entry.claimed
    assert receiver.messages[0].recipients == ["c@example.test"]


@pytest.mark.parametrize("grace", [0.0, 0.2])
async def test_a_peer_that_never_answers_does_not_hold_up_the_end(
    tmp_path: Path, grace: float
) -> None:
    bounds = {"command_timeout": "300s"}
    async with (
        Receiver({"MAIL": Do.HANG}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, delivery=bounds)) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until(lambda: bool(receiver.sessions) and receiver.sessions[0].seen["MAIL"])
        async with asyncio.timeout(5.0):
            await relay.stop(grace)
        (entry,) = await relay.queue()
        assert (entry.claimed, entry.attempts) == (False, 0)


async def test_a_thousand_lanes_under_one_limit_do_not_all_ask_at_once(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "rate": "100/s"}, "other": {"pool": "other"}}
    bounds = {"connections": 50, "idle_timeout": "200ms"}
    async with Receiver() as receiver:
        routes = {f"d{n}.test": {"to": receiver.address} for n in range(200)}
        config = make_config(tmp_path, routes=routes, configuration_sets=sets, delivery=bounds)
        async with Outgoing(config) as relay:
            admit, asked = relay.limits.admit, []

            async def counting(*arguments: Any) -> Any:
                asked.append(arguments)
                return await admit(*arguments)

            relay.limits.admit = counting  # type: ignore[method-assign]
            for n in range(200):
                await relay.send(f"b@d{n}.test")
            await receiver.until_messages(200)
            await relay.until_empty()
            assert len(asked) < 3 * 200


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


async def test_bodies_beyond_the_bound_are_read_back_when_their_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.claims.MOST_OCTETS", 100)
    body = b"0123456789abcd\r\n" * 4
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        for _ in range(10):
            await relay.send("b@example.test", body=body)
        await receiver.until_messages(10)
        await relay.until_empty()
        assert relay.scheduler._claims._octets == 0
    assert all(message.content.endswith(b"\r\n\r\n" + body) for message in receiver.messages)


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


async def test_a_cut_attempt_gives_its_delivery_back_unattempted(tmp_path: Path) -> None:
    async with (
        Receiver({"MAIL": Do.HANG}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until(lambda: bool(receiver.sessions) and receiver.sessions[0].seen["MAIL"])
        del receiver.script["MAIL"]
        for task in tuple(relay.scheduler._workers._tasks):
            task.cancel()
        await receiver.until_messages(1)
        await relay.until_empty()
        assert [line["attempt"] for line in relay.lines.of("delivery attempt")] == [1]


async def test_an_attempt_that_takes_longer_than_any_honest_peer_needs_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.scheduler.TIDY_SECONDS", 0.05)
    monkeypatch.setattr("relay.delivery.workers.LONGEST_ATTEMPT", 0.2)
    bounds = {"command_timeout": "300s"}
    async with (
        Receiver({"MAIL": Do.HANG}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, delivery=bounds)) as relay,
    ):
        await relay.send("b@example.test")
        line = (await relay.until_attempted())[0]
        assert line["kind"] == "deferred"
        assert relay.lines.of("attempt cut: it took too long")


async def test_a_delivery_that_was_lost_track_of_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.delivery.scheduler.TIDY_SECONDS", 0.05)
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        accepted = await relay.store.insert(
            NewMessage(make_message("b@example.test"), now_ms()), relay.scheduler.owner
        )
        relay.scheduler._claims.take(accepted.deliveries)  # and nobody does anything with it
        await receiver.until_messages(1)
        await relay.until_empty()
        assert relay.lines.of("deliveries were held and forgotten: given back")


async def test_mail_does_not_wait_for_the_quota_of_one_source_while_another_is_free(
    tmp_path: Path,
) -> None:
    pools = {
        "main": {"sources": [{"address": "127.0.0.2", "quota": 5}, {"address": "127.0.0.4"}]},
        "other": {"sources": [{"address": "127.0.0.3"}]},
    }
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, pools=pools)) as relay,
    ):
        await asyncio.gather(*(relay.send("b@example.test") for _ in range(60)))
        await receiver.until_messages(60)
        await relay.until_empty()
    clients = [message.client for message in receiver.messages]
    assert (clients.count("127.0.0.2"), clients.count("127.0.0.4")) == (5, 55)


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


async def test_giving_back_goes_on_after_a_failure_that_nobody_foresaw(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        config = make_config(tmp_path, route=receiver.address)
        async with Outgoing(config) as relay:
            release, failures = relay.store.release, [RuntimeError("out of threads")]

            async def fails_once(*arguments: Any) -> None:
                if failures:
                    raise failures.pop()
                await release(*arguments)

            relay.store.release = fails_once
            claims = relay.scheduler._claims
            for _ in range(2):
                message = make_message("b@example.test")
                accepted = await relay.store.insert(NewMessage(message, now_ms()), claims.owner)
                (delivery,) = claims.take(accepted.deliveries)
                claims.give_back(delivery, now_ms())
                await claims.given_back()
            await receiver.until_messages(2)
            await relay.until_empty()
