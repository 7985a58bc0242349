"""Nothing is lost and nothing hangs: faults of the store, of peers, of ours; ends and restarts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.limits.gatekeeper import Decision
from relay.signing.keys import SigningKey
from relay.signing.make import make_private_key
from relay.store.interface import StoreUnavailable
from relay.store.values import NewMessage
from tests.delivery.outgoing import Outgoing, make_config, make_message, now_ms, with_lease
from tests.delivery.receiver import Do, Receiver


class SlowLimits:
    """Limits of a relay that answer the first question when told to."""

    def __init__(self, relay: Outgoing, receiver: Receiver) -> None:
        self.relay, self.receiver = relay, receiver
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self._admit = relay.limits.admit
        relay.limits.admit = self._slowly  # type: ignore[method-assign]

    async def _slowly(self, *arguments: Any) -> Decision:
        self.asked.set()
        await self.answer.wait()
        return await self._admit(*arguments)


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
        assert not relay.scheduler.has_room("main")
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
        assert relay.metric("relay_claims_lost_total") >= 1
    assert len(receiver.messages) == 5


@pytest.fixture
async def slow_to_answer(tmp_path: Path) -> AsyncIterator[SlowLimits]:
    """A relay under a limit, the first question for which is answered when the test says so."""
    sets = {"main": {"pool": "main", "rate": "20/s"}}
    async with (
        Receiver() as receiver,
        Outgoing(
            with_lease(make_config(tmp_path, route=receiver.address, configuration_sets=sets), 0.6)
        ) as relay,
    ):
        yield SlowLimits(relay, receiver)


async def test_mail_that_asked_its_limits_when_the_lease_was_lost_is_left_to_those_who_have_it(
    slow_to_answer: SlowLimits,
) -> None:
    relay, receiver = slow_to_answer.relay, slow_to_answer.receiver
    await relay.send("b@example.test")
    await slow_to_answer.asked.wait()
    first = relay.scheduler.owner
    await relay.store.register(first.name, 600)  # as a second process of this name would
    await relay.until(lambda: relay.scheduler.owner.epoch > first.epoch + 1)
    slow_to_answer.answer.set()
    await relay.until_empty()
    assert len(receiver.messages) == 1
    assert relay.metric("relay_claims_lost_total") == 0


async def test_mail_whose_limits_take_long_to_answer_is_not_forgotten(
    slow_to_answer: SlowLimits,
) -> None:
    relay = slow_to_answer.relay
    await relay.send("b@example.test")
    await slow_to_answer.asked.wait()
    for _ in range(3):
        relay.scheduler._look_for_lost()
    assert [entry.claimed for entry in await relay.queue()] == [True]
    slow_to_answer.answer.set()
    await relay.until_empty()
    assert not relay.lines.of("deliveries were held and forgotten: given back")


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
