"""What operators ask of reputations, and how they pause and resume streams.

Answered from the message log and the store, with or without a running relay. A running one is told
(`changed`), and puts it in force in all workers.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import get_args

from relay.admin.control import Changed, Refused
from relay.config.model import Config
from relay.config.reputation import Reputation
from relay.feedback.reputation import (
    Finding,
    Volume,
    by_dimension,
    judge,
    longest_days,
    representative,
    rules_of,
    to_heal,
)
from relay.feedback.tallying import HOUR_MS
from relay.mail.enhanced import printable_text
from relay.store.happenings import PausedKind
from relay.store.interface import PauseStore
from relay.store.log_interface import TallyLog
from relay.store.log_values import Tally
from relay.store.pauses import FreshStart, Pause

_REASON_CHARACTERS = 200
_DAY_HOURS = 24


@dataclass(frozen=True, slots=True)
class Standing:
    """How one dimension stands: what it is judged by, what comes of it (`findings` has bounces and
    complaints), what pauses it and since when it counts (UTC ms; None: no fresh start).

    `to_heal` has, for each finding, how many good recipients more it takes.
    """

    dimension: str
    volume: Volume
    findings: tuple[Finding, ...]
    to_heal: tuple[int, ...]
    rules: str
    pause: Pause | None = None
    fresh_start: int | None = None
    hours: tuple[Tally, ...] = ()


@dataclass(frozen=True, slots=True)
class StandingRequest:
    """All dimensions, or one, with its hours."""

    dimension: str = ""


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """Refuse new mail of a stream (`set:NAME` or `credential:NAME`) until it is resumed."""

    dimension: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ResumeSendingRequest:
    """Take new mail of a stream again. With `fresh_start` its reputation counts from now on."""

    dimension: str
    reason: str
    by: str = ""
    fresh_start: bool = True


@dataclass(frozen=True, slots=True)
class FreshStartRequest:
    """Have the reputation of a dimension count from now on."""

    dimension: str


async def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationOperations:
    """`config` is the configuration in force, `clock` gives UTC milliseconds, `changed` is awaited
    after a pause began or ended."""

    store: PauseStore
    log: TallyLog
    config: Callable[[], Config]
    clock: Callable[[], int]
    changed: Callable[[], Awaitable[None]] = _nobody

    async def standings(self, request: StandingRequest) -> list[Standing]:
        """In order of dimension. Raises `Refused` where the one asked for has no mail."""
        config, now = self.config(), self.clock()
        hours = by_dimension(await self.log.tallies(now // HOUR_MS - _longest(config)))
        fresh = {start.dimension: start for start in await self.store.fresh_starts()}
        paused = {pause.key: pause for pause in await self.store.all()}
        wanted = sorted(hours.keys() | paused.keys())
        if request.dimension:
            if request.dimension not in wanted:
                there = ", ".join(wanted[:20]) or "none"
                raise Refused(
                    f"no mail of {request.dimension} counts (there: {there})", "not_found"
                )
            wanted = [request.dimension]
        return [
            _standing(
                dimension,
                hours.get(dimension, []),
                rules_of(config, dimension),
                fresh.get(dimension),
                paused.get(dimension),
                now,
                in_detail=bool(request.dimension),
            )
            for dimension in wanted
        ]

    async def pause(self, request: PauseRequest) -> Pause:
        """The pause that is in force now. Raises `Refused`."""
        kind, name = self._stream(request.dimension, must_be_known=True)
        reason = _reason(request.reason)
        by = printable_text(request.by, 64) or "an operator"
        pause = Pause(kind, name, reason, by, self.clock())
        if not await self.store.put(pause):
            raise Refused(f"{pause.key} is paused already: `relay reputation show {pause.key}`")
        await self.changed()
        return pause

    async def resume(self, request: ResumeSendingRequest) -> Changed:
        """Raises `Refused` where it is not paused."""
        kind, name = self._stream(request.dimension, must_be_known=False)
        reason = f"resumed by {printable_text(request.by, 64) or 'an operator'}"
        reason = f"{reason}: {_reason(request.reason)}"
        key = f"{kind}:{name}"
        if key not in {pause.key for pause in await self.store.all()}:
            raise Refused(f"{key} is not paused", "not_found")
        if request.fresh_start:  # first: else it would be paused again at once
            await self._start_afresh(key)
        if not await self.store.lift(kind, name, self.clock(), reason):
            raise Refused(f"{key} is not paused any more", "not_found")
        await self.changed()
        return Changed(1)

    async def start_afresh(self, request: FreshStartRequest) -> Changed:
        """What was before counts no more. Raises `Refused` where nothing counts."""
        await self.standings(StandingRequest(request.dimension or "none"))
        await self._start_afresh(request.dimension)
        return Changed(1)

    async def _start_afresh(self, dimension: str) -> None:
        now = self.clock()
        this_hour = [
            tally
            for tally in await self.log.tallies(now // HOUR_MS)
            if tally.dimension == dimension and tally.hour == now // HOUR_MS
        ]
        had = this_hour[0] if this_hour else Tally(dimension, now // HOUR_MS)
        await self.store.start_afresh(
            FreshStart(dimension, now, had.sent, had.bounced, had.complained)
        )

    def _stream(self, dimension: str, *, must_be_known: bool) -> tuple[PausedKind, str]:
        """Raises `Refused`."""
        kind, _, name = dimension.partition(":")
        config = self.config()
        known = {"set": config.configuration_sets, "credential": config.credentials}.get(kind)
        if known is None or not name:
            kinds = " or ".join(f"{kind}:NAME" for kind in get_args(PausedKind))
            raise Refused(f"{dimension!r} cannot be paused; allowed is {kinds}")
        if must_be_known and name not in known:
            raise Refused(f"there is no {kind} {name} in the configuration", "not_found")
        return ("set" if kind == "set" else "credential"), name


def _longest(config: Config) -> int:
    """Hours that may be looked at."""
    return longest_days(config) * _DAY_HOURS


def _reason(text: str) -> str:
    reason = printable_text(text.strip(), _REASON_CHARACTERS)
    if not reason:
        raise Refused("say why, with --reason: whoever finds it will ask")
    return reason


def _standing(
    dimension: str,
    hours: list[Tally],
    rules: Reputation,
    fresh: FreshStart | None,
    pause: Pause | None,
    now: int,
    *,
    in_detail: bool,
) -> Standing:
    volume = representative(hours, rules, now, fresh)
    findings = tuple(judge(volume, rules, {}))
    return Standing(
        dimension=dimension,
        volume=volume,
        findings=findings,
        to_heal=tuple(to_heal(finding, rules) for finding in findings),
        rules=_in_words(rules),
        pause=pause,
        fresh_start=fresh.at if fresh else None,
        hours=tuple(hours) if in_detail else (),
    )


def _in_words(rules: Reputation) -> str:
    """The thresholds in force, for people."""
    words = []
    for what, threshold in (("bounces", rules.bounces), ("complaints", rules.complaints)):
        pause = (
            "never paused"
            if threshold.pause == "never"
            else f"paused at {threshold.pause * 100:g} %"
        )
        words.append(
            f"{what}: warned at {threshold.warn * 100:g} %, {pause}, from"
            f" {threshold.minimum:,} recipients on"
        )
    return "; ".join(words)
