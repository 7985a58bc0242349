"""Outcomes reach the store together where they can, alone where they must, and none is lost."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from relay.delivery import settling
from relay.delivery.settling import MOST_UNSETTLED, Settling
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.interface import QueueStore, StoreUnavailable
from relay.store.values import Delivery, Owner, Settlement
from tests.delivery.outgoing import Lines, make_message


class Store:
    """Notes what it is asked for; each `gate` holds one batch up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.alone: list[int] = []
        self.refused: set[int] = set()
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def end(self, settlements: Sequence[Settlement]) -> list[bool]:
        deliveries = [settlement.delivery for settlement in settlements]
        self.batches.append([delivery.id for delivery in deliveries])
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return [delivery.id not in self.refused for delivery in deliveries]

    async def settle(self, owner: Owner, settlement: Settlement) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        assert owner == Owner("me", settlement.delivery.epoch)
        self.alone.append(settlement.delivery.id)
        return settlement.delivery.id not in self.refused


class Desk:
    """A `Settling` over a `Store`, and whose claims have ended."""

    def __init__(self) -> None:
        self.store, self.lines, self.metrics = Store(), Lines(), Metrics()
        self.done: list[int] = []
        log = make_logger("json", "debug", cast("Any", self.lines))
        store = cast("QueueStore", self.store)
        self.settling = Settling(store, self.metrics, log, lambda d: self.done.append(d.id))

    def end(self, *numbers: int, **changes: Any) -> None:
        for number in numbers:
            self.settling.settle("me", Settlement(delivery(number), **changes))

    async def finish(self) -> None:
        await self.settling.finish(5.0)


def delivery(number: int) -> Delivery:
    message = make_message("b@example.test")
    return Delivery(number, message, "example.test", message.envelope.recipients, 0, epoch=7)


async def test_what_ends_while_the_store_is_busy_goes_together() -> None:
    desk = Desk()
    desk.store.gate.clear()
    desk.end(1, 2)
    await asyncio.sleep(0)
    desk.end(3)
    desk.end(4)
    assert len(desk.settling) == 4
    assert desk.settling.ids == {1, 2, 3, 4}
    desk.store.gate.set()
    await desk.finish()
    assert desk.store.batches == [[1, 2], [3, 4]]
    assert desk.done == [1, 2, 3, 4]
    assert len(desk.settling) == 0


async def test_an_outcome_with_more_to_note_goes_alone() -> None:
    desk = Desk()
    desk.end(1, remaining=delivery(1).recipients, due_at=5)
    desk.end(2)
    await desk.finish()
    assert (desk.store.alone, desk.store.batches) == ([1], [[2]])


@pytest.mark.parametrize("fault", [StoreUnavailable("no disk"), RuntimeError("no luck")])
async def test_a_batch_that_fails_is_settled_one_by_one(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_RETRY_FIRST", 0.01)
    desk = Desk()
    desk.store.failures = [fault, StoreUnavailable("still none")]
    desk.end(1, 2, 3)
    await desk.finish()
    assert sorted(desk.store.alone) == sorted(desk.done) == [1, 2, 3]
    assert desk.lines.of("an outcome could not be stored; trying again")


async def test_an_outcome_that_another_worker_has_overtaken_ends_its_claim_and_is_told() -> None:
    desk = Desk()
    desk.store.refused = {2}
    desk.end(1, 2)
    await desk.finish()
    assert desk.done == [1, 2]
    assert len(desk.lines.of("outcome dropped: another worker has taken the delivery over")) == 1


async def test_delivering_waits_while_too_much_is_unsettled() -> None:
    desk = Desk()
    desk.store.gate.clear()
    desk.end(*range(MOST_UNSETTLED - 1))
    assert not desk.settling.is_full
    desk.end(MOST_UNSETTLED)
    assert desk.settling.is_full
    waiting = asyncio.create_task(desk.settling.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.store.gate.set()
    await waiting
    await desk.finish()


async def test_what_the_store_never_takes_is_told_at_the_end() -> None:
    desk = Desk()
    desk.store.gate.clear()
    desk.end(1, 2)
    await desk.settling.finish(0.05)
    [line] = desk.lines.of("outcomes could not be stored: these messages may be delivered twice")
    assert line["count"] == 2
    assert desk.done == []
