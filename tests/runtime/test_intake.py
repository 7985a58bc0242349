"""The seam between accepting and delivering, over a real store."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.intake import Intake
from relay.runtime.queue_clock import QueueClock
from relay.store.sqlite import SqliteStore
from relay.store.suppression_values import Author
from relay.store.values import (
    Body,
    Delivery,
    Message,
    NewMessage,
    Owner,
    SuppressionEntry,
)

NOW = 1_800_000_000_000


@dataclass
class Waiting:
    """What the intake needs of a scheduler."""

    owner: Owner
    room: bool = True
    offered: list[Delivery] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)

    def has_room(self, configuration_set: str) -> bool:
        return self.room

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        self.offered += deliveries

    def expect(self, due_at: int, configuration_set: str) -> None:
        self.expected.append(due_at)


def message(*recipients: str, due_at: int = NOW) -> NewMessage:
    content = b"Hello.\r\n"
    return NewMessage(
        Message(
            id=new_message_id(NOW),
            accepted_at=NOW,
            expires_at=NOW + 3_600_000,
            envelope=Envelope("a@sender.test", tuple(map(Recipient, recipients))),
            credential="app",
            configuration_set="default",
            identity="sender.test",
            header=b"From: a@sender.test\r\n",
            body=Body(len(content), sha256(content).digest(), inline=content),
        ),
        due_at,
        ("manual",),
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, log=make_logger(level="error"))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def scheduler(store: SqliteStore) -> Waiting:
    return Waiting(await store.register("relay", 30_000))


@pytest.fixture
def intake(store: SqliteStore, scheduler: Waiting) -> Intake:
    return Intake(
        store,
        scheduler,
        Metrics(),
        make_logger(level="error"),
        QueueClock(lambda: 0.0, lambda: NOW),
    )


async def test_a_message_is_handed_over_claimed_and_is_not_read_back(
    intake: Intake, scheduler: Waiting, store: SqliteStore
) -> None:
    await intake.accept(message("x@dest.test"))
    assert [delivery.epoch for delivery in scheduler.offered] == [scheduler.owner.epoch]
    assert await store.claim(scheduler.owner, NOW, 10) == []
    assert intake.accepted.total(time.monotonic()) == 1


async def test_without_room_in_memory_a_message_waits_in_the_store(
    intake: Intake, scheduler: Waiting, store: SqliteStore
) -> None:
    scheduler.room = False
    await intake.accept(message("x@dest.test"))
    assert scheduler.offered == []
    assert scheduler.expected == [NOW]
    assert len(await store.claim(scheduler.owner, NOW, 10)) == 1


async def test_a_message_that_may_go_later_is_expected_then(
    intake: Intake, scheduler: Waiting
) -> None:
    await intake.accept(message("x@dest.test", due_at=NOW + 5_000))
    assert scheduler.offered == []
    assert scheduler.expected == [NOW + 5_000]


async def test_a_message_whose_owner_has_lost_its_lease_is_not_handed_over(
    intake: Intake, scheduler: Waiting, store: SqliteStore
) -> None:
    successor = await store.register("relay", 30_000)
    await intake.accept(message("x@dest.test"))
    assert scheduler.offered == []
    assert len(await store.claim(successor, NOW, 10)) == 1


async def test_a_message_to_suppressed_recipients_only_leaves_nothing_to_deliver(
    intake: Intake, scheduler: Waiting, store: SqliteStore
) -> None:
    await store.suppressions.put(
        [SuppressionEntry("x@dest.test", "manual", "operator", NOW)], Author("tester", NOW)
    )
    accepted = await intake.accept(message("X@dest.test"))
    assert [suppressed.address for suppressed in accepted.suppressed] == ["X@dest.test"]
    assert scheduler.offered == scheduler.expected == []


async def test_a_caller_that_goes_away_leaves_no_message_claimed_and_forgotten(
    intake: Intake, scheduler: Waiting
) -> None:
    accepting = asyncio.create_task(intake.accept(message("x@dest.test")))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    async with asyncio.timeout(10):
        while not scheduler.offered:
            await asyncio.sleep(0.001)
