"""What is sent from a store that others share: noted before, and only while the lease runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Config
from relay.delivery import going_out
from relay.delivery.claims import Claims
from relay.delivery.going_out import GoingOut
from relay.store.interface import StoreUnavailable
from relay.store.values import Owner
from tests.delivery.outgoing import Outgoing, make_config
from tests.delivery.receiver import Do, Receiver
from tests.delivery.test_suspending import resume, suspend, until_set_aside


def shared(directory: Path, receiver: Receiver) -> Config:
    return make_config(
        directory, route=receiver.address, store={"url": "postgresql://relay@db.test/relay"}
    )


async def test_what_is_sent_is_noted_before_the_receiver_hears_of_it(tmp_path: Path) -> None:
    async with Receiver() as receiver, Outgoing(shared(tmp_path, receiver)) as relay:
        notes: list[tuple[Sequence[int], int]] = []

        async def note(owner: Owner, deliveries: Sequence[int]) -> None:
            notes.append((tuple(deliveries), len(receiver.messages)))

        relay.store.note_sending = note
        await relay.send("a@example.test")
        await relay.until_empty()
        ((noted, arrived),) = notes
        assert (len(noted), arrived) == (1, 0)
    assert len(receiver.messages) == 1


async def test_what_was_taken_stays_noted_until_its_outcome_is_stored(tmp_path: Path) -> None:
    async with Receiver() as receiver, Outgoing(shared(tmp_path, receiver)) as relay:
        notes: list[Sequence[int]] = []
        stored = asyncio.Event()
        end = relay.store.end

        async def note(owner: Owner, deliveries: Sequence[int]) -> None:
            notes.append(tuple(deliveries))

        async def end_later(batch: Any) -> Any:
            await stored.wait()
            return await end(batch)

        relay.store.note_sending = note
        relay.store.end = end_later
        await relay.send("a@example.test")
        await relay.until(lambda: len(receiver.messages) == 1)
        await relay.send("b@example.test")
        await relay.until(lambda: len(receiver.messages) == 2)
        stored.set()
        await relay.until_empty()
        await relay.send("c@example.test")
        await relay.until_empty()
    first, second, third = map(set, notes)
    assert first < second
    assert len(third - second) == len(third) == 1


async def test_mail_that_cannot_be_noted_waits_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(going_out, "PAUSE", 0.02)
    async with Receiver() as receiver, Outgoing(shared(tmp_path, receiver)) as relay:
        refused: list[int] = []

        async def note(owner: Owner, deliveries: Sequence[int]) -> None:
            if len(refused) < 3:
                refused.append(len(receiver.messages))
                raise StoreUnavailable("the database is away")

        relay.store.note_sending = note
        await relay.send("a@example.test")
        await relay.until_empty()
        assert refused == [0, 0, 0]
        assert len(relay.lines.of("mail waits: what is to be sent cannot be noted")) == 1
    assert len(receiver.messages) == 1


async def test_mail_whose_note_took_long_asks_its_limits_again(tmp_path: Path) -> None:
    """What had its permits when the store fell silent went all at once when it came back."""
    sets = {"main": {"pool": "main", "rate": "5/s"}}
    arrived: list[float] = []

    def taken(session: object, line: str) -> bytes:
        arrived.append(asyncio.get_running_loop().time())
        return b"250 ok\r\n"

    async with (
        Receiver({"end": taken}) as receiver,
        Outgoing(
            make_config(
                tmp_path,
                route=receiver.address,
                configuration_sets=sets,
                store={"url": "postgresql://relay@db.test/relay"},
            )
        ) as relay,
    ):
        speaks = asyncio.Event()

        async def note(owner: Owner, deliveries: Sequence[int]) -> None:
            await speaks.wait()

        relay.store.note_sending = note
        for number in range(12):
            await relay.send(f"r{number}@x{number}.test")
        await asyncio.sleep(2.2)
        assert relay.scheduler._workers.carrying()
        speaks.set()
        await relay.until_empty()
    assert max(sum(at <= other < at + 0.9 for other in arrived) for at in arrived) <= 5


def test_a_store_that_is_always_slow_makes_nothing_late() -> None:
    notes = GoingOut(*[None] * 4)  # type: ignore[arg-type]
    assert not notes.is_late(0.09)
    late = [notes.is_late(0.4) for _ in range(100)]
    assert late[0]
    assert not any(late[50:])


async def test_a_lease_that_runs_out_in_the_middle_stops_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = [True]
    monkeypatch.setattr(Claims, "is_valid", property(lambda _: valid[0]))

    def too_late(session: object, line: str) -> bytes:
        valid[0] = False
        return b"354 go ahead\r\n"

    async with (
        Receiver({"DATA": too_late}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("a@example.test")
        event = "not sent: the lease ran out, and another worker may have taken it over"
        await relay.until(lambda: relay.lines.of(event))
        assert not receiver.messages
        del receiver.script["DATA"]
        valid[0] = True
        relay.scheduler.wake()
        await relay.until_empty()
    assert len(receiver.messages) == 1


async def test_a_lease_that_was_lost_and_begun_anew_in_the_middle_stops_the_message(
    tmp_path: Path,
) -> None:
    def lost_and_begun_anew(session: object, line: str) -> bytes:
        claims = relay.scheduler._claims
        claims._held.clear()
        claims.owner = replace(claims.owner, epoch=claims.owner.epoch + 1)
        return b"354 go ahead\r\n"

    async with (
        Receiver({"DATA": lost_and_begun_anew}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("a@example.test")
        event = "not sent: the lease ran out, and another worker may have taken it over"
        await relay.until(lambda: relay.lines.of(event))
        assert relay.scheduler._claims.is_valid
    assert not receiver.messages


async def test_what_a_dead_owner_was_sending_is_counted_and_sent_and_told_of_later(
    tmp_path: Path,
) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, delivery={"dialogues": "failures"})
        ) as relay,
    ):
        claim = relay.store.claim

        async def doubtful(*args: Any) -> Any:
            return [replace(delivery, doubtful=True) for delivery in await claim(*args)]

        relay.store.claim = doubtful
        message = await relay.send("a@example.test", offer=False)
        relay.scheduler.wake()
        await relay.until_empty()
        assert relay.metric("relay_possible_duplicates_total") == 1
        (attempt,) = await relay.store.attempts.of(message.id, 10)
        assert "may have come twice" in attempt.dialogue[0].text
    assert len(receiver.messages) == 1


async def test_what_may_come_twice_is_counted_once_however_often_it_is_claimed(
    tmp_path: Path,
) -> None:
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        claim = relay.store.claim

        async def doubtful(*args: Any) -> Any:
            return [replace(delivery, doubtful=True) for delivery in await claim(*args)]

        relay.store.claim = doubtful
        await suspend(relay, ("domain", "example.test"))
        await relay.send("a@example.test", offer=False)
        relay.scheduler.wake()
        await until_set_aside(relay, 1)
        assert relay.metric("relay_possible_duplicates_total") == 0
        await resume(relay, "domain", "example.test")
        await relay.until_empty()
        assert relay.metric("relay_possible_duplicates_total") == 1
    assert len(receiver.messages) == 1


async def test_what_is_cut_at_the_end_is_freed_with_its_note_and_not_given_back_before(
    tmp_path: Path,
) -> None:
    sent: list[str] = []

    def keep_waiting(session: object, line: str) -> Do:
        sent.append(line)
        return Do.SILENT

    async with (
        Receiver({"end": keep_waiting}) as receiver,
        Outgoing(shared(tmp_path, receiver)) as relay,
    ):
        asked: list[str] = []
        release, resign = relay.store.release, relay.store.resign

        async def released(owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None:
            asked.append("release")
            await release(owner, deliveries)

        async def resigned(owner: Owner) -> None:
            asked.append("resign")
            await resign(owner)

        relay.store.release, relay.store.resign = released, resigned
        await relay.send("a@example.test")
        await relay.until(lambda: sent)
        await relay.stop(0.0)
        assert asked == ["resign"]
        (left,) = await relay.queue()
        assert not left.claimed
        await relay.start()


async def test_mail_that_other_nodes_leave_is_found_within_seconds(tmp_path: Path) -> None:
    async with Receiver() as receiver, Outgoing(shared(tmp_path, receiver)) as relay:
        await relay.until(lambda: relay.scheduler._claiming._ask_at > 0)  # it has looked once
        await relay.send("a@example.test", offer=False)  # and nobody tells of it
        await relay.until_empty(4.0)
    assert len(receiver.messages) == 1
