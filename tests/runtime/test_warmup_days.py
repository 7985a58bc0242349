"""A warm-up over days of simulated time: two workers that send all that they may, one authority,
days that turn. What no provider may ever see is checked in every window."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest

from relay.limits.limits import Limits
from relay.limits.warmup import limits_in_force, warmup_key
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime import warmup_clock
from relay.runtime.warmup_clock import WarmupClock
from relay.store.values import WarmupProgress
from tests.delivery.outgoing import make_config
from tests.limits.conftest import MemoryPermits
from tests.limits.simulation import Worker, now, simulate, wall

ADDRESS = "127.0.0.2"
KEYS = (warmup_key(ADDRESS), warmup_key(ADDRESS, "google"))
DAYS = [40, 60, 90, 140]
GOOGLE = [8, 16, 32]
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0


@pytest.fixture(autouse=True)
def look_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a minute is 2,880 times a simulated day."""
    monkeypatch.setattr(warmup_clock, "LOOK_SECONDS", 600.0)


@dataclass
class MemoryWarmups:
    """The contract of `WarmupStore`, by the letter."""

    rows: dict[str, WarmupProgress] = field(default_factory=dict)

    async def all(self) -> list[WarmupProgress]:
        return [self.rows[address] for address in sorted(self.rows)]

    async def replace(self, known: WarmupProgress | None, new: WarmupProgress) -> bool:
        if self.rows.get(new.address) != known:
            return False
        self.rows[new.address] = new
        return True

    async def forget(self, known: WarmupProgress) -> bool:
        if self.rows.get(known.address) != known:
            return False
        del self.rows[known.address]
        return True


class Relay:
    """An authority, its workers and its days. It may be stopped and begun anew over its store."""

    def __init__(self, directory, rng: Random) -> None:
        schedule = {"days": DAYS, "providers": {"google": {"days": GOOGLE}}}
        pools = {
            "main": {"sources": [{"address": ADDRESS, "warmup": "mine"}]},
            "other": {"sources": [{"address": "127.0.0.3"}]},
        }
        self.config = make_config(directory, pools=pools, warmups={"mine": schedule})
        self.rng = rng
        self.permits, self.warmups = MemoryPermits(), MemoryWarmups()
        self.gone: list[tuple[float, int]] = []
        self.days: list[tuple[float, int]] = []  # since when which day was in force

    async def run(self, seconds: float, pause: float, workers_count: int = 2) -> None:
        """Send for so long; each worker waits for about `pause` seconds after a message."""
        limits = Limits(self.permits, now, wall)
        clock = WarmupClock(
            self.warmups,
            levels=limits.levels,
            now=wall,
            changed=lambda: self._put_in_force(limits, clock, workers),
            metrics=Metrics(),
            log=make_logger("json", "error"),
        )
        await clock.open(self.config)
        specs = limits_in_force(self.config, clock.progress)
        limits.configure(specs)
        workers = [Worker(limits, specs, self.rng, 0.002) for _ in range(workers_count)]
        self._note(clock)
        turning = asyncio.create_task(clock.run())
        for worker in workers:
            worker.send(KEYS, lambda: 1, pause)
            if workers_count > 1:
                worker.send(KEYS[:1], lambda: 1, pause)
        await asyncio.sleep(seconds)
        turning.cancel()
        for worker in workers:
            await worker.stop()
            await worker.limits.close()
            self.gone += worker.gone
        await limits.close()

    def _put_in_force(self, limits: Limits, clock: WarmupClock, workers: list[Worker]) -> None:
        specs = limits_in_force(self.config, clock.progress)
        limits.configure(specs)
        for worker in workers:
            worker.limits.configure(specs)
        self._note(clock)

    def _note(self, clock: WarmupClock) -> None:
        progress = clock.progress[ADDRESS]
        day = progress.day if progress.state != "completed" else len(DAYS) + 1
        self.days.append((now(), day))

    def day_at(self, at: float) -> int:
        return [day for since, day in self.days if since <= at][-1]


def most_in_any(gone: list[tuple[float, int]], seconds: float) -> int:
    """The most that went in any window of so many seconds, wherever it begins."""
    times = sorted(at for at, _ in gone)
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def within(relay: Relay, day: int) -> list[tuple[float, int]]:
    """What went until the end of a day, back to 24 hours before it began."""
    begun = min((since for since, number in relay.days if number == day), default=None)
    assert begun is not None
    ended = min((since for since, number in relay.days if number > day), default=float("inf"))
    return [(at, n) for at, n in relay.gone if begun - DAY < at <= ended]


def check(relay: Relay, last_day: int) -> None:
    for day in range(1, last_day + 1):
        gone, allowance = within(relay, day), DAYS[day - 1]
        # A permit leaves the window with its mail, give or take a minute.
        assert most_in_any(gone, DAY - MINUTE) <= allowance
        assert most_in_any(gone, HOUR) <= allowance / 8 + 1


def test_no_24_hours_see_more_than_the_day_allows_and_the_allowance_is_used(tmp_path):
    async def main() -> None:
        relay = Relay(tmp_path, Random(3))
        await relay.run(4 * DAY, pause=200.0)
        assert [day for _, day in relay.days] == [1, 2, 3, 4]
        check(relay, 4)
        for (since, _), (until, day) in pairwise(relay.days):
            sent = sum(since < at <= until for at, _ in relay.gone)
            assert sent >= 0.8 * DAYS[day - 2]

    simulate(main)


def test_a_relay_that_is_stopped_for_days_goes_on_where_it_was(tmp_path):
    async def main() -> None:
        relay = Relay(tmp_path, Random(4))
        await relay.run(2.5 * DAY, pause=300.0)
        assert relay.days[-1][1] == 3
        await asyncio.sleep(5 * DAY)
        begun = now()
        await relay.run(0.5 * DAY, pause=300.0)
        assert relay.day_at(begun) == 3
        assert relay.days[-1][1] <= 4
        check(relay, relay.days[-1][1])

    simulate(main)


def test_restarts_bring_nobody_more_than_the_day_allows(tmp_path):
    async def main() -> None:
        relay = Relay(tmp_path, Random(5))
        for _ in range(24):
            await relay.run(3 * HOUR, pause=120.0)
            await asyncio.sleep(1.0)
        check(relay, relay.days[-1][1])
        assert relay.days[-1][1] == 3

    simulate(main)


def test_too_little_mail_keeps_the_day_that_it_is(tmp_path):
    async def main() -> None:
        relay = Relay(tmp_path, Random(6))
        await relay.run(4 * DAY, pause=4 * DAY, workers_count=1)
        assert [day for _, day in relay.days] == [1]

    simulate(main)


def test_a_warm_up_ends_and_lets_everything_through(tmp_path):
    async def main() -> None:
        relay = Relay(tmp_path, Random(7))
        await relay.run(4.5 * DAY, pause=150.0)
        assert relay.days[-1][1] == len(DAYS) + 1
        done = relay.days[-1][0]
        assert sum(done < at <= done + HOUR for at, _ in relay.gone) > DAYS[-1] / 8 + 1

    simulate(main)
