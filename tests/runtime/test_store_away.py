"""Every loop that asks the store lives through a store that fails, one that hangs, and its return.

Time is simulated: hours pass at once, and what is counted is exact.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from relay.config.model import Config
from relay.delivery.claiming import Claiming
from relay.delivery.shares import Shares
from relay.limits.sharing import Sharing
from relay.limits.slots import Slots
from relay.observe.logging import Logger, make_logger
from relay.observe.metrics import Metrics
from relay.routing.sts_keeper import StsKeeper
from relay.runtime.filing import FilingDesk
from relay.runtime.forwarding import Forwarding
from relay.runtime.gauges import Gauges
from relay.runtime.judging import Judging
from relay.runtime.membership import FleetMembership
from relay.runtime.news import News
from relay.runtime.pruning import prune_attempts, prune_log, prune_suppressions
from relay.runtime.shared_time import SharedTime
from relay.runtime.suspender import Suspender
from relay.runtime.tenure import Tenure
from relay.runtime.tls_reporting import TlsReporting
from relay.runtime.warmup_clock import WarmupClock
from relay.store.fleet_values import Membership, NodeReport, Share
from relay.store.interface import StoreUnavailable
from relay.store.values import Owner
from tests.delivery.outgoing import Lines, make_config

HANGS = 20.0  # seconds after which a store gives a silent server up
LEASE = 10.0


class _NoWaiting(selectors.SelectSelector):
    """Passes over the time until the next thing is to be done."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout:
            self.skipped += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    """One whose clock goes on by itself."""

    def __init__(self) -> None:
        self._passing = _NoWaiting()
        super().__init__(self._passing)

    def time(self) -> float:
        return 1_000_000.0 + self._passing.skipped


class Store:
    """Answers anything asked of it, or any part of it, with what `answers` has for that name; or
    fails, or hangs. Counts what it was asked."""

    def __init__(self) -> None:
        self.is_shared = True
        self.does = "answer"
        self.asked = 0
        self.answered = 0
        self.answers: dict[str, object] = {
            "beat": True, "hold_duty": True, "nodes": [], "all": [], "free": 0,
            "free_of_sources": None, "words": [], "bring_forward": [], "stale": [], "count": 0,
            "depths": [], "free_space": None, "permits_used": {}, "unsettled": [], "forget": 0,
            "name": ("outbox", 0), "filed_upto": 0, "read": [], "tallies": [], "prune": 0,
            "fresh_starts": [], "prune_once": 0, "prune_changes": 0, "settle": [],
        }  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            return self  # a part, such as `store.suppressions`
        return lambda *args, **named: self._answer(name, *args)

    async def _answer(self, name: str, *args: Any) -> object:
        self.asked += 1
        if self.does == "hang":
            await asyncio.sleep(HANGS)
        if self.does != "answer":
            raise StoreUnavailable("The database does not answer.")
        self.answered += 1
        if name == "settle":
            return [Share(wish.key, wish.demand, limit=wish.limit) for wish in args[1]]
        answer = self.answers[name]
        return list(answer) if isinstance(answer, list) else answer


class Bench:
    """What loops are made of."""

    def __init__(self, config: Config) -> None:
        self.store: Any = Store()
        self.config = config
        self.metrics = Metrics()
        self.lines = Lines()
        self.log: Logger = make_logger("json", "info", self.lines)  # type: ignore[arg-type]
        self.clock = asyncio.get_running_loop().time
        self.owner, self.is_valid, self.narrows = Owner("a", 1), True, False
        self.member = Membership("a", 1, round(LEASE * 1000))

    def wall(self) -> int:
        return round(self.clock() * 1000)

    def tell(self, *what: object) -> None: ...

    def place(self, deliveries: object, *, fresh: bool) -> None: ...

    def take(self, deliveries: list[object]) -> list[object]:
        return deliveries

    async def ask(self, *what: object) -> list[object]:
        return []

    async def is_ours(self) -> bool:
        return bool(await self.store.hold_duty())

    @property
    def valid_until(self) -> float:
        return self.clock() + LEASE


class _Silent:
    """A resolver that knows nothing."""

    async def texts(self, name: str) -> Any:
        raise AssertionError(name)


Loop = Callable[[Bench], Coroutine[Any, Any, Any]]


def _membership(bench: Bench) -> Coroutine[Any, Any, Any]:
    membership = FleetMembership(
        bench.store, "a", "word", LEASE,
        report=lambda: NodeReport("1"), seen=bench.tell, metrics=bench.metrics, log=bench.log,
        clock=bench.clock,
    )  # fmt: skip
    membership._member = bench.member
    return membership.run()


def _news(bench: Bench) -> Coroutine[Any, Any, Any]:
    news = News(bench.log)
    news.handle({"pauses": bench.store.all, "secrets": bench.store.all}, ("pauses", "secrets"))
    return news.run()


async def _forever() -> None:
    await asyncio.Event().wait()


def _tenure(bench: Bench) -> Coroutine[Any, Any, Any]:
    async def end(grace: float) -> None: ...

    return Tenure(
        "scribe", fleet=bench.store, member=lambda: bench.member, work=_forever, end=end,
        grace=1.0, log=bench.log, clock=bench.clock,
    ).run()  # fmt: skip


class _Holder:
    """Of a connection, for as long as it may."""

    def granted(self, line: str) -> None: ...

    def wanted(self, notice: object) -> None: ...


async def _sharing(bench: Bench) -> None:
    """With a connection that is held."""
    sharing = Sharing(bench.store, bench, bench.clock)
    slots = Slots()
    sharing.divide(slots)
    slots.configure(10, lambda line: 10)
    slots.seat(_Holder()).want("line")
    await sharing.run()


def _suspender(bench: Bench) -> Coroutine[Any, Any, Any]:
    return Suspender(
        bench.store,
        lambda: bench,
        bench.wall,
        bench.metrics,
        bench.log,
        bench.tell,
        bench.tell,  # type: ignore[arg-type, return-value]
    ).run()


async def _forwarding(bench: Bench) -> None:
    forwarding = Forwarding(bench.store, bench.wall, bench.tell, bench.log)

    async def bring() -> None:
        while True:
            forwarding.bring("rest:line")
            await asyncio.sleep(5)

    async with asyncio.TaskGroup() as both:
        both.create_task(bring())
        both.create_task(forwarding.run())


def _warmups(bench: Bench) -> Coroutine[Any, Any, Any]:
    async def levels(keys: object) -> list[Any]:
        await bench.store.permits_used()
        return []

    async def look() -> None:
        await bench.store.all()

    clock = WarmupClock(
        bench.store, levels=levels, now=bench.wall, changed=bench.tell, turned=bench.tell,
        metrics=bench.metrics, log=bench.log,
    )  # fmt: skip
    clock.look = look  # type: ignore[method-assign]  # nothing warms up here, so it would not ask
    return clock.run()


def _gauges(bench: Bench) -> Coroutine[Any, Any, Any]:
    class NoLimits:
        async def levels(self) -> list[Any]:
            return []

    return Gauges(
        bench.store,
        NoLimits(),
        bench.metrics,
        bench.log,
        lambda: bench.config,
        bench.wall,  # type: ignore[arg-type]
    ).run()


def _attempts(bench: Bench) -> Coroutine[Any, Any, Any]:
    return prune_attempts(bench.store, lambda: bench.config, bench.wall, bench.is_ours, bench.log)


def _suppressions(bench: Bench) -> Coroutine[Any, Any, Any]:
    return prune_suppressions(
        bench.store, lambda: bench.config, bench.wall, bench.is_ours, bench.log
    )


def _log_pruned(bench: Bench) -> Coroutine[Any, Any, Any]:
    return prune_log(bench.store, lambda: bench.config, lambda: 0, bench.wall, bench.log)


def _reports(bench: Bench) -> Coroutine[Any, Any, Any]:
    return TlsReporting(
        store=bench.store, resolver=_Silent(), context=None, config=lambda: bench.config,  # type: ignore[arg-type]
        changed=bench.tell, is_ours=bench.is_ours, metrics=bench.metrics, log=bench.log,
        wall=bench.wall,
    ).run()  # fmt: skip


def _policies(bench: Bench) -> Coroutine[Any, Any, Any]:
    bench.store.answers["forget_ended"] = 0
    return StsKeeper(None, bench.store, bench.log, bench.wall).run()  # type: ignore[arg-type]


def _filing(bench: Bench) -> Coroutine[Any, Any, Any]:
    desk = FilingDesk(
        outbox=bench.store, log=bench.store, suppressions=bench.store, rules=lambda: None,  # type: ignore[arg-type, return-value]
        filed=bench.tell, wall=bench.wall, metrics=bench.metrics, logger=bench.log,
    )  # fmt: skip
    desk._name = "outbox"
    return desk.run()


def _judging(bench: Bench) -> Coroutine[Any, Any, Any]:
    bench.store.answers["prune_tallies"] = 0
    return Judging(
        tallies=bench.store, pauses=bench.store, config=lambda: bench.config, wall=bench.wall,
        changed=bench.tell, metrics=bench.metrics, log=bench.log,
    ).run()  # fmt: skip


def _claiming(bench: Bench) -> Coroutine[Any, Any, Any]:
    bench.store.answers |= {"claim": [], "next_due": None}
    claiming = Claiming(bench.store, Shares(bench.config), bench.wall, Random(1), bench.log)
    claiming.claims = claiming.mail = bench  # type: ignore[assignment]
    return claiming.run()


async def _time(bench: Bench) -> None:
    bench.store.answers["clock"] = bench.wall()
    shared = SharedTime(
        bench.store, bench.tell, bench.metrics, bench.log, wall=bench.wall, monotonic=bench.clock
    )
    while True:
        await shared.look()
        await asyncio.sleep(1)


LOOPS: dict[str, tuple[Loop, float]] = {
    # and how many seconds it takes at most until it asks again
    "membership": (_membership, 5),
    "news": (_news, 45),
    "duty": (_tenure, 15),
    "shares": (_sharing, 25),
    "suspensions": (_suspender, 55),
    "mail put off": (_forwarding, 30),
    "warm-ups": (_warmups, 55),
    "gauges": (_gauges, 30),
    "dialogues": (_attempts, 30),
    "suppression list": (_suppressions, 330),
    "message log": (_log_pruned, 30),
    "TLS reports": (_reports, 30 * 3600),
    "policies of MTA-STS": (_policies, 2 * 3600),
    "filing": (_filing, 40),
    "judging": (_judging, 60),
    "claiming": (_claiming, 30),
    "clock": (_time, 25),
}
MOST_A_SECOND = 12  # questions: a loop that spins asks thousands


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_outlives_a_store_that_is_away_without_spinning(name: str, tmp_path: Any) -> None:
    make, patience = LOOPS[name]

    async def live() -> None:
        bench = Bench(make_config(tmp_path))
        store, span = bench.store, max(60.0, 3 * patience)
        work = asyncio.ensure_future(make(bench))
        for does in ("answer", "fail", "hang", "fail", "answer"):
            store.does, asked, answered = does, store.asked, store.answered
            await asyncio.sleep(span)
            assert not work.done(), f"{name} ended while the store {does}s: {work}"
            if does == "answer":
                assert store.answered > answered, f"{name} did not go on"
            else:
                assert store.asked > asked, f"{name} does not try again while the store {does}s"
                assert store.asked - asked < MOST_A_SECOND * span
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        lines = [line for line in bench.lines if line["level"] in ("warning", "error")]
        assert lines or name in _QUIET

    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(live())


_QUIET = ("shares", "duty", "clock")  # what a failure means for them is told elsewhere
