"""Scenario: a provider that takes less than anybody told us, and says so.

A backlog for one provider, which takes a number of recipients a minute from each source and answers
what is more with 421 and the words of a real one. Nothing of this is in the configuration. How much
does the provider refuse, how fast does mail go, and what follows a complaint?
"""

from dataclasses import dataclass
from math import inf

from bench.simulation.figures import per_interval
from bench.simulation.network import domains_of
from bench.simulation.provider import Provider, Rules
from bench.simulation.world import World, unhurried

SOURCE = "192.0.2.1"
DOMAINS = 10
SPAN = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """By minute: recipients that were offered, and that were taken; of `allowed` each. `rates` are
    what the relay allowed itself from a moment on, in recipients a minute (0: no bound)."""

    allowed: int
    offered: list[int]
    taken: list[int]
    complaints: list[float]
    rates: list[tuple[float, float]]

    @property
    def used(self) -> float:
        """Which share of what the provider takes was sent, the first ten minutes left out."""
        steady = self.taken[10:-1]
        return sum(steady) / (len(steady) * self.allowed)

    @property
    def refused_share(self) -> float:
        """Which share of what was offered was refused, the first ten minutes left out."""
        offered, taken = sum(self.offered[10:-1]), sum(self.taken[10:-1])
        return (offered - taken) / offered

    @property
    def rounds(self) -> list[float]:
        """When the provider began to complain, in seconds: complaints of one minute are one."""
        began: list[float] = []
        last = -SPAN
        for moment in self.complaints:
            if moment - last >= SPAN:
                began.append(moment)
            last = moment
        return began

    @property
    def shortest_peace(self) -> float:
        """The shortest time between two rounds of complaints, in seconds; a relay that snaps back
        has a short one."""
        pairs = zip(self.rounds, self.rounds[1:], strict=False)
        return min((after - before for before, after in pairs), default=inf)


async def play(allowed: int, hours: float) -> Outcome:
    """`allowed` recipients a minute; more than that wait all the time."""
    north = Provider("north", Rules(rates=((allowed, SPAN),), round_trip=0.1))
    facts = {
        "configuration_sets": {"main": {"pool": "main", "max_age": "30d"}},
        "pools": {"main": {"sources": [{"address": SOURCE}]}},
        "delivery": {"working_set": 1_000},
    }
    until = hours * 3600.0
    with unhurried(30.0):
        async with World(facts, domains_of((north,), DOMAINS)) as world:
            for number in range(round(allowed * until / SPAN * 1.1)):
                await world.accept("main", f"d{number % DOMAINS}.north.example")
            await world.sleep_until(until)
            rates = world.supervisor.rates
    seen = north.seen[SOURCE]
    return Outcome(
        allowed,
        per_interval(seen.offered, SPAN, until),
        per_interval(seen.taken, SPAN, until),
        list(seen.refused),
        [
            (at, 0.0 if limit is None or limit.rate is None else limit.rate.per_second * 60)
            for at, _, _, limit in rates
        ],
    )
