"""The part of a store that no message waits for, over either engine: permits, operators, secrets.

What operators change is found first, in short questions, and changed in parts: mail comes in
between.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from relay.store.bound import Write
from relay.store.codec import Damaged
from relay.store.interface import StoreUnavailable
from relay.store.values import (
    Message,
    PermitRequest,
    Permits,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    QueueGroup,
    QueueGrouping,
    Secret,
    State,
)

_CHANGED = 500
"""Rows that one operation changes: a few milliseconds of the writer."""


class Page(Protocol):
    """The ids of matching deliveries among the next rows, oldest message first, and the last id
    that was looked at; 0 where there are no more rows."""

    def __call__(
        self, which: QueueFilter, *, unclaimed: bool = False, quarantined: bool = False
    ) -> Awaitable[tuple[list[int], int]]: ...


@dataclass(frozen=True, slots=True)
class ListOperations:
    """What an engine does with its rows: writes in one transaction, and short questions."""

    lease: Write[PermitRequest, Permits]
    give_back: Write[tuple[str, int, int], None]
    permits_used: Callable[[Sequence[str], int, int], Awaitable[dict[str, int]]]
    page: Page
    entries: Callable[[Sequence[int]], Awaitable[list[QueueEntry]]]
    newest: Callable[[], Awaitable[int]]
    depths: Callable[[], Awaitable[list[QueueDepth]]]
    groups: Callable[[QueueGrouping], Awaitable[list[QueueGroup]]]
    set_state: Write[tuple[Sequence[int], str, State], int]
    retry_now: Write[tuple[Sequence[int], int], int]
    move: Write[tuple[Sequence[int], str], int]
    find_message: Callable[[str], Awaitable[Message | None]]
    add_secret: Write[Secret, None]
    secrets: Callable[[], Awaitable[list[Secret]]]
    revoke_secrets: Write[tuple[str, int], int]


def _parts(identifiers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(identifiers), _CHANGED):
        yield identifiers[start : start + _CHANGED]


class Lists:
    """Implements `PermitStore` and most of `OperatorStore`; stores are made of it."""

    def __init__(self, operations: ListOperations) -> None:
        self._do = operations

    # Permits

    async def lease_permits(self, request: PermitRequest) -> Permits:
        return await self._do.lease(request)

    async def return_permits(self, key: str, at: int, count: int) -> None:
        await self._do.give_back((key, at, count))

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
        return await self._do.permits_used(keys, window, now)

    # Operators

    async def queue(self, which: QueueFilter) -> list[QueueEntry]:
        found: list[QueueEntry] = []
        for some in _parts(await self._matching(which, quarantined=True)):
            found += await self._do.entries(some)
        return found

    async def matching(self, which: QueueFilter) -> Sequence[int]:
        return await self._matching(which)

    async def _matching(
        self, which: QueueFilter, *, unclaimed: bool = False, quarantined: bool = False
    ) -> list[int]:
        """As `matching`, in questions that are short enough for others to come in between."""
        found: list[int] = []
        while len(found) < which.limit:
            some, last = await self._do.page(which, unclaimed=unclaimed, quarantined=quarantined)
            found += some
            if not last:
                break
            which = replace(which, after=last)
        return found[: which.limit]

    async def newest(self) -> int:
        return await self._do.newest()

    async def depths(self) -> list[QueueDepth]:
        return await self._do.depths()

    async def groups(self, by: QueueGrouping) -> list[QueueGroup]:
        return await self._do.groups(by)

    async def set_state(self, which: QueueFilter, state: State) -> int:
        changed = 0
        for some in _parts(await self._matching(which)):
            changed += await self._do.set_state((some, which.state, state))
        return changed

    async def retry_now(self, which: QueueFilter, now: int) -> int:
        changed = 0
        for some in _parts(await self._matching(which, unclaimed=True)):
            changed += await self._do.retry_now((some, now))
        return changed

    async def move(self, which: QueueFilter, pool: str) -> int:
        changed = 0
        for some in _parts(await self._matching(which)):
            changed += await self._do.move((some, pool))
        return changed

    async def find_message(self, message_id: str) -> Message | None:
        try:
            return await self._do.find_message(message_id)
        except Damaged as error:
            raise StoreUnavailable(f"Message {message_id} is damaged: {error}") from error

    async def add_secret(self, secret: Secret) -> None:
        await self._do.add_secret(secret)

    async def secrets(self) -> list[Secret]:
        return await self._do.secrets()

    async def revoke_secrets(self, credential: str, now: int) -> int:
        return await self._do.revoke_secrets((credential, now))
