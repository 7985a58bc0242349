"""Scenario: two pools, and one address of one of them is on a blocklist for some hours.

Mail of the pool goes from its other address, as far as one provider is concerned; the other
provider, and the other pool, notice nothing. When the block is lifted the address comes back.
"""

import asyncio
from dataclasses import dataclass
from random import Random

from bench.simulation.figures import percentile
from bench.simulation.network import domains_of
from bench.simulation.provider import Provider, Rules
from bench.simulation.world import SEED, Arrival, World, unhurried

FIRST, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"
DOMAINS = 10
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`bounced` recipients of ours though only the address was at fault; `offered` to the provider
    from the blocked address while it was blocked; everything that arrived."""

    blocked: tuple[float, float]
    until: float
    arrivals: list[Arrival]
    bounced: int
    offered: list[float]
    accepted: int

    def latency(self, configuration_set: str, share: float = 0.99) -> float:
        """A percentile in seconds."""
        found = (a.latency for a in self.arrivals if a.configuration_set == configuration_set)
        return percentile(found, share)

    def sent(self, source: str, provider: str) -> list[float]:
        """When mail arrived from one source at one provider."""
        ending = f".{provider}.example"
        return [a.at for a in self.arrivals if a.source == source and a.domain.endswith(ending)]


async def play(hours: float, blocked: tuple[float, float], each: float) -> Outcome:
    """For so many hours, a message for each set every `each` seconds; `blocked` from and to, in
    hours."""
    north, south = Provider("north", Rules()), Provider("south", Rules())
    facts = {
        "configuration_sets": {
            "one": {"pool": "one", "max_age": "2d"},
            "two": {"pool": "two", "max_age": "2d"},
        },
        "pools": {
            "one": {"sources": [{"address": FIRST}, {"address": SECOND}]},
            "two": {"sources": [{"address": THIRD}]},
        },
    }
    start, end = (moment * HOUR for moment in blocked)
    until = hours * HOUR
    with unhurried(30.0):
        async with World(facts, domains_of((north, south), DOMAINS)) as world:
            loop = asyncio.get_running_loop()
            loop.call_at(start, north.blocked.add, FIRST)
            loop.call_at(end, north.blocked.discard, FIRST)
            rng = Random(SEED)
            accepted = 0
            while world.now < until:
                await asyncio.sleep(rng.expovariate(2 / each))
                provider = rng.choice(("north", "south"))
                domain = f"d{rng.randrange(DOMAINS)}.{provider}.example"
                await world.accept(rng.choice(("one", "two")), domain)
                accepted += 1
            await world.until_empty(2 * 24 * HOUR)
            bounced = accepted - len(world.arrivals)
            offered = [at for at in north.seen[FIRST].offered if start <= at < end]
            return Outcome((start, end), until, world.arrivals, bounced, offered, accepted)
