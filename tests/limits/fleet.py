"""Nodes that share limits, in simulated time: a store of shares kept in memory, with a line to it
that is slow, and nodes that die or stand still."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random

from relay.limits.limits import Limit, Limits
from relay.limits.sharing import Sharing
from relay.store.fleet_values import Membership, Share, ShareWish
from relay.store.interface import StoreUnavailable
from relay.store.sharing import Cooling, Holding, settle
from tests.limits.conftest import MemoryPermits
from tests.limits.simulation import Worker, now, wall

LEASE = 4.0  # seconds


class MemoryShares:
    """The contract of `ShareStore`, and as much of `FleetStore` as that needs."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, Holding]] = {}
        self.cooling: dict[str, list[Cooling]] = {}
        self.renewed: dict[int, int] = {}  # ms, of each epoch
        self.is_broken = False
        self.asked = 0

    def join(self) -> Membership:
        epoch = len(self.renewed) + 1
        self.renewed[epoch] = wall()
        return Membership(f"node-{epoch}", epoch, round(LEASE * 1000))

    def beat(self, member: Membership) -> None:
        if self.is_broken:
            raise StoreUnavailable("the store is away")
        self.renewed[member.epoch] = wall()

    async def settle(self, member: Membership, wishes: Sequence[ShareWish]) -> list[Share]:
        if self.is_broken:
            raise StoreUnavailable("the store is away")
        self.asked += 1
        return [self._settle(member, wish) for wish in wishes]

    def _settle(self, member: Membership, wish: ShareWish) -> Share:
        rows = self.rows.setdefault(wish.key, {})
        for epoch, row in tuple(rows.items()):
            over = self.renewed[epoch] + round(LEASE * 1000)
            if wall() >= over + row.window:
                del rows[epoch]
            elif wall() >= over and epoch != member.epoch:
                rows[epoch] = Holding(epoch, row.limit, row.window, row.held, 0, row.since)
        cooling = self.cooling.setdefault(wish.key, [])
        settled = settle(member.epoch, wish, wall(), rows.values(), cooling)
        if settled.holding is None:
            rows.pop(member.epoch, None)
        else:
            rows[member.epoch] = settled.holding
        if settled.cooling is not None:
            cooling.append(settled.cooling)
        counted = sum(row.held for row in rows.values())
        counted += sum(one.amount for one in cooling if one.until > wall())
        assert counted <= max(wish.limit, max(row.limit for row in rows.values()) if rows else 0)
        return settled.share


class FarShares:
    """The store as one node reaches it; each way takes as long as `delay` says."""

    def __init__(self, store: MemoryShares, delay: Callable[[], float]) -> None:
        self._store = store
        self._delay = delay
        self.stalled_until = 0.0

    async def settle(self, member: Membership, wishes: Sequence[ShareWish]) -> list[Share]:
        await asyncio.sleep(self._delay())
        shares = await self._store.settle(member, wishes)
        await asyncio.sleep(self._delay())
        await asyncio.sleep(max(0.0, self.stalled_until - now()))
        return shares


class Node:
    """One relay with one worker."""

    def __init__(
        self, store: MemoryShares, specs: Mapping[str, Limit], rng: Random, delay: float
    ) -> None:
        self.store = store
        self.member: Membership | None = store.join()
        self.valid_until = now() + LEASE
        self.is_alive = True
        far = FarShares(store, lambda: rng.expovariate(1 / delay) if delay else 0.0)
        self._far = far
        self.sharing = Sharing(far, self, now)
        self.limits = Limits(MemoryPermits(), now, wall, self.sharing)
        self.limits.configure(specs)
        self.worker = Worker(self.limits, specs, rng, delay=0.0001)
        self._stalled_until = 0.0
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._run())]

    async def _run(self) -> None:
        await self.sharing.run()

    async def _beat(self) -> None:
        while True:
            asked_at = now()
            try:
                assert self.member is not None
                self.store.beat(self.member)
                self.valid_until = asked_at + LEASE
            except StoreUnavailable:
                pass
            await asyncio.sleep(max(1.0, self._stalled_until - now()))

    def stall(self, seconds: float) -> None:
        """The whole relay stands still for a while."""
        self._stalled_until = now() + seconds
        self._far.stalled_until = self._stalled_until
        self.worker.stall(seconds)

    @property
    def gone(self) -> list[tuple[float, int]]:
        return self.worker.gone

    def spent(self, since: float, until: float) -> int:
        return sum(n for at, n in self.gone if since <= at < until)

    async def die(self) -> None:
        """What it holds is lost."""
        self.is_alive = False
        await self.worker.die()
        await self._end()

    async def stop(self) -> None:
        """End in good order."""
        self.is_alive = False
        await self.worker.stop()
        await self.worker.limits.close()
        await self._end()
        await self.sharing.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
