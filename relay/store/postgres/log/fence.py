"""The fence of the log: a scribe writes as long as its node has the duty, and not a row later.

A process that was stopped goes on where it was, and does not know for how long. So each transaction
looks for the duty first, and holds its row until it has ended: who takes the duty over waits for
it, and finds a log that nobody else changes any more.
"""

from collections.abc import Sequence
from typing import TypeVar

from relay.store.fleet_values import HeldDuty
from relay.store.log_interface import FiledElsewhere
from relay.store.postgres.requests import Operation
from relay.store.postgres.session import Session

A = TypeVar("A")
R = TypeVar("R")

_HOLD = "SELECT 1 FROM duty WHERE name = $1 AND epoch = $2 FOR SHARE"


def fenced(operation: Operation[A, R], duty: HeldDuty) -> Operation[A, R]:
    """`operation` for who has that duty; raises `FiledElsewhere` for who has it no more."""

    async def guarded(db: Session, requests: Sequence[A]) -> Sequence[R]:
        if await db.fetchval(_HOLD, duty.name, duty.epoch) is None:
            raise FiledElsewhere(f"The duty {duty.name} is not this node's any more.")
        return await operation(db, requests)

    return guarded
