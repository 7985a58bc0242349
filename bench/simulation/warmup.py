"""Scenario: a new address beside a warm one, from its first day until it is warm.

Each day brings more mail than the new address may send. It is to send its allowance, each day's, in
no 24 hours more than that, and the warm one all that is beyond it, at once.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random

from bench.simulation.figures import percentile
from bench.simulation.network import domains_of
from bench.simulation.provider import Provider, Rules
from bench.simulation.world import SEED, World, unhurried
from relay.limits.warmup import curve

DAY = 86_400.0
WARM, NEW = "192.0.2.1", "192.0.2.2"
DOMAINS = 10


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the warm-up as it was: what was allowed, what was sent in it, when it began."""

    number: int
    allowance: int
    sent: int
    began: float
    lasted: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`excess` is by how much any 24 hours had more than was allowed at their end;
    `completed_after` so many days the address was warm; `latency` is the 99th percentile over all
    mail in seconds; `sent` are the moments by source."""

    planned: tuple[int, ...]
    days: list[Day]
    excess: int
    completed_after: float | None
    latency: float
    sent: dict[str, list[float]]


async def play(days: int, first: int, target: int, demand: int, last: float) -> Outcome:
    """A curve over `days`; `demand` recipients come in each day, evenly by chance, for `last`
    days."""
    north = Provider("north", Rules(round_trip=0.1))
    facts = {
        "configuration_sets": {"main": {"pool": "main", "max_age": "30d"}},
        "warmups": {
            "ours": {"length": f"{days}d", "first": f"{first}/day", "target": f"{target}/day"}
        },
        "pools": {
            "main": {"sources": [{"address": WARM}, {"address": NEW, "warmup": "ours"}]},
        },
    }
    with unhurried(60.0):
        async with World(facts, domains_of((north,), DOMAINS)) as world:
            rng = Random(SEED)
            while world.now < last * DAY:
                await asyncio.sleep(rng.expovariate(demand / DAY))
                await world.accept("main", f"d{rng.randrange(DOMAINS)}.north.example")
            await world.until_empty(DAY)
            arrivals = world.arrivals
            began = [(1, 0.0)]
            for at, progress in world.supervisor.turns:
                warms = progress[NEW].state != "completed"
                began.append((progress[NEW].day if warms else 0, at))
            offered = north.seen[NEW].offered
    planned = curve(first, target, days)
    sent = {source: [a.at for a in arrivals if a.source == source] for source in (WARM, NEW)}
    warm_at = next((at for number, at in began if number == 0), None)
    return Outcome(
        planned=planned,
        days=_days(began, planned, sent[NEW], last * DAY),
        excess=_excess(began, planned, offered),
        completed_after=None if warm_at is None else warm_at / DAY,
        latency=percentile((a.latency for a in arrivals), 0.99),
        sent=sent,
    )


def _days(
    began: list[tuple[int, float]], planned: tuple[int, ...], sent: list[float], until: float
) -> list[Day]:
    ends = [at for _, at in began[1:]] + [until]
    return [
        Day(
            number,
            planned[number - 1],
            sum(1 for moment in sent if start <= moment < end),
            start,
            end - start,
        )
        for (number, start), end in zip(began, ends, strict=True)
        if number
    ]


def _excess(began: list[tuple[int, float]], planned: tuple[int, ...], sent: list[float]) -> int:
    """The most by which the 24 hours before a message, itself included, exceeded its day."""
    worst, window, turns = 0, deque[float](), deque(began)
    allowance = planned[0]
    for moment in sent:
        while turns and turns[0][1] <= moment:
            number = turns.popleft()[0]
            if number == 0:
                return worst
            allowance = planned[number - 1]
        window.append(moment)
        while window[0] <= moment - DAY + 0.001:
            window.popleft()
        worst = max(worst, len(window) - allowance)
    return worst
