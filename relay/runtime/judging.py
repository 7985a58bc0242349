"""Judges reputations by what was filed: warns, and pauses configuration sets.

Holds what the log counts in memory, an hour at a time for each dimension, and adds what is filed.
A pause is a row of the store, written with the entry of the outbox that tells of it; what is in
force follows from the rows. So a scribe that dies leaves nothing half done: the next one counts
from the log, finds the same, and has what was paused put in force, should the last one have died
before it could say so.
"""

import asyncio
from collections.abc import Callable, Sequence

from relay.config.model import Config
from relay.feedback.reputation import (
    Finding,
    Level,
    Metric,
    Volume,
    by_dimension,
    judge,
    longest_days,
    representative,
    rules_of,
)
from relay.feedback.tallying import HOUR_MS
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.interface import PauseStore, StoreError
from relay.store.log_interface import TallyLog
from relay.store.log_values import Tally
from relay.store.pauses import FreshStart, Pause

_EVERY = 1.0  # seconds
_ALL_EVERY = 300.0  # also what nothing happened to: old hours leave the volume
_DAY_HOURS = 24
_KEPT_DAYS = 367  # the longest time that a configuration can ask for


class Judging:
    """`changed` is called when a stream was paused, and now and then, for those who missed it.
    `wall` gives UTC milliseconds."""

    def __init__(
        self,
        *,
        tallies: TallyLog,
        pauses: PauseStore,
        config: Callable[[], Config],
        wall: Callable[[], int],
        changed: Callable[[], None],
        metrics: Metrics,
        log: Logger,
    ) -> None:
        self._tallies = tallies
        self._pauses = pauses
        self._config = config
        self._wall = wall
        self._changed = changed
        self._metrics = metrics
        self._log = log
        self._hours: dict[str, dict[int, Tally]] = {}
        self._levels: dict[str, dict[Metric, Level]] = {}
        self._dirty: set[str] = set()
        self._since_all = _ALL_EVERY
        self._complete_from = 0  # the hour from which on all that the log has is in memory

    async def open(self) -> None:
        """Count what the log has. Raises `StoreError`."""
        self._complete_from = self._wall() // HOUR_MS - self._longest() * _DAY_HOURS
        found = await self._tallies.tallies(self._complete_from)
        for dimension, hours in by_dimension(found).items():
            self._hours[dimension] = {tally.hour: tally for tally in hours}

    def add(self, tallies: Sequence[Tally]) -> None:
        """Count what was filed."""
        for tally in tallies:
            hours = self._hours.setdefault(tally.dimension, {})
            known = hours.get(tally.hour)
            hours[tally.hour] = tally if known is None else known + tally
            self._dirty.add(tally.dimension)

    def reconsider(self) -> None:
        """Judge all anew: thresholds have changed."""
        self._since_all = _ALL_EVERY

    async def run(self) -> None:
        """Judge what has changed, for ever."""
        while True:
            try:
                await self._judge_what_changed()
            except StoreError as error:
                self._log.error("reputations cannot be judged now", error=str(error))
            await asyncio.sleep(_EVERY)
            self._since_all += _EVERY

    async def _judge_what_changed(self) -> None:
        if self._since_all >= _ALL_EVERY:
            self._changed()
            await self._tidy()
            self._dirty |= self._hours.keys()
            self._since_all = 0.0
        dirty, self._dirty = self._dirty, set()
        if not dirty:
            return
        try:
            # In this order: who resumes a stream starts it afresh first. The other way round, one
            # that is resumed between the two would be paused again for what was before.
            paused = {pause.key for pause in await self._pauses.all()}
            fresh = {start.dimension: start for start in await self._pauses.fresh_starts()}
            for dimension in sorted(dirty):
                await self._judge(dimension, fresh.get(dimension), paused)
        except StoreError:
            self._dirty |= dirty
            raise

    async def _judge(self, dimension: str, fresh: FreshStart | None, paused: set[str]) -> None:
        config = self._config()
        rules = rules_of(config, dimension)
        volume = representative(self._hours[dimension].values(), rules, self._wall(), fresh)
        self._show(dimension, volume)
        levels = self._levels.setdefault(dimension, {})
        for finding in judge(volume, rules, levels):
            before = levels.get(finding.metric, "healthy")
            levels[finding.metric] = finding.level
            if finding.level != before:
                self._tell(dimension, finding)
            kind, _, name = dimension.partition(":")
            if (
                finding.is_beyond
                and kind == "set"
                and dimension not in paused
                and name in config.configuration_sets
            ):
                await self._pause(name, finding)
                paused.add(dimension)

    async def _pause(self, name: str, finding: Finding) -> None:
        pause = Pause("set", name, finding.sentence(), "relay", self._wall())
        if await self._pauses.put(pause):
            self._log.error(
                "a configuration set is paused for its reputation: its new mail is refused",
                configuration_set=name,
                why=pause.reason,
                resume=f"relay reputation resume set:{name} --reason WHY",
            )
            self._changed()

    def _tell(self, dimension: str, finding: Finding) -> None:
        if finding.level == "healthy":
            self._log.info("a reputation is good again", stream=dimension, metric=finding.metric)
        else:
            self._log.warning(
                "a reputation is bad", stream=dimension, level=finding.level, why=finding.sentence()
            )

    def _show(self, dimension: str, volume: Volume) -> None:
        kind, _, name = dimension.partition(":")
        metrics = self._metrics
        metrics.child(metrics.bounce_rate, kind, name).set(volume.bounce_rate)
        metrics.child(metrics.complaint_rate, kind, name).set(volume.complaint_rate)
        metrics.child(metrics.reputation_volume, kind, name).set(volume.sent)

    async def _tidy(self) -> None:
        """Forget hours that nothing is judged by any more; take up older ones, where a reload asks
        for more days than before (nothing is filed in those any more)."""
        this_hour = self._wall() // HOUR_MS
        before = this_hour - self._longest() * _DAY_HOURS
        if before < self._complete_from:
            for tally in await self._tallies.tallies(before):
                if tally.hour < self._complete_from:
                    self._hours.setdefault(tally.dimension, {})[tally.hour] = tally
        for hours in self._hours.values():
            for hour in [hour for hour in hours if hour < before]:
                del hours[hour]
        self._complete_from = before
        await self._tallies.prune_tallies(this_hour - _KEPT_DAYS * _DAY_HOURS)

    def _longest(self) -> int:
        return longest_days(self._config())
