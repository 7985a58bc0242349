"""The queue in sums: by configuration set, pool, domain, provider or source.

What the store counts it counts for all deliveries. Which provider a domain belongs to is known of
those whose mail exchanges were asked for lately, and of those that a definition lists; the rest is
`other`. By source only what waits in the memory of a running relay can be told: the source is
chosen when a delivery is about to go.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from relay.admin.control import Refused
from relay.config.model import Config
from relay.config.providers import providers_of
from relay.routing.providers import Providers
from relay.routing.sites import OTHER
from relay.store.interface import OperatorStore
from relay.store.values import QueueGroup

SummaryBy = Literal["set", "pool", "source", "provider", "domain"]
MOST = 100_000
"""Entries of one summary."""


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """Up to `limit` sums, the largest first."""

    by: SummaryBy
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Sum:
    """Deliveries that have a name in common. `claimed` are in the hands of a worker, most of them
    among the queued. Times are UTC ms, 0 where there is none."""

    name: str
    queued: int = 0
    held: int = 0
    suspended: int = 0
    quarantined: int = 0
    claimed: int = 0
    oldest_accepted_at: int = 0
    next_due_at: int = 0

    @property
    def all(self) -> int:
        return self.queued + self.held + self.suspended + self.quarantined


@dataclass(frozen=True, slots=True)
class Summary:
    """`sums` are the largest of `groups`; `total` is of all of them."""

    by: SummaryBy
    sums: tuple[Sum, ...]
    total: Sum
    groups: int


async def no_providers() -> Mapping[str, str]:
    """Where no relay runs that has asked DNS."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryOperations:
    """`providers` gives those of domains, as far as a running relay has found them out; `waiting`
    what waits in its memory for each source (None where no relay runs)."""

    store: OperatorStore
    config: Callable[[], Config]
    providers: Callable[[], Awaitable[Mapping[str, str]]] = no_providers
    waiting: Callable[[], Awaitable[Mapping[str, int]]] | None = None

    async def summary(self, request: SummaryRequest) -> Summary:
        """Raises `Refused`."""
        if not 1 <= request.limit <= MOST:
            raise Refused(f"the limit of a summary is from 1 to {MOST:,}, not {request.limit}")
        sums = sorted(await self._sums(request.by), key=lambda each: (-each.all, each.name))
        total = added("all", sums)
        return Summary(request.by, tuple(sums[: request.limit]), total, len(sums))

    async def _sums(self, by: SummaryBy) -> list[Sum]:
        match by:
            case "set" | "domain":
                return [sum_of(group) for group in await self.store.groups(by)]
            case "pool":
                sets = self.config().configuration_sets
                return merged(
                    (group.pool or (sets[group.name].pool if group.name in sets else ""), group)
                    for group in await self.store.groups("pool")
                )
            case "provider":
                return await self._by_provider()
            case "source":
                if self.waiting is None:
                    raise Refused(
                        "no relay is running: a source is chosen only when mail is about to go",
                        "unavailable",
                    )
                return [
                    Sum(name, queued=n, claimed=n) for name, n in (await self.waiting()).items()
                ]

    async def _by_provider(self) -> list[Sum]:
        groups = await self.store.groups("domain")
        found = await self.providers()
        listed = Providers(providers_of(self.config()))
        return merged(
            (found.get(group.name) or listed.of_domain(group.name) or OTHER, group)
            for group in groups
        )


def sum_of(group: QueueGroup, name: str = "") -> Sum:
    """A group under its own name, or another."""
    return Sum(
        name or group.name,
        group.queued,
        group.held,
        group.suspended,
        group.quarantined,
        group.claimed,
        group.oldest_accepted_at,
        group.next_due_at or 0,
    )


def merged(named: Iterable[tuple[str, QueueGroup]]) -> list[Sum]:
    """Groups of one name as one sum."""
    by_name: dict[str, list[Sum]] = {}
    for name, group in named:
        by_name.setdefault(name, []).append(sum_of(group, name))
    return [added(name, sums) for name, sums in by_name.items()]


def added(name: str, sums: Sequence[Sum]) -> Sum:
    """All of them together."""
    return Sum(
        name,
        sum(each.queued for each in sums),
        sum(each.held for each in sums),
        sum(each.suspended for each in sums),
        sum(each.quarantined for each in sums),
        sum(each.claimed for each in sums),
        min((each.oldest_accepted_at for each in sums if each.oldest_accepted_at), default=0),
        min((each.next_due_at for each in sums if each.next_due_at), default=0),
    )
