"""A rolling 24-hour quota, spent from blocks of permits leased from the store.

The store's count is the truth: exact, persistent, shared by all processes. To keep the store out
of the way of each message a ledger leases about a hundredth of the quota at a time and spends it
locally. What is leased counts as used: a process that dies forgets at most one block, and the
quota is never exceeded for it. A block is spent within a minute or given back, so that a permit
leaves the window when its mail does. Where other nodes have the same quota it is given back within
seconds, and half of what is free is left to them: no node waits for what another does not need.

Of the block at hand some may be lent to another process for a second. What comes back unspent joins
its block, or goes to the store with the next question where that block is used up.

One question to the store is under way at a time, in order of arrival, and it asks for all who
wait. Where the store fails nothing is let through, and for a second it is not asked again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from relay.store.interface import StoreError
from relay.store.values import PermitRequest, Permits

DAY_MS = 86_400_000
_BLOCKS = 100  # blocks that make up a quota
_BLOCK_AGE = 60_000  # ms in which a block is spent, or given back
_SHARED_AGE = 2_000  # ms; where other nodes may need it
_LOAN = 4  # a loan is one part in so many of what is free
_MEMORY = 1_000  # ms for which "none free" and "store down" are believed without asking again


class PermitSource(Protocol):
    """The part of the store that keeps windows (`relay.store.interface.PermitStore`)."""

    async def lease_permits(self, request: PermitRequest) -> Permits: ...

    async def return_permits(self, key: str, at: int, count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """`charged` permits may be used from `at` on (UTC ms; 0: at once). Where nothing was charged
    `at` says when to ask again, and `failed` that the store could not be asked."""

    charged: bool
    at: int = 0
    failed: bool = False


AT_ONCE = Grant(charged=True)


def _is_for_later(request: PermitRequest, permits: Permits) -> bool:
    """Whether permits were charged at a time that is yet to come. What is not to be queued is
    granted at once or not at all: a store whose clock is ahead of ours, or that took a moment to
    answer, says no more by a later time than that."""
    return request.queue and permits.at > request.now


class QuotaLedger:
    """The quota of one key in this process. `now` gives UTC milliseconds that never run back."""

    def __init__(
        self,
        key: str,
        limit: int,
        store: PermitSource,
        now: Callable[[], int],
        *,
        is_shared: bool = False,
    ) -> None:
        self.limit = limit
        self._is_shared = is_shared
        self._block_age = _SHARED_AGE if is_shared else _BLOCK_AGE
        self._key = key
        self._store = store
        self._now = now
        self._free = 0
        self._leased_at = 0  # by the clock of the store
        self._taken_at = 0  # by ours
        self._plenty = False  # the last block was granted whole
        self._owed: dict[int, int] = {}  # permits of earlier blocks, by when those were leased
        self._refusal: Grant | None = None
        self._refused_until = 0
        self._wanted = 0
        self._lock = asyncio.Lock()
        self._abandoned: set[asyncio.Task[Permits]] = set()

    @property
    def free(self) -> int:
        """Permits leased and not spent, those that were lent not among them."""
        return self._free + sum(self._owed.values())

    @property
    def block(self) -> int:
        """What tells the block at hand from others."""
        return self._leased_at

    @property
    def is_idle(self) -> bool:
        """Whether the store knows all that it knows."""
        return not (self._free or self._owed or self._wanted or self._abandoned)

    def spare(self) -> int:
        """How many permits may be lent. None where the quota is nearly used up: the last ones go
        to whoever needs them."""
        return self._free // _LOAN if self._plenty and not self._wanted else 0

    def lend(self, n: int) -> None:
        """Spend `n` permits, no more than can be spared."""
        self._free -= n

    def restore(self, n: int, block: int) -> None:
        """Permits of a block come back unspent."""
        if block == self._leased_at:
            self._free += n
        else:
            self._owed[block] = self._owed.get(block, 0) + n
        if self._refusal is not None and not self._refusal.failed:
            self._refusal = None

    def take(self, n: int) -> bool:
        """Spend `n` permits of the block at hand, without waiting; False where that is not
        possible now: too few, too old, or others wait for them."""
        if self._free < n or self._lock.locked():
            return False
        if self._is_old():
            return False
        self._free -= n
        return True

    def refusal(self) -> Grant | None:
        """The last answer of the store, where it was no and is still fresh."""
        if self._refusal is None:
            return None
        if self._now() >= self._refused_until:
            self._refusal = None
        return self._refusal

    async def lease(self, n: int, patience: float, ahead: int = 0) -> Grant:
        """Spend `n` permits; ask the store where the block at hand does not hold them. `ahead` says
        how many will be asked for next.

        Where none is free they are charged at the time when one frees, unless that is more than
        `patience` ms away: then nothing is charged.
        """
        self._wanted += n + ahead
        try:
            async with self._lock:
                return await self._lease(n, patience)
        finally:
            self._wanted -= n + ahead

    async def _lease(self, n: int, patience: float) -> Grant:
        grant = self.refusal() or await self._refill(n)
        if grant.charged or grant.failed or grant.at - self._now() > patience:
            return grant
        return await self._ask(n, n, queue=True)

    async def _refill(self, n: int) -> Grant:
        """Spend from the block at hand, or give it back and lease a new one."""
        if self._free and (self._free < n or self._is_old()):
            self._owe_block()
        try:
            await self._pay_back()
        except StoreError:
            return self._refuse(Grant(charged=False, at=self._now() + _MEMORY, failed=True))
        if self._free >= n:
            self._free -= n
            return AT_ONCE
        return await self._ask(n, max(n, self.limit // _BLOCKS, self._wanted), queue=False)

    async def _ask(self, n: int, block: int, *, queue: bool) -> Grant:
        now = self._now()
        request = PermitRequest(
            self._key, self.limit, DAY_MS, n, block, now, queue, self._is_shared
        )
        try:
            permits = await self._undisturbed(request)
        except StoreError:
            return self._refuse(Grant(charged=False, at=self._now() + _MEMORY, failed=True))
        if permits.granted < n:
            return self._refuse(Grant(charged=False, at=permits.at))
        if _is_for_later(request, permits):
            return Grant(charged=True, at=permits.at)
        self._take_block(permits, block, now)
        self._free -= n
        return AT_ONCE

    def _is_old(self) -> bool:
        """Whether the block at hand is to be given back. Its age is measured by one clock alone:
        that of a shared store may be another."""
        return self._now() - self._taken_at > self._block_age

    def _take_block(self, permits: Permits, wanted: int, asked_at: int) -> None:
        if self._free and permits.at != self._leased_at:
            self._owe_block()
        self._free += permits.granted
        self._leased_at = permits.at
        self._taken_at = asked_at
        self._plenty = permits.granted >= max(wanted, self.limit // _BLOCKS)

    def _owe_block(self) -> None:
        self._owed[self._leased_at] = self._owed.get(self._leased_at, 0) + self._free
        self._free = 0

    async def _pay_back(self) -> None:
        """Give to the store what is owed. Raises `StoreError`; what is left stays owed."""
        while self._owed:
            block, count = self._owed.popitem()
            try:
                await self._store.return_permits(self._key, block, count)
            except StoreError:
                self._owed[block] = self._owed.get(block, 0) + count
                raise

    async def _undisturbed(self, request: PermitRequest) -> Permits:
        """Ask the store to the end, also where the client who asked goes away meanwhile."""
        asking = asyncio.ensure_future(self._store.lease_permits(request))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._abandoned.add(asking)
            asking.add_done_callback(partial(self._keep_abandoned, request))
            raise

    def _keep_abandoned(self, request: PermitRequest, asking: "asyncio.Task[Permits]") -> None:
        """What the store granted to a client who left serves the next one."""
        self._abandoned.discard(asking)
        if asking.cancelled() or asking.exception() is not None:
            return
        permits = asking.result()
        if permits.granted and not _is_for_later(request, permits):
            self._take_block(permits, self.limit, request.now)

    def _refuse(self, grant: Grant) -> Grant:
        self._refusal = grant
        self._refused_until = min(grant.at, self._now() + _MEMORY)
        return grant

    async def free_at(self) -> int:
        """When the next permit may be had, in UTC ms; nothing is spent by asking."""
        grant = await self.lease(1, patience=0)
        if grant.charged:
            await self.give_back(1, grant, self.block)
        return grant.at or self._now()

    async def give_back(self, n: int, grant: Grant, block: int) -> None:
        """Undo a grant: another limit did not let the message through. `block` was at hand then.

        Where the store cannot take it back it stays counted, which errs on the safe side.
        """
        self.undo(n, grant, block)
        if grant.at:
            with suppress(StoreError):
                await self._store.return_permits(self._key, grant.at, n)

    def undo(self, n: int, grant: Grant, block: int) -> None:
        """Undo a grant without waiting; one for later stays counted."""
        if not grant.at:
            self.restore(n, block)

    async def give_back_old(self) -> None:
        """Give back a block that nobody has spent in time. Raises `StoreError`."""
        if self._free and self._is_old() and not self._lock.locked():
            self._owe_block()
        if self._owed:
            async with self._lock:
                await self._pay_back()

    async def close(self) -> None:
        """Give back what is leased and unspent."""
        for asking in tuple(self._abandoned):
            await asyncio.wait([asking])
        if self._free:
            self._owe_block()
        await self._pay_back()
