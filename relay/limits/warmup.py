"""The warm-up of source addresses: what a new address may send on each day, and when a day is over.

Mailbox providers distrust an address that they have never seen and that suddenly sends a lot. So a
new one begins with little and sends more each day. Pure: schedules from the configuration, progress
(`WarmupProgress`) in, progress out. The allowance of a day is a `Limit` like any other, of the key
`warmup:ADDRESS`, and towards a provider with allowances of its own also `warmup:ADDRESS/PROVIDER`:
a quota of that many recipients in any 24 hours, and a rate that spreads it.

A day lasts for 24 hours, and goes on until a tenth of its allowance was used within 24 hours:
reputation is earned by mail, not by time. A relay that was off for a week, and a weekend without
mail, move nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relay.config.model import Config, WarmupCurve
from relay.config.units import Rate
from relay.config.warmups import STANDARD
from relay.limits.specs import Limit, Specs, config_limits
from relay.store.values import WarmupProgress, WarmupState

DAY_MS = 86_400_000
FORGOTTEN_AFTER_MS = 30 * DAY_MS
"""For how long the progress of an address that the configuration lost is remembered. Providers
forget an address in about as long."""

_SPREAD = 8  # a day's allowance takes at least so many hours
_USED_SHARE = 10  # a day counts once one part in so many of its allowance was used


@dataclass(frozen=True, slots=True)
class Schedule:
    """Allowances in recipients, day by day; those of `providers` hold besides. The last one of
    each holds on for the days that it does not name."""

    allowances: tuple[int, ...]
    providers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def days(self) -> int:
        """How many days the warm-up takes."""
        return len(self.allowances)

    def allowance(self, day: int, provider: str = "") -> int | None:
        """What may be sent on a day (from 1), to all or to one provider; None: no own allowance."""
        allowances = self.providers.get(provider, ()) if provider else self.allowances
        if not allowances:
            return None
        return allowances[min(max(day, 1), len(allowances)) - 1]


def curve(first: int, target: int, days: int) -> tuple[int, ...]:
    """Allowances that grow by the same factor each day, from `first` to `target`."""
    first = min(first, target)
    return tuple(round(first * (target / first) ** (day / (days - 1))) for day in range(days))


STANDARD_SCHEDULE = Schedule(curve(50, 50_000, 45))
"""Amazon SES warms an address up in 45 days to 50,000 a day; it publishes no numbers for the days
between. Ours grow by 17 % a day."""


def _allowances(section: WarmupCurve) -> tuple[int, ...]:
    if section.length is None or section.target is None:
        return section.days
    return curve(section.first, section.target, section.length)


def schedules(config: Config) -> dict[str, Schedule]:
    """The schedule of each source address that the configuration has warm up."""
    named = {STANDARD: STANDARD_SCHEDULE}
    for name, section in config.warmups.items():
        own = {provider: _allowances(curve) for provider, curve in section.providers.items()}
        named[name] = Schedule(_allowances(section), own)
    return {
        str(source.address): named[source.warmup]
        for pool in config.pools.values()
        for source in pool.sources
        if source.warmup is not None
    }


# Limits


def warmup_key(address: str, provider: str = "") -> str:
    """The key of an address's allowance in all, or towards one provider."""
    return f"warmup:{address}/{provider}" if provider else f"warmup:{address}"


def warmup_keys(address: str, provider: str = "") -> tuple[str, ...]:
    """Every key of a warm-up that mail from an address to a provider is charged to."""
    if not provider:
        return (warmup_key(address),)
    return warmup_key(address), warmup_key(address, provider)


def allowance_limit(allowance: int) -> Limit:
    """An allowance as a limit: in any 24 hours, and spread over at least eight of them."""
    return Limit(rate=Rate(-(-allowance // _SPREAD), 3600), quota=allowance)


def warmup_limits(
    scheduled: Mapping[str, Schedule], progress: Mapping[str, WarmupProgress]
) -> dict[str, Limit]:
    """The limits of all addresses that are warming up. One whose progress is not known yet is at
    its first day."""
    limits = {}
    for address, schedule in scheduled.items():
        known = progress.get(address)
        if known is not None and known.state == "completed":
            continue
        day = known.day if known is not None else 1
        for provider in ("", *schedule.providers):
            allowance = schedule.allowance(day, provider)
            if allowance is not None:
                limits[warmup_key(address, provider)] = allowance_limit(allowance)
    return limits


def limits_in_force(config: Config, progress: Mapping[str, WarmupProgress]) -> Specs:
    """All limits of a configuration, those of its warm-ups among them."""
    return config_limits(config).with_also(warmup_limits(schedules(config), progress))


# Progress


def begin(address: str, now: int) -> WarmupProgress:
    """The first day of an address begins `now` (UTC ms)."""
    return WarmupProgress(address, 1, now, now)


def enough(allowance: int) -> int:
    """How many recipients make a day count."""
    return max(1, -(-allowance // _USED_SHARE))


def is_over(progress: WarmupProgress, now: int) -> bool:
    """Whether the day has lasted for its 24 hours: the next begins once enough was used."""
    return progress.state == "warming" and now >= progress.day_began_at + DAY_MS


def turn(progress: WarmupProgress, schedule: Schedule, used: int, now: int) -> WarmupProgress:
    """The progress at `now`, when `used` recipients were sent to in the last 24 hours.

    At most one day is over at a time, however long ago it began. A day that began in the future
    (the clock was set back) begins anew.
    """
    if progress.state != "warming":
        return progress
    if progress.day > schedule.days:
        return replace(progress, day=schedule.days, state="completed")
    if progress.day_began_at > now:
        return replace(progress, day_began_at=now)
    allowance = schedule.allowance(progress.day) or 0
    if not is_over(progress, now) or used < enough(allowance):
        return progress
    if progress.day == schedule.days:
        return replace(progress, state="completed")
    return replace(progress, day=progress.day + 1, day_began_at=now)


def touched(progress: WarmupProgress, now: int) -> WarmupProgress:
    """The configuration has a warm-up for the address `now`; noted once a day."""
    if abs(now - progress.configured_at) < DAY_MS:
        return progress
    return replace(progress, configured_at=now)


def is_forgotten(progress: WarmupProgress, now: int) -> bool:
    """Whether the configuration has had no warm-up for the address for so long that providers
    will have forgotten it too: it begins anew then."""
    return now - progress.configured_at > FORGOTTEN_AFTER_MS


def at_day(progress: WarmupProgress, day: int, now: int) -> WarmupProgress:
    """Day `day` begins `now`; a warm-up that was completed goes on there, a paused one stays so."""
    state: WarmupState = "paused" if progress.state == "paused" else "warming"
    return replace(progress, day=day, day_began_at=now, state=state)


def paused(progress: WarmupProgress) -> WarmupProgress:
    """The day does not turn any more; its allowance holds on."""
    return replace(progress, state="paused")


def resumed(progress: WarmupProgress, now: int) -> WarmupProgress:
    """The day goes on where it was paused, for 24 hours from `now`."""
    return replace(progress, state="warming", day_began_at=now)


def completed(progress: WarmupProgress) -> WarmupProgress:
    """The address is warm: nothing limits it any more but its own rate and quota."""
    return replace(progress, state="completed")
