"""Scenario: what providers allow is never exceeded, in any window, whatever waits.

Three providers with limits of different kinds, and a relay that was told of them. For some days it
is given more than may go, in blasts, so that every limit is reached. Each provider counts on its
own side, recipient by recipient, in windows that begin anywhere. One of them is down for an hour
of the first day, and gets its mail afterwards, no faster than ever.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from bench.simulation.clock import virtual_loop
from bench.simulation.figures import most_in_window
from bench.simulation.network import domains_of
from bench.simulation.provider import Provider, Rules
from bench.simulation.world import SEED, World

DAY = 86_400.0
SOURCES = ("192.0.2.1", "192.0.2.2")
DOMAINS = 10  # of each provider
BLASTS = 4  # a day
OUTAGE = (60.0, 3_660.0)  # of south, in seconds from the beginning

RULES = {
    "north": Rules(connections=10, rates=((10, 1.0), (600, 3600.0)), round_trip=0.05),
    "south": Rules(connections=2, rates=((60, 60.0), (2000, DAY)), round_trip=0.3),
    "west": Rules(connections=5, rates=((2, 1.0), (1500, DAY)), round_trip=0.15, greylisting=300.0),
}
SHAPES: dict[str, dict[str, Any]] = {
    "north": {"connections": 10, "rate": ["10/s", "600/h"], "messages_per_connection": 50},
    "south": {"connections": 2, "rate": "60/min", "quota": "2000/day"},
    "west": {"connections": 5, "rate": "2/s", "quota": "1500/day", "connection_rate": "1/s"},
}
CONNECTION_RATES = {"west": (1, 1.0)}


@dataclass(frozen=True, slots=True)
class Watched:
    """One limit as its provider saw it kept: the most of any window, and of so many in all."""

    provider: str
    source: str
    limit: str
    allowed: int
    most: int
    total: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every limit, the replies that refused, and for each provider the moments of recipients, and
    how many connections were opened to it."""

    days: float
    watched: list[Watched]
    opened: dict[str, int]
    refusals: int
    accepted: int
    taken: int
    moments: dict[str, list[float]]


async def play(days: float = 2.0, blast: int = 1_200) -> Outcome:
    """`blast` recipients to each provider at once, some times a day."""
    providers = {name: Provider(name, rules) for name, rules in RULES.items()}
    facts = {
        "configuration_sets": {"main": {"pool": "main", "max_age": "30d"}},
        "pools": {"main": {"sources": [{"address": source} for source in SOURCES]}},
        "providers": {
            name: {"exchanges": [f"mx.{name}.test"], **shape} for name, shape in SHAPES.items()
        },
        "retry": {"schedule": ["5m", "15m", "1h"]},
    }
    rng = Random(SEED)
    accepted = 0
    loop, down = virtual_loop(), providers["south"]
    loop.call_at(OUTAGE[0], setattr, down, "down", True)
    loop.call_at(OUTAGE[1], setattr, down, "down", False)
    async with World(facts, domains_of(providers.values(), DOMAINS)) as world:
        for number in range(int(days * BLASTS)):
            await world.sleep_until(number * DAY / BLASTS)
            for _ in range(blast):
                for name in providers:
                    await world.accept("main", f"d{rng.randrange(DOMAINS)}.{name}.example")
                    accepted += 1
        await world.sleep_until(days * DAY)
        taken = len(world.arrivals)
    return Outcome(
        days=days,
        watched=[one for provider in providers.values() for one in _watch(provider)],
        opened={
            name: sum(len(seen.opened) for seen in provider.seen.values())
            for name, provider in providers.items()
        },
        refusals=sum(len(s.refused) for p in providers.values() for s in p.seen.values()),
        accepted=accepted,
        taken=taken,
        moments={
            name: sorted(at for seen in provider.seen.values() for at in seen.taken)
            for name, provider in providers.items()
        },
    )


def _watch(provider: Provider) -> list[Watched]:
    found = []
    for source, seen in sorted(provider.seen.items()):
        facts = [
            (f"{count:,} recipients in {_span(span)}", count, most_in_window(seen.offered, span))
            for count, span in provider.rules.rates
        ]
        if provider.name in CONNECTION_RATES:
            count, span = CONNECTION_RATES[provider.name]
            most = most_in_window(seen.opened, span)
            facts.append((f"{count} connections opened in {_span(span)}", count, most))
        allowed = provider.rules.connections
        facts.append((f"{allowed} connections at a time", allowed, seen.most_connections))
        found += [
            Watched(provider.name, source, limit, count, most, len(seen.offered))
            for limit, count, most in facts
        ]
    return found


def _span(seconds: float) -> str:
    return {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", DAY: "24 hours"}[seconds]
