"""Scenario: one campaign, and mail that must not wait for it.

A campaign is accepted as fast as its client can send. Meanwhile some sets send single messages to
the same domains and to others; one set sends to a destination that takes ten seconds over each
message. The same is played without the campaign, so that what it costs the others can be told.
Besides, some equal campaigns share a provider that takes less than they have: what share has each?
"""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from random import Random

from bench.simulation.figures import jain
from bench.simulation.network import domains_of
from bench.simulation.provider import Provider, Rules
from bench.simulation.world import SEED, Arrival, World

SOURCE = "192.0.2.1"
TRANSACTIONAL = tuple(f"transactional-{number}" for number in range(1, 5))
EQUALS = tuple(f"campaign-{number}" for number in range(1, 6))
DOMAINS = 20
SLOW = "d0.slow.example"
WORKING_SET = 2_000
INJECTED = 400  # messages a second


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from acceptance to the provider, by set; and when the campaign was over."""

    by_set: dict[str, list[float]]
    lasted: float
    arrivals: list[Arrival]


@dataclass(frozen=True, slots=True)
class Sharing:
    """What each of some equal campaigns had got through, and Jain's index of it."""

    shares: dict[str, int]
    index: float


async def transactional(campaign: int, seconds: float) -> Latencies:
    """`campaign` recipients (0: none) beside mail of the transactional sets for so many seconds."""
    big = Provider("big", Rules(round_trip=0.1, thinking=(0.05, 0.3)))
    other = Provider("other", Rules(round_trip=0.05))
    slow = Provider("slow", Rules(connections=2, round_trip=0.3, thinking=(8.0, 12.0)))
    names = ("campaign", "to-the-slow", *TRANSACTIONAL)
    facts = {
        "configuration_sets": {name: {"pool": "main"} for name in names},
        "pools": {"main": {"sources": [{"address": SOURCE}]}},
        "providers": {
            "big": {"exchanges": ["mx.big.test"], "connections": 20},
            "slow": {"exchanges": ["mx.slow.test"], "connections": 2},
        },
        "delivery": {"working_set": WORKING_SET},
    }
    async with World(facts, domains_of((big, other, slow), DOMAINS)) as world:
        senders = [
            asyncio.create_task(_single(world, name, seconds, Random(f"{SEED}{name}")))
            for name in TRANSACTIONAL
        ]
        senders.append(asyncio.create_task(_slowly(world, seconds)))
        senders.append(asyncio.create_task(_blast(world, "campaign", campaign, "big")))
        await asyncio.gather(*senders)
        await world.until_empty(7 * 86_400.0)
        arrivals = world.arrivals
    by_set: defaultdict[str, list[float]] = defaultdict(list)
    for arrival in arrivals:
        by_set[arrival.configuration_set].append(arrival.latency)
    lasted = max((a.at for a in arrivals if a.configuration_set == "campaign"), default=0.0)
    return Latencies(dict(by_set), lasted, arrivals)


async def equals(each: int) -> Sharing:
    """Equal campaigns, accepted one after the other, to a provider that takes 20 a second."""
    big = Provider("big", Rules(round_trip=0.1))
    facts = {
        "configuration_sets": {name: {"pool": "main"} for name in EQUALS},
        "pools": {"main": {"sources": [{"address": SOURCE, "rate": "20/s"}]}},
        "delivery": {"working_set": WORKING_SET},
    }
    async with World(facts, domains_of((big,), DOMAINS)) as world:
        for name in EQUALS:
            await _blast(world, name, each, "big")
        began = len(world.arrivals)  # from here on all of them have mail
        while min(Counter(a.configuration_set for a in world.arrivals).values()) < each:
            if max(Counter(a.configuration_set for a in world.arrivals).values()) >= each:
                break
            await asyncio.sleep(5.0)
        shares = Counter(a.configuration_set for a in world.arrivals[began:])
        await world.until_empty(7 * 86_400.0)
    found = {name: shares[name] for name in EQUALS}
    return Sharing(found, jain(list(found.values())))


async def _blast(world: World, name: str, count: int, provider: str) -> None:
    for number in range(count):
        await world.accept(name, f"d{number % DOMAINS}.{provider}.example")
        if number % 20 == 19:
            await asyncio.sleep(20 / INJECTED)


async def _single(world: World, name: str, seconds: float, rng: Random) -> None:
    while world.now < seconds:
        provider = rng.choice(("big", "other"))
        await world.accept(name, f"d{rng.randrange(DOMAINS)}.{provider}.example")
        await asyncio.sleep(rng.expovariate(1.0))


async def _slowly(world: World, seconds: float) -> None:
    """Twice as much as the slow destination takes."""
    while world.now < seconds:
        await world.accept("to-the-slow", SLOW)
        await asyncio.sleep(2.5)
