"""Pools and the warm-up of their sources: how far each has come, and what operators change of it.

What a warm-up has come to is in the store; a running relay is told of a change (`changed`) and puts
it in force in all workers. Where none runs the next one begins with it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from relay.admin.control import Refused
from relay.config.model import Config
from relay.limits import warmup
from relay.limits.warmup import DAY_MS, Schedule, warmup_key
from relay.store.interface import Store
from relay.store.values import WarmupProgress

WarmupChange = Literal["set", "pause", "resume", "complete", "restart"]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a warm-up allows in any 24 hours, in all (`provider` is empty) or towards one provider,
    and how many recipients were sent to in the last 24."""

    provider: str
    allowance: int
    used: int


@dataclass(frozen=True, slots=True)
class PoolSource:
    """A source address of a pool. `fault` says why this host cannot use it; it is empty where it
    can, or where no relay runs that knows.

    While it warms up (`state` is `warming`, or `paused`) `day` of `days` is in force. The next one
    begins at `next_at` (UTC ms, 0: it does not), or once `missing` more recipients were sent to
    within 24 hours, whichever is later.
    """

    pool: str
    address: str
    weight: int
    state: Literal["warm", "warming", "paused"]
    fault: str = ""
    warmup: str = ""
    day: int = 0
    days: int = 0
    allowances: tuple[Allowance, ...] = ()
    next_at: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class WarmupRequest:
    """Change the warm-up of a source address. `day` is for `set` alone."""

    address: str
    change: WarmupChange
    day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOperations:
    """`config` is the configuration in force, `clock` gives UTC milliseconds, `faults` the reason
    for each address that this host cannot use now. `changed` is awaited after a change."""

    store: Store
    config: Callable[[], Config]
    clock: Callable[[], int]
    changed: Callable[[], Awaitable[None]] | None = None
    faults: Callable[[], Mapping[str, str]] = dict

    async def list(self) -> list[PoolSource]:
        """Every source of every pool, in the order of the configuration."""
        config, now, faults = self.config(), self.clock(), self.faults()
        scheduled = warmup.schedules(config)
        progress = await self._progress(scheduled, now)
        used = await self.store.permits_used(_keys(scheduled), DAY_MS, now)
        found = []
        for name, pool in config.pools.items():
            for source in pool.sources:
                address = str(source.address)
                fault = faults.get(address, "")
                known = progress.get(address)
                if known is None or known.state == "completed":
                    warm = PoolSource(
                        name, address, source.weight, "warm", fault, source.warmup or ""
                    )
                    found.append(warm)
                    continue
                schedule = scheduled[address]
                allowances = _allowances(schedule, known, used)
                missing = warmup.enough(allowances[0].allowance) - allowances[0].used
                turns = known.state == "warming"
                found.append(
                    PoolSource(
                        pool=name,
                        address=address,
                        weight=source.weight,
                        state="warming" if turns else "paused",
                        fault=fault,
                        warmup=source.warmup or "",
                        day=min(known.day, schedule.days),
                        days=schedule.days,
                        allowances=allowances,
                        next_at=known.day_began_at + DAY_MS if turns else 0,
                        missing=max(0, missing) if turns else 0,
                    )
                )
        return found

    async def change(self, request: WarmupRequest) -> PoolSource:
        """How the address stands after it. Raises `Refused`."""
        address = _spelled(request.address)
        schedule = warmup.schedules(self.config()).get(address)
        if schedule is None:
            raise Refused(_not_scheduled(self.config(), address), "not_found")
        now = self.clock()
        stored = {each.address: each for each in await self.store.warmups.all()}.get(address)
        current = stored
        if current is None or warmup.is_forgotten(current, now):
            current = warmup.begin(address, now)
        changed = _changed(request, current, schedule, now)
        if not await self.store.warmups.replace(stored, warmup.touched(changed, now)):
            raise Refused(f"the warm-up of {address} was changed meanwhile; look again", "conflict")
        if self.changed is not None:
            await self.changed()
        return next(each for each in await self.list() if each.address == address)

    async def _progress(
        self, scheduled: Mapping[str, Schedule], now: int
    ) -> dict[str, WarmupProgress]:
        """Of those that the configuration has warm up; what is not stored is at its first day."""
        stored = {
            each.address: each
            for each in await self.store.warmups.all()
            if not warmup.is_forgotten(each, now)
        }
        return {address: stored.get(address) or warmup.begin(address, now) for address in scheduled}


def _changed(
    request: WarmupRequest, current: WarmupProgress, schedule: Schedule, now: int
) -> WarmupProgress:
    """What a request makes of it. Raises `Refused`."""
    match request.change:
        case "set":
            if not 1 <= request.day <= schedule.days:
                raise Refused(f"its schedule has the days 1 to {schedule.days}, not {request.day}")
            return warmup.at_day(current, request.day, now)
        case "restart":
            return warmup.begin(current.address, now)
        case "complete":
            return warmup.completed(current)
        case _ if current.state == "completed":
            raise Refused(
                f"{current.address} is warm already; `relay warmup set` and `relay warmup restart`"
                " have it warm up again",
                "conflict",
            )
        case "pause":
            return warmup.paused(current)
        case "resume":
            if current.state != "paused":
                raise Refused(f"the warm-up of {current.address} is not paused", "conflict")
            return warmup.resumed(current, now)


def _keys(scheduled: Mapping[str, Schedule]) -> list[str]:
    return [
        warmup_key(address, provider)
        for address, schedule in scheduled.items()
        for provider in ("", *schedule.providers)
    ]


def _allowances(
    schedule: Schedule, progress: WarmupProgress, used: Mapping[str, int]
) -> tuple[Allowance, ...]:
    """The one in all first."""
    return tuple(
        Allowance(
            provider,
            schedule.allowance(progress.day, provider) or 0,
            used.get(warmup_key(progress.address, provider), 0),
        )
        for provider in ("", *schedule.providers)
    )


def _spelled(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise Refused(f"{text!r} is not an IP address") from None


def _not_scheduled(config: Config, address: str) -> str:
    sources = {str(source.address) for pool in config.pools.values() for source in pool.sources}
    if address in sources:
        return (
            f"the source {address} has no warm-up in the configuration: give it `warmup: standard`"
        )
    there = ", ".join(sorted(warmup.schedules(config))) or "none"
    return f"no source {address} is in the configuration (those with a warm-up: {there})"
