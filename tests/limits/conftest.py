"""Clocks that tests turn by hand, and a store of permits kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from relay.store.interface import StoreError
from relay.store.values import PermitRequest, Permits


@dataclass
class Clock:
    """Monotonic seconds and UTC milliseconds that move together unless told otherwise."""

    mono: float = 1_000.0
    wall_ms: int = 1_800_000_000_000

    def monotonic(self) -> float:
        return self.mono

    def wall(self) -> int:
        return self.wall_ms

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.wall_ms += round(seconds * 1000)


@dataclass
class MemoryPermits:
    """The contract of `PermitStore`, by the letter: every charge with its time."""

    charges: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    requests: list[PermitRequest] = field(default_factory=list)
    broken: bool = False

    def used(self, key: str, window: int, now: int) -> int:
        return sum(n for at, n in self.charges.get(key, []) if at > now - window)

    async def lease_permits(self, request: PermitRequest) -> Permits:
        self.requests.append(request)
        if self.broken:
            raise StoreError("the medium is gone")
        key, limit, window, now = request.key, request.limit, request.window, request.now
        used = self.used(key, window, now)
        if used < limit:
            granted = max(request.need, min(request.block, limit - used))
            self.charges.setdefault(key, []).append((now, granted))
            return Permits(granted, now)
        frees_at = now
        for at, n in sorted(self.charges[key]):
            if at <= now - window:
                continue
            used -= n
            if used < limit:
                frees_at = at + window
                break
        if not request.queue:
            return Permits(0, frees_at)
        self.charges[key].append((frees_at, request.need))
        return Permits(request.need, frees_at)

    async def return_permits(self, key: str, at: int, count: int) -> None:
        if self.broken:
            raise StoreError("the medium is gone")
        self.charges.setdefault(key, []).append((at, -count))

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]:
        return {key: self.used(key, window, now) for key in keys}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def permits() -> MemoryPermits:
    return MemoryPermits()


@pytest.fixture(scope="session")
def clock_type() -> type[Clock]:
    """For property tests, which need a fresh clock for each example."""
    return Clock


@pytest.fixture(scope="session")
def permits_type() -> type[MemoryPermits]:
    """For property tests, which need a fresh store for each example."""
    return MemoryPermits
