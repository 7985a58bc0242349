"""Days of warm-ups: who begins, when they turn, and what a store that fails does to them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Config
from relay.limits.limits import Level
from relay.limits.warmup import DAY_MS
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.warmup_clock import WarmupClock
from relay.store.interface import StoreUnavailable
from relay.store.sqlite import SqliteStore
from relay.store.values import WarmupProgress
from tests.delivery.outgoing import Lines, make_config

NOW = 1_800_000_000_000
ADDRESS = "127.0.0.2"


class Bench:
    """A clock of warm-ups over a real store; time and use are what the test says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = SqliteStore(directory / "data")
        self.now = NOW
        self.used: dict[str, int] = {}
        self.changes = 0
        self.turns = 0
        self.metrics = Metrics()
        self.lines = Lines()
        self.clock = self.another()

    def another(self) -> WarmupClock:
        return WarmupClock(
            self.store.warmups,
            levels=self._levels,
            now=lambda: self.now,
            changed=self._changed,
            turned=self._turned,
            metrics=self.metrics,
            log=make_logger("json", "info", self.lines),  # type: ignore[arg-type]
        )

    def config(self, warmup: str | None = "mine", **source: Any) -> Config:
        schedule = {"days": [100, 200, 300], "providers": {"google": {"days": [10]}}}
        sources = [{"address": ADDRESS, "warmup": warmup, **source}]
        pools = {"main": {"sources": sources}, "other": {"sources": [{"address": "127.0.0.3"}]}}
        return make_config(self.directory, pools=pools, warmups={"mine": schedule})

    async def stored(self) -> list[tuple[str, int, str]]:
        return [(p.address, p.day, p.state) for p in await self.store.warmups.all()]

    async def _levels(self, keys: Any) -> list[Level]:
        return [Level(key, "quota", 100, 86_400, self.used.get(key, 0), 0) for key in keys]

    def _turned(self) -> None:
        self.turns += 1

    def _changed(self) -> None:
        self.changes += 1

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    (tmp_path / "data").mkdir()
    await bench.store.open()
    yield bench
    await bench.store.close()


async def test_a_source_whose_configuration_gains_a_warm_up_begins_its_first_day(bench: Bench):
    await bench.clock.open(bench.config(warmup=None))
    assert bench.clock.progress == {}
    bench.clock.configure(bench.config())
    assert bench.clock.progress[ADDRESS].day == 1
    await bench.clock.look()
    assert await bench.stored() == [(ADDRESS, 1, "warming")]


async def test_a_source_whose_configuration_loses_its_warm_up_is_warm(bench: Bench):
    await bench.clock.open(bench.config())
    await bench.clock.look()
    bench.clock.configure(bench.config(warmup=None))
    assert bench.clock.progress == {}


async def test_a_day_turns_after_24_hours_of_use_and_is_told(bench: Bench):
    await bench.clock.open(bench.config())
    await bench.clock.look()
    bench.used = {f"warmup:{ADDRESS}": 60}
    bench.now += DAY_MS - 1
    await bench.clock.look()
    assert (bench.clock.progress[ADDRESS].day, bench.changes, bench.turns) == (1, 0, 0)
    bench.now += 1
    await bench.clock.look()
    assert (bench.clock.progress[ADDRESS].day, bench.changes, bench.turns) == (2, 1, 1)
    assert bench.lines.of("a day of a warm-up has begun")[0]["allowance"] == 200


async def test_progress_outlives_the_relay(bench: Bench):
    await bench.clock.open(bench.config())
    await bench.clock.look()
    bench.used = {f"warmup:{ADDRESS}": 60}
    bench.now += DAY_MS
    await bench.clock.look()

    again = bench.another()
    await again.open(bench.config())
    assert again.progress[ADDRESS] == WarmupProgress(ADDRESS, 2, bench.now, bench.now)


async def test_a_warm_up_that_is_completed_stays_so(bench: Bench):
    await bench.clock.open(bench.config())
    bench.used = {f"warmup:{ADDRESS}": 300}
    for _ in range(3):
        await bench.clock.look()
        bench.now += DAY_MS
    await bench.clock.look()
    assert await bench.stored() == [(ADDRESS, 3, "completed")]
    again = bench.another()
    await again.open(bench.config())
    await again.look()
    assert again.progress[ADDRESS].state == "completed"


async def test_a_warm_up_that_comes_back_soon_goes_on_and_after_long_begins_anew(bench: Bench):
    await bench.store.warmups.replace(None, WarmupProgress(ADDRESS, 2, NOW, NOW))
    await bench.clock.open(bench.config(warmup=None))
    bench.now += 20 * DAY_MS
    bench.clock.configure(bench.config())
    assert bench.clock.progress[ADDRESS].day == 2
    bench.clock.configure(bench.config(warmup=None))
    bench.now += 20 * DAY_MS
    bench.clock.configure(bench.config())
    assert bench.clock.progress[ADDRESS].day == 1
    await bench.clock.look()
    assert await bench.stored() == [(ADDRESS, 1, "warming")]


async def test_an_address_that_was_lost_long_ago_is_forgotten(bench: Bench):
    await bench.store.warmups.replace(None, WarmupProgress("127.0.0.9", 2, NOW, NOW))
    await bench.clock.open(bench.config(warmup=None))
    bench.now += 29 * DAY_MS
    await bench.clock.look()
    assert await bench.stored() == [("127.0.0.9", 2, "warming")]
    bench.now += 2 * DAY_MS
    await bench.clock.look()
    assert await bench.stored() == []


async def test_what_an_operator_changes_counts_at_once_and_is_not_undone(bench: Bench):
    await bench.clock.open(bench.config())
    await bench.clock.look()
    (known,) = await bench.store.warmups.all()
    await bench.store.warmups.replace(known, replace(known, day=3))
    bench.used = {f"warmup:{ADDRESS}": 60}
    bench.now += DAY_MS
    await bench.clock.look()  # it would turn to day 2 by what it knows
    assert await bench.stored() == [(ADDRESS, 3, "warming")]
    assert (bench.clock.progress[ADDRESS].day, bench.changes) == (3, 1)


async def test_a_store_that_fails_leaves_the_day_in_force_until_it_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    await bench.clock.open(bench.config())
    await bench.clock.look()
    bench.used = {f"warmup:{ADDRESS}": 60}
    bench.now += DAY_MS
    with monkeypatch.context() as patched:

        async def fail(*_: object) -> bool:
            raise StoreUnavailable("no")

        patched.setattr(bench.store.warmups, "replace", fail)
        with pytest.raises(StoreUnavailable):
            await bench.clock.look()
    assert bench.clock.progress[ADDRESS].day == 1
    await bench.clock.look()
    assert bench.clock.progress[ADDRESS].day == 2


async def test_the_gauges_show_day_allowance_and_use(bench: Bench):
    await bench.clock.open(bench.config())
    bench.used = {f"warmup:{ADDRESS}": 7, f"warmup:{ADDRESS}/google": 3}
    await bench.clock.look()
    of = {"source": ADDRESS}
    assert bench.gauge("relay_warmup_day", **of) == 1
    assert bench.gauge("relay_warmup_allowance", **of, provider="") == 100
    assert bench.gauge("relay_warmup_used", **of, provider="") == 7
    assert bench.gauge("relay_warmup_used", **of, provider="google") == 3
    (known,) = await bench.store.warmups.all()
    await bench.store.warmups.replace(known, replace(known, state="completed"))
    await bench.clock.reload()
    await bench.clock.look()
    assert bench.gauge("relay_warmup_day", **of) == 0
    assert bench.gauge("relay_warmup_used", **of, provider="google") is None
