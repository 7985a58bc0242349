"""One authority, several workers that lease from it, over lines that are slow: nothing is ever let
through twice, hardly anything is lost, and nobody is forgotten."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.limits.leased import LeasedLimits
from relay.limits.limits import Limit, Limits
from tests.limits.conftest import MemoryPermits
from tests.limits.simulation import Line, Worker, busiest_window, now, simulate, wall

DAY_MS = 86_400_000
TODAY = 1_800_001_100_000  # UTC ms, just after every run has ended
KEYS = ("pool:main",)

# What happens to which worker, and how long after what happened before.
MISHAPS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from(["stall", "die", "nothing"])),
    max_size=8,
)


def run(
    specs: dict[str, Limit],
    *,
    workers: int,
    seconds: float,
    lanes: int = 4,
    most_recipients: int = 1,
    pause: float = 0.0005,
    delay: float = 0.0002,
    seed: int = 1,
    mishaps=(),
    keys: tuple[str, ...] = KEYS,
) -> tuple[list[Worker], MemoryPermits]:
    """Let workers send all they can for so many seconds; the first second is a pause."""
    all_workers: list[Worker] = []
    permits = MemoryPermits()

    async def main() -> None:
        rng = Random(seed)
        limits = Limits(permits, now, wall)
        limits.configure(specs)
        for _ in range(workers):
            worker = Worker(limits, specs, rng, delay)
            all_workers.append(worker)
            for _ in range(lanes):
                worker.send(keys, lambda: rng.randint(1, most_recipients), pause)
        ends = now() + 1.0 + seconds
        alive = list(all_workers)
        for wait, which, mishap in mishaps:
            await asyncio.sleep(wait)
            worker = alive[which % len(alive)]
            if mishap == "stall":
                worker.stall(rng.choice([0.005, 0.02, 0.3]))
            elif mishap == "die" and len(alive) > 1:
                alive.remove(worker)
                await worker.die()
        await asyncio.sleep(max(0.0, ends - now()))
        for worker in alive:
            await worker.stop()
        await asyncio.sleep(2.0)  # for answers that were under way, and what goes back
        for worker in alive:
            await worker.limits.close()
        await asyncio.sleep(1.0)
        await limits.close()

    simulate(main)
    return all_workers, permits


def gone(workers: list[Worker]) -> list[tuple[float, int]]:
    return [one for worker in workers for one in worker.gone]


@settings(deadline=None, max_examples=60)
@given(
    rate=st.builds(Rate, st.integers(1, 1_000), st.sampled_from([1, 1, 60])),
    workers=st.integers(1, 5),
    lanes=st.integers(1, 6),
    most_recipients=st.integers(1, 5),
    pause=st.sampled_from([0.0005, 0.005]),
    delay=st.sampled_from([0.0, 0.0002, 0.003, 0.02]),
    quota=st.sampled_from([None, 150, 20_000]),
    seed=st.integers(0, 2**32),
    mishaps=MISHAPS,
)
def test_a_strict_rate_holds_in_every_window_over_all_workers_whatever_happens_to_them(
    rate, workers, lanes, most_recipients, pause, delay, quota, seed, mishaps
):
    many, permits = run(
        {"pool:main": Limit(rate, quota)},
        workers=workers,
        seconds=4.0,
        lanes=lanes,
        most_recipients=most_recipients,
        pause=pause,
        delay=delay,
        seed=seed,
        mishaps=mishaps,
    )
    assert busiest_window(gone(many), rate.seconds) < rate.count
    if quota is not None:
        assert busiest_window(gone(many), 86_400) < quota
        used = permits.used("pool:main", DAY_MS, TODAY)
        assert used >= sum(worker.spent for worker in many)


@settings(deadline=None, max_examples=60)
@given(
    quotas=st.lists(st.integers(1, 30_000), min_size=1, max_size=2),
    workers=st.integers(1, 5),
    most_recipients=st.integers(1, 5),
    pause=st.sampled_from([0.001, 0.02, 0.5]),
    delay=st.sampled_from([0.0, 0.0002, 0.02]),
    rate=st.sampled_from([None, Rate(200, 1)]),
    seed=st.integers(0, 2**32),
    stalls=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.just("stall")), max_size=5),
)
def test_what_is_used_of_a_quota_is_what_all_workers_sent_and_nothing_else(
    quotas, workers, most_recipients, pause, delay, rate, seed, stalls
):
    specs = {f"k{i}": Limit(rate, quota) for i, quota in enumerate(quotas)}
    many, permits = run(
        specs,
        workers=workers,
        seconds=4.0,
        lanes=2,
        most_recipients=most_recipients,
        pause=pause,
        delay=delay,
        seed=seed,
        mishaps=stalls,
        keys=tuple(specs),
    )
    spent = sum(worker.spent for worker in many)
    for key, limit in specs.items():
        assert permits.used(key, DAY_MS, TODAY) == spent
        assert busiest_window(gone(many), 86_400) < limit.quota


@settings(deadline=None, max_examples=40)
@given(
    rate=st.builds(Rate, st.integers(1, 2_000), st.sampled_from([1, 60])),
    workers=st.integers(1, 4),
    pause=st.sampled_from([0.0005, 0.005, 0.05]),
    seed=st.integers(0, 2**32),
)
def test_a_lenient_rate_exceeds_its_flow_by_one_burst_however_many_workers_there_are(
    rate, workers, pause, seed
):
    limit = Limit(rate, strict=False)
    many, _ = run(
        {"pool:main": limit}, workers=workers, seconds=3.0, pause=pause, delay=0.0, seed=seed
    )
    burst = max(1, int(rate.per_second))
    times = sorted(at for at, _ in gone(many))
    ahead, last = 0.0, 0.0
    for at in times:
        ahead = max(0.0, ahead - (at - last) * rate.per_second)
        assert ahead <= burst - 1 + 1e-3
        ahead, last = ahead + 1, at


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize(
    "rate", [Rate(20, 1), Rate(500, 1), Rate(2_000, 1), Rate(6_000, 60)], ids=str
)
def test_a_rate_is_reached_however_many_workers_share_it(rate, workers):
    many, _ = run({"pool:main": Limit(rate)}, workers=workers, seconds=10.0)
    spent = sum(n for at, n in gone(many) if at > 1_001.0)
    assert spent >= 0.97 * 10 * rate.per_second - 2


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_messages_of_all_sizes_waste_nothing(workers):
    many, _ = run(
        {"pool:main": Limit(Rate(500, 1))}, workers=workers, seconds=10.0, most_recipients=7
    )
    assert sum(n for _, n in gone(many)) >= 0.97 * 5_000


@pytest.mark.parametrize("rate", [Rate(1_000, 1), None], ids=str)
def test_a_busy_worker_asks_far_less_often_than_it_sends(rate):
    (worker,), _ = run({"pool:main": Limit(rate, 10_000_000)}, workers=1, seconds=5.0)
    assert worker.line.asked < len(worker.gone) / (3 if rate else 100)


@pytest.mark.parametrize("rate", [Rate(20, 1), Rate(1_000, 1)], ids=str)
def test_no_worker_starves(rate):
    many, _ = run({"pool:main": Limit(rate)}, workers=8, seconds=20.0)
    fair = sum(worker.spent for worker in many) / 8
    assert min(worker.spent for worker in many) > fair / 2


def test_a_worker_with_much_mail_leaves_the_last_permits_of_a_quota_to_whoever_asks():
    sent = []

    async def main() -> None:
        specs = {"pool:main": Limit(quota=1_000)}
        limits = Limits(MemoryPermits(), now, wall)
        limits.configure(specs)
        rng = Random(1)
        busy, idle = Worker(limits, specs, rng, 0.0), Worker(limits, specs, rng, 0.0)
        while sum(level.used for level in await limits.levels()) < 998:
            assert (await busy.limits.admit(KEYS, 1)).now
            await asyncio.sleep(0.0001)
        sent.append((await idle.limits.admit(KEYS, 1)).now)

    simulate(main)
    assert sent == [True]


def test_messages_of_a_worker_are_answered_in_the_order_in_which_they_came():
    order = []

    async def main() -> None:
        rng = Random(5)
        limits = Limits(MemoryPermits(), now, wall)
        specs = {"credential:app": Limit(Rate(500, 1), 5_000, strict=False)}
        limits.configure(specs)
        leased = LeasedLimits(Line(limits, lambda: rng.expovariate(1_000)), now, rng.random)
        leased.configure(specs)

        async def submit(number: int) -> None:
            n = rng.randint(1, 3)
            if (await leased.charge(("credential:app",), n, queue=True, patience=60.0)).charged:
                order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(1_000):
                group.create_task(submit(number))
                await asyncio.sleep(rng.expovariate(1_000))

    simulate(main)
    assert order == list(range(1_000))
