"""What providers' complaints lead to, for the whole relay.

Workers say that a reply has met a rule; the table (`relay.feedback.restraints`) decides whether
that changes anything; here the change is put in force, counted, logged, and told to all workers.
Rates are limits of their own (`temper:SOURCE/LINE`), connections a lower bound of the slots, and a
rest is known to the workers, who place no mail with a source that rests.

Owns the table. It outlives workers and reloads; a new process begins with an empty one.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from math import ceil
from typing import Protocol

from relay.config.model import Config
from relay.config.units import Rate
from relay.feedback.restraints import Change, Complaint, Rest, Restraint, Restraints, rest_of
from relay.limits.specs import Limit
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics

TICK_SECONDS = 1.0


class Reins(Protocol):
    """Where rates and connections are held back, and what there is to be known of them."""

    def slow_down(self, source: str, line: str, limit: Limit | None) -> None:
        """Put a limit of its own in force for what a source sends to a line; None: no more."""

    def fewer_connections(self, source: str, line: str, most: int | None) -> None: ...

    def allowed(self, source: str, line: str) -> tuple[float, float]:
        """What the configuration allows: recipients per second (infinite: any), connections."""

    def connected(self, source: str, line: str) -> int:
        """How many connections there are, of all workers."""

    async def flowed(self, source: str, line: str) -> float:
        """Recipients per second that went lately, from all workers."""


class Restraining:
    """`rest` tells all workers of a rest; `lifted` is told of each line for which one is over
    before its time."""

    def __init__(
        self,
        reins: Reins,
        rest: Callable[[Rest], None],
        metrics: Metrics,
        log: Logger,
        *,
        clock: Callable[[], float],
        wall: Callable[[], int],
        lifted: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._reins = reins
        self._rest = rest
        self._metrics = metrics
        self._log = log
        self._lifted = lifted
        self._table = Restraints(clock, wall)
        self._deciding: set[asyncio.Task[None]] = set()
        self._shown: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"<Restraining {self._table!r}>"

    def in_force(self) -> list[Restraint]:
        """What is held back now."""
        return self._table.in_force()

    def rests(self) -> list[Rest]:
        """What a worker that begins has to know."""
        return self._table.rests()

    def hear(self, complaint: Complaint) -> None:
        """A worker says that a reply has met a rule."""
        if not self._table.hear(complaint):
            return
        if complaint.action in ("pause", "other_source"):
            self._put_in_force(self._table.act(complaint, 0.0, 0.0))
            return
        task = asyncio.create_task(self._decide(complaint))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)

    def clear(self, source: str, line: str) -> int:
        """An operator lifts what holds a source back for a line; how many restraints there were."""
        changes = self._table.clear(source, line)
        self._put_in_force(changes)
        if any(change.kind == "rest" for change in changes):
            self._lifted(line)
        return len(changes)

    def reconfigure(self, config: Config) -> None:
        """Keep what is in force, but for sources that are no longer configured."""
        pools = config.pools.values()
        sources = {str(source.address) for pool in pools for source in pool.sources}
        self._put_in_force(self._table.keep(sources))

    async def run(self) -> None:
        """Let rates recover and rests end, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Put in force what the passing of time has changed."""
        self._put_in_force(self._table.tick())

    async def _decide(self, complaint: Complaint) -> None:
        try:
            base, flowed = await self._measure(complaint)
            self._put_in_force(self._table.act(complaint, base, flowed))
        except Exception:  # the root of a task: the next complaint is to be heard all the same
            self._table.give_up(complaint)
            self._log.exception("reacting to a provider failed", rule=complaint.rule)

    async def _measure(self, complaint: Complaint) -> tuple[float, float]:
        """What is allowed, and what there was lately, of what the rule cuts."""
        source, line = complaint.source, complaint.line
        rate, connections = self._reins.allowed(source, line)
        if complaint.action == "fewer_connections":
            return connections, float(self._reins.connected(source, line))
        return rate, await self._reins.flowed(source, line)

    def _put_in_force(self, changes: Iterable[Change]) -> None:
        changed = False
        for change in changes:
            changed = True
            told = change.restraint
            if change.kind == "rate":
                self._reins.slow_down(told.source, told.line, _limit(change.level))
            elif change.kind == "connections":
                most = None if change.level is None else max(1, int(change.level))
                self._reins.fewer_connections(told.source, told.line, most)
            else:
                self._rest(rest_of(change))
            self._tell(change)
        if changed:
            self._show()

    def _tell(self, change: Change) -> None:
        told = change.restraint
        facts = {
            "source": told.source,
            "line": told.line,
            "action": told.action,
            "rule": told.rule,
        }
        if change.is_over:
            self._log.info("reaction is over", **facts)
        elif change.level is None:
            seconds = round((told.until - told.since) / 1000)
            self._log.warning("source rests", **facts, seconds=seconds, reply=told.reply)
        else:
            allowed, base = round(change.level, 3), round(told.base, 3)
            self._log.warning(
                "source is held back", **facts, allowed=allowed, base=base, reply=told.reply
            )

    def _show(self) -> None:
        paused: Counter[tuple[str, str]] = Counter()
        slowed: Counter[tuple[str, str]] = Counter()
        for one in self._table.in_force():
            counted = paused if one.until else slowed
            counted[one.source, one.provider or "other"] += 1
        labels = paused.keys() | slowed.keys()
        for label in self._shown | labels:
            self._metrics.source_paused.labels(*label).set(paused[label])
            self._metrics.path_slowed.labels(*label).set(slowed[label])
        self._shown |= labels


def _limit(per_second: float | None) -> Limit | None:
    """A rate as a limit: counted in the shortest time in which it lets some through."""
    if per_second is None:
        return None
    for seconds in (1, 60, 3_600):
        if per_second * seconds >= 50:
            break
    # Upwards, by 2 % at most: rounding down a rate of 1.9 would nearly halve it again.
    return Limit(Rate(max(1, ceil(per_second * seconds - 1e-9)), seconds))
