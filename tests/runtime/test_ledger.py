"""The metrics of all processes as one: what was counted is never forgotten."""

from typing import Any

from relay.observe.merging import take_stock
from relay.observe.metrics import Metrics
from relay.runtime.ledger import Ledger


class Worker:
    is_ready = True
    stock = ()


class OneWorker:
    """A crew of one, which has accepted a message."""

    def __init__(self) -> None:
        self.counted = Metrics()
        self.counted.store_errors.labels("busy").inc()
        self.member: Any = Worker()

    @property
    def ready(self) -> list[Any]:
        return [self.member] if self.member.is_ready else []

    async def ask_one(self, *_: object) -> tuple[Any, ...]:
        return (take_stock(self.counted.registry),)


async def total(ledger: Ledger) -> float:
    return sum(
        sample[-1]
        for family in await ledger.balance()
        for sample in map(_values, family.samples)
        if sample[0] == "relay_store_errors_total"
    )


def _values(sample: Any) -> tuple[Any, Any]:
    return sample.name, sample.value


async def test_counters_do_not_run_backwards_while_a_dead_worker_is_buried() -> None:
    crew: Any = OneWorker()
    ledger = Ledger((crew,), Metrics())
    assert await total(ledger) == 1
    crew.member.is_ready = False  # dead; its mail is being freed, its account is open
    assert await total(ledger) == 1
    ledger.close_account(crew.member)
    assert await total(ledger) == 1
