"""Reputation: how much of what a stream sent bounced or was complained of, and what follows.

As SES does, rates are taken over a representative volume, not over a fixed time: the newest hours
that together hold so many recipients, at least a day's and at most so many days'. A stream that
sends little is judged by weeks of mail, one that sends much by its last day. Nothing is judged by
fewer recipients than the minimum. Pure.

What was told ends below four fifths of its threshold, so that a rate that wavers about it is told
once. A pause never ends by itself: what is paused sends nothing by which it could do better.
Whoever ends it starts afresh, and what was before counts no more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from relay.config.model import Config
from relay.config.reputation import Reputation, Threshold
from relay.feedback.tallying import ACCOUNT, HOUR_MS
from relay.store.log_values import Tally
from relay.store.pauses import FreshStart

_DAY = 24
_HEALED = 0.8
_AHEAD = 1  # hours that a clock may be ahead of ours, as over the edge of an hour

Metric = Literal["bounces", "complaints"]
Level = Literal["healthy", "warned", "paused"]
"""`paused`: beyond the threshold at which streams are paused that can be."""


@dataclass(frozen=True, slots=True)
class Volume:
    """What is judged: recipients with an outcome since `since` (UTC ms, the begin of an hour), the
    hard bounces and the complaints among them."""

    sent: int = 0
    bounced: int = 0
    complained: int = 0
    since: int = 0

    @property
    def bounce_rate(self) -> float:
        return self.bounced / self.sent if self.sent else 0.0

    @property
    def complaint_rate(self) -> float:
        return self.complained / self.sent if self.sent else 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one metric comes to. `threshold` is the one that was crossed, or the next one."""

    metric: Metric
    level: Level
    count: int
    volume: int
    rate: float
    threshold: float

    @property
    def is_beyond(self) -> bool:
        """Whether it is beyond the threshold of a pause now, and not only close below it still."""
        return self.level == "paused" and self.rate >= self.threshold

    def sentence(self) -> str:
        """For people: `11.2 % of the last 1,034 recipients were hard bounces (limit 10 %)`."""
        what = "were hard bounces" if self.metric == "bounces" else "complained"
        return (
            f"{percent(self.rate)} of the last {self.volume:,} recipients {what}"
            f" (limit {percent(self.threshold)})"
        )


def percent(share: float) -> str:
    """`5 %`, `0.1 %`, `11.23 %`."""
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"


def representative(
    tallies: Iterable[Tally], rules: Reputation, now: int, fresh: FreshStart | None = None
) -> Volume:
    """The volume by which a dimension is judged at `now` (UTC ms). `tallies` are its hours, in any
    order. Where the clock went back, hours that are yet to come count when they come (else a bad
    one would count until then, whatever was started afresh), and a fresh start that is yet to come
    holds from this hour on."""
    this_hour = now // HOUR_MS
    oldest = this_hour - rules.days * _DAY + 1
    begun = this_hour
    if fresh is not None:
        begun = fresh.at // HOUR_MS
        oldest = max(oldest, min(begun, this_hour))
    sent = bounced = complained = 0
    since = this_hour
    for tally in sorted(tallies, key=lambda tally: tally.hour, reverse=True):
        enough = sent >= rules.volume and tally.hour <= this_hour - _DAY
        if tally.hour < oldest or enough:
            break
        if this_hour < tally.hour < begun or tally.hour > this_hour + _AHEAD:
            continue
        sent += tally.sent
        bounced += tally.bounced
        complained += tally.complained
        since = tally.hour
        if fresh is not None and tally.hour == begun:
            sent -= fresh.sent
            bounced -= fresh.bounced
            complained -= fresh.complained
    return Volume(max(0, sent), max(0, bounced), max(0, complained), since * HOUR_MS)


def judge(volume: Volume, rules: Reputation, before: Mapping[Metric, Level]) -> list[Finding]:
    """What each metric comes to, given what it came to before."""
    return [
        _judge("bounces", volume.bounced, volume.sent, rules.bounces, before),
        _judge("complaints", volume.complained, volume.sent, rules.complaints, before),
    ]


def _judge(
    metric: Metric, count: int, volume: int, threshold: Threshold, before: Mapping[Metric, Level]
) -> Finding:
    rate = count / volume if volume else 0.0
    level, crossed = _level(rate, volume, threshold, before.get(metric, "healthy"))
    return Finding(metric, level, count, volume, rate, crossed)


def _level(rate: float, volume: int, threshold: Threshold, before: Level) -> tuple[Level, float]:
    if volume < threshold.minimum:
        return "healthy", threshold.warn
    if threshold.pause != "never":
        paused_from = threshold.pause * (_HEALED if before == "paused" else 1.0)
        if rate >= paused_from:
            return "paused", threshold.pause
    warned_from = threshold.warn if before == "healthy" else threshold.warn * _HEALED
    if rate >= warned_from:
        return "warned", threshold.warn
    return "healthy", threshold.warn


def to_heal(finding: Finding, rules: Reputation) -> int:
    """How many good recipients more it takes until nothing is to be warned of; 0 where nothing is.
    Old bounces that leave the volume meanwhile make it fewer."""
    threshold = rules.bounces if finding.metric == "bounces" else rules.complaints
    if finding.level == "healthy":
        return 0
    wanted = finding.count / (threshold.warn * _HEALED)
    return max(1, int(wanted) + 1 - finding.volume)


def by_dimension(tallies: Sequence[Tally]) -> dict[str, list[Tally]]:
    """The hours of each dimension."""
    found: dict[str, list[Tally]] = {}
    for tally in tallies:
        found.setdefault(tally.dimension, []).append(tally)
    return found


def rules_of(config: Config, dimension: str) -> Reputation:
    """By what a dimension is judged: everybody's rules, and what a set's own say in their place."""
    kind, _, name = dimension.partition(":")
    found = config.configuration_sets.get(name) if kind == "set" else None
    if found is None or found.reputation is None:
        return config.reputation
    return found.reputation.on_top_of(config.reputation)


def longest_days(config: Config) -> int:
    """For so many days hours are needed, whoever is judged."""
    sets = (f"set:{name}" for name in config.configuration_sets)
    return max(rules_of(config, one).days for one in (ACCOUNT, *sets))
