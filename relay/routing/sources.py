"""Which source address of a pool an attempt leaves from.

Chosen anew for each attempt: pools change and addresses fail, and no message may be tied to one.
Mail never leaves from an address outside the pool of its configuration set, nor from the host's
default address: where no source is eligible there is none, and the mail waits. Pure; chance is
injected.

The weight is the share of attempts among the eligible sources. A source of weight 0 is never
chosen, not even when it is the last one: so an operator drains an address that must rest.
"""

from collections.abc import Collection
from random import Random

from relay.config.model import Pool
from relay.routing.health import Availability
from relay.routing.plan import Candidate, Plan

DRAINED = "its weight is 0"


def candidates(pool: Pool, hostname: str, health: Availability) -> tuple[Candidate, ...]:
    """Every source of the pool, in the order of the configuration, the unusable ones with why."""
    return tuple(
        Candidate(
            source=source,
            ehlo=source.ehlo or hostname,
            weight=source.weight,
            excluded=health.fault(str(source.address)) or ("" if source.weight else DRAINED),
        )
        for source in pool.sources
    )


def choose_source(plan: Plan, rng: Random, avoid: Collection[str] = ()) -> Candidate | None:
    """An eligible source by weight, or None where there is none.

    `avoid` holds addresses that this attempt has no use for (a limit is reached, the wrong family).
    """
    eligible = [c for c in plan.candidates if not c.excluded and c.weight > 0]
    if avoid:
        eligible = [c for c in eligible if c.address not in avoid]
    if len(eligible) <= 1:
        return eligible[0] if eligible else None
    point = rng.random() * sum(candidate.weight for candidate in eligible)
    for candidate in eligible:
        point -= candidate.weight
        if point < 0:
            return candidate
    return eligible[-1]
