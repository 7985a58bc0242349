"""A bad stream pauses itself, once, and no other."""

from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Config
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.judging import Judging
from relay.store.log_values import Filing, Tally
from relay.store.pauses import FreshStart, Pause
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.log import SqliteLog
from tests.limits.making import make_config

NOW = 1_800_000_000_000
HOUR = NOW // 3_600_000


class Bench:
    """A store, a log and what is judged by them."""

    def __init__(self, store: SqliteStore, log: SqliteLog) -> None:
        self.store, self.log = store, log
        self.metrics, self.lines, self.changes = Metrics(), StringIO(), 0
        self.config: Config = make_config(
            configuration_sets={"news": {"pool": "main"}, "mail": {"pool": "main"}}
        )
        self.filed = 0

    async def judging(self) -> Judging:
        def changed() -> None:
            self.changes += 1

        judging = Judging(
            tallies=self.log,
            pauses=self.store.pauses,
            config=lambda: self.config,
            wall=lambda: NOW,
            changed=changed,
            metrics=self.metrics,
            log=make_logger("json", "debug", self.lines),
        )
        await judging.open()
        return judging

    async def file(self, judging: Judging, *tallies: Tally) -> None:
        self.filed += 1
        await self.log.file(Filing("o", self.filed, tallies=tallies))
        judging.add(tallies)
        await judging._judge_what_changed()

    async def paused(self) -> list[str]:
        return [pause.key for pause in await self.store.pauses.all()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store, log = SqliteStore(tmp_path), SqliteLog(tmp_path)
    await store.open()
    await log.open()
    yield Bench(store, log)
    await log.close()
    await store.close()


def tally(dimension: str = "set:news", **counts: Any) -> Tally:
    return Tally(dimension, HOUR, **counts)


async def test_a_set_that_bounces_too_much_is_paused_once_with_the_figures(bench: Bench) -> None:
    judging = await bench.judging()
    await bench.file(judging, tally(sent=200, bounced=19), tally("set:mail", sent=5_000))
    assert await bench.paused() == []
    assert "a reputation is bad" in bench.lines.getvalue()
    await bench.file(judging, tally(sent=10, bounced=10))
    (pause,) = await bench.store.pauses.all()
    assert pause.key == "set:news"
    assert pause.reason == "13.81 % of the last 210 recipients were hard bounces (limit 10 %)"
    assert (pause.by, pause.since) == ("relay", NOW)
    assert bench.changes == 2  # as it began, and now
    await bench.file(judging, tally(sent=10, bounced=10))
    assert bench.changes == 2
    assert bench.metrics.registry.get_sample_value(
        "relay_reputation_bounce_rate", {"kind": "set", "name": "news"}
    ) == pytest.approx(39 / 220)


async def test_the_account_and_all_that_is_no_stream_is_never_paused(bench: Bench) -> None:
    judging = await bench.judging()
    bad = [
        tally(name, sent=500, bounced=400)
        for name in ("account", "pool:main", "source:192.0.2.1", "credential:app", "set:gone")
    ]
    await bench.file(judging, *bad)
    assert await bench.paused() == []


async def test_a_scribe_that_begins_finds_what_the_last_one_had_counted(bench: Bench) -> None:
    await bench.file(await bench.judging(), tally(sent=150, bounced=150))
    assert await bench.paused() == []
    again = await bench.judging()
    await bench.file(again, tally(sent=50))
    assert await bench.paused() == ["set:news"]


async def test_what_was_paused_before_is_not_paused_again_after_a_fresh_start(
    bench: Bench,
) -> None:
    judging = await bench.judging()
    await bench.file(judging, tally(sent=300, bounced=300))
    await bench.store.pauses.start_afresh(FreshStart("set:news", NOW, 300, 300))
    await bench.store.pauses.lift("set", "news", NOW, "mended")
    await bench.file(judging, tally(sent=250, bounced=2))
    assert await bench.paused() == []
    await bench.file(judging, tally(sent=50, bounced=40))
    assert await bench.paused() == ["set:news"]


async def test_a_set_has_thresholds_of_its_own(bench: Bench) -> None:
    bench.config = make_config(
        configuration_sets={
            "news": {"pool": "main", "reputation": {"bounces": {"pause": "never"}}},
            "mail": {"pool": "main", "reputation": {"bounces": {"minimum": 10}}},
        }
    )
    judging = await bench.judging()
    await bench.file(judging, tally(sent=900, bounced=900), tally("set:mail", sent=10, bounced=1))
    assert await bench.paused() == ["set:mail"]


async def test_who_died_before_the_workers_were_told_of_a_pause_has_it_told_by_the_next(
    bench: Bench,
) -> None:
    await bench.store.pauses.put(Pause("set", "news", "11 % bounced", "relay", NOW))
    judging = await bench.judging()
    await judging._judge_what_changed()
    assert bench.changes == 1


async def test_a_reload_that_asks_for_more_days_takes_up_older_hours_once(bench: Bench) -> None:
    bench.config = judged_over("2d")
    old = Tally("set:news", HOUR - 100, 300, 300)
    await bench.log.file(Filing("o", 1, tallies=(old,)))
    bench.filed = 1
    judging = await bench.judging()
    await bench.file(judging, tally(sent=250))
    assert await bench.paused() == []
    bench.config = judged_over("30d")
    for _ in range(2):
        judging.reconsider()
        await judging._judge_what_changed()
    (pause,) = await bench.store.pauses.all()
    assert pause.reason == "54.55 % of the last 550 recipients were hard bounces (limit 10 %)"


async def test_a_stream_that_is_resumed_while_it_is_judged_is_not_paused_for_what_was_before(
    bench: Bench,
) -> None:
    """The fresh start and the end of the pause come between the two questions to the store."""
    judging = await bench.judging()
    await bench.file(judging, tally(sent=300, bounced=300))
    pauses = bench.store.pauses
    asked: list[str] = []

    class Resumed:
        """Resumes after the first question, whichever it is."""

        def __getattr__(self, name: str) -> Any:
            async def ask(*given: Any) -> Any:
                answer = await getattr(pauses, name)(*given)
                asked.append(name)
                if len(asked) == 1:
                    await pauses.start_afresh(FreshStart("set:news", NOW, 300, 300))
                    await pauses.lift("set", "news", NOW, "mended")
                return answer

            return ask

    judging._pauses = Resumed()
    judging.add([tally(sent=1)])
    await judging._judge_what_changed()
    assert len(asked) >= 2
    assert await bench.paused() == []


async def test_a_rate_that_wavers_about_a_threshold_is_told_once(bench: Bench) -> None:
    judging = await bench.judging()
    for sent, bounced in ((1_000, 100), (10, 0), (0, 1), (10, 0), (0, 2), (10, 0)):
        await bench.file(judging, tally("account", sent=sent, bounced=bounced))
    assert bench.lines.getvalue().count("a reputation is") == 1


def judged_over(days: str) -> Config:
    return make_config(configuration_sets={"news": {"pool": "main"}}, reputation={"days": days})
