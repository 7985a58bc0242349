"""Limits that another process leases: what a worker may let go by itself, and when it must ask."""

import asyncio

import msgspec
import pytest

from relay.config.units import Rate
from relay.limits.gatekeeper import Decision, Level
from relay.limits.leased import LeasedLimits
from relay.limits.leases import Lease, LeaseRequest, LessorGone, Returned
from relay.limits.limits import Limit, Limits


class Line:
    """A lessor in memory; what goes over it is encoded as between processes."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests: list[LeaseRequest] = []
        self.returned: list[Returned] = []
        self.gone = False
        self.answering = asyncio.Event()
        self.answering.set()

    async def lease(self, request: LeaseRequest) -> Lease:
        if self.gone:
            raise LessorGone
        self.requests.append(request)
        lease = await self.limits.lease(_carried(request))
        await self.answering.wait()
        if self.gone:
            raise LessorGone
        return _carried(lease)

    def give_back(self, returned: Returned) -> None:
        self.returned.append(returned)
        self.limits.give_back(_carried(returned))

    async def levels(self, keys: tuple[str, ...] | None) -> list[Level]:
        return await self.limits.levels(keys)


def _carried(message):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message))


@pytest.fixture
def limits(permits, clock) -> Limits:
    return Limits(permits, clock.monotonic, clock.wall)


@pytest.fixture
async def line(limits) -> Line:
    return Line(limits)


@pytest.fixture
async def worker(line, clock):
    leased = LeasedLimits(line, clock.monotonic, chance=lambda: 0.0)
    yield leased
    await leased.close()


def configure(limits, worker, specs):
    limits.configure(specs)
    worker.configure(specs)


async def test_keys_without_limits_never_leave_the_worker(limits, worker, line):
    configure(limits, worker, {"pool:other": Limit(Rate(1, 1))})
    assert await worker.admit(("set:a", "pool:main"), 1) == Decision()
    assert await worker.charge(["account:account"], 9, queue=True) == Decision()
    assert not line.requests


async def test_tuples_that_share_their_limited_keys_share_what_is_leased(limits, worker, line):
    configure(limits, worker, {"pool:main": Limit(quota=1_000_000)})
    for number in range(100):
        assert (await worker.admit((f"set:{number}", "pool:main"), 1)).now
    assert len(line.requests) < 20
    assert {request.keys for request in line.requests} == {("pool:main",)}


async def test_a_refusal_reaches_the_caller_as_the_authority_said_it(limits, worker, clock):
    configure(limits, worker, {"set:a": Limit(Rate(1, 1)), "pool:p": Limit(Rate(9, 1))})
    clock.advance(5)
    assert (await worker.admit(("set:a", "pool:p"), 4)).now
    decision = await worker.admit(("set:a", "pool:p"), 1)
    assert (decision.limited_by, decision.kind, decision.charged) == ("set:a", "rate", False)
    assert decision.delay_s == pytest.approx(4.04)


async def test_a_refusal_is_believed_until_a_permit_may_be_free(limits, worker, line, clock):
    configure(limits, worker, {"credential:app": Limit(Rate(1, 1), strict=False)})
    assert (await worker.charge(("credential:app",), 1, queue=False)).now
    for _ in range(50):
        assert not (await worker.charge(("credential:app",), 1, queue=False)).charged
    assert len(line.requests) == 2
    clock.advance(0.4)
    decision = await worker.charge(("credential:app",), 1, queue=False)
    assert decision.delay_s == pytest.approx(0.6, abs=1e-5)
    clock.advance(0.6)
    assert (await worker.charge(("credential:app",), 1, queue=False)).now


async def test_a_burst_is_one_question_and_is_answered_in_order(limits, worker, line, clock):
    configure(limits, worker, {"credential:app": Limit(Rate(60, 1), strict=False)})
    clock.advance(10)
    keys = ("credential:app",)
    answers = await asyncio.gather(*(worker.charge(keys, 1, queue=False) for _ in range(100)))
    assert [answer.charged for answer in answers] == [True] * 60 + [False] * 40
    assert len(line.requests) == 1


async def test_one_message_takes_nothing_that_others_could_use(limits, worker, line):
    configure(limits, worker, {"pool:main": Limit(quota=1_000_000)})
    assert (await worker.admit(("pool:main",), 1)).now
    assert line.requests[0].extra == 0
    (level,) = await worker.levels(["pool:main"])
    assert level.used == 1


async def test_unspent_permits_of_a_quota_go_back(limits, worker, line, clock):
    configure(limits, worker, {"pool:main": Limit(quota=1_000_000)})
    for _ in range(20):
        await worker.admit(("pool:main",), 1)
    assert line.requests[-1].extra > 0
    await worker.close()
    (level,) = await limits.levels(["pool:main"])
    assert level.used == 20


async def test_what_was_held_too_long_is_never_spent(limits, worker, line, clock):
    configure(limits, worker, {"pool:main": Limit(Rate(1_000, 1))})
    clock.advance(2)
    for _ in range(8):
        assert (await worker.admit(("pool:main",), 1)).now
    bundle = next(iter(worker._bundles.values()))
    assert bundle.free
    asked = len(line.requests)
    clock.advance(0.011)
    assert (await worker.admit(("pool:main",), 1)).now
    assert len(line.requests) == asked + 1


async def test_an_answer_that_comes_too_late_is_asked_for_again_with_more_time(
    limits, worker, line, clock
):
    configure(limits, worker, {"pool:main": Limit(Rate(1_000, 1), 1_000)})
    clock.advance(2)
    line.answering.clear()
    asking = asyncio.create_task(worker.admit(("pool:main",), 1))
    for _ in range(10):
        await asyncio.sleep(0)
    clock.advance(0.03)
    line.answering.set()
    assert (await asking).now
    assert [request.hold for request in line.requests] == [0.01, pytest.approx(0.06)]
    rate, quota = await limits.levels(["pool:main"])
    assert (rate.used, quota.used) == (2, 1)


async def test_a_process_that_is_held_up_between_hearing_and_doing_asks_again(
    limits, worker, line, clock
):
    configure(limits, worker, {"pool:main": Limit(Rate(1_000, 1), 1_000)})
    clock.advance(2)
    lease = line.lease

    async def lease_and_hold_up(request):
        answer = await lease(request)
        line.lease = lease
        asyncio.get_running_loop().call_soon(clock.advance, 0.02)
        return answer

    line.lease = lease_and_hold_up
    assert (await worker.admit(("pool:main",), 1)).now
    assert len(line.requests) == 2
    rate, quota = await limits.levels(["pool:main"])
    assert (rate.used, quota.used) == (2, 1)


async def test_those_who_come_while_a_question_is_under_way_are_served_from_its_answer(
    limits, worker, line
):
    configure(limits, worker, {"pool:main": Limit(quota=1_000_000)})
    for _ in range(30):
        await worker.admit(("pool:main",), 1)
    while next(iter(worker._bundles.values())).free:
        await worker.admit(("pool:main",), 1)
    line.answering.clear()
    asked = len(line.requests)
    answers = [asyncio.create_task(worker.admit(("pool:main",), 1))]
    for _ in range(5):
        await asyncio.sleep(0)
    answers += [asyncio.create_task(worker.admit(("pool:main",), 1)) for _ in range(5)]
    await asyncio.sleep(0)
    line.answering.set()
    assert all([(await answer).now for answer in answers])
    assert len(line.requests) == asked + 1


async def test_nothing_goes_while_the_authority_is_gone(limits, worker, line, clock):
    configure(limits, worker, {"pool:main": Limit(Rate(1_000, 1))})
    clock.advance(2)
    line.gone = True
    decision = await worker.admit(("pool:main",), 1)
    assert (decision.charged, decision.kind, decision.delay_s) == (False, "store", 1.0)
    line.gone = False
    clock.advance(1)
    assert (await worker.admit(("pool:main",), 1)).now


async def test_the_permits_of_a_caller_who_left_serve_the_next(limits, worker, line):
    configure(limits, worker, {"pool:main": Limit(quota=1_000)})
    line.answering.clear()
    asking = asyncio.create_task(worker.admit(("pool:main",), 3))
    for _ in range(5):
        await asyncio.sleep(0)
    asking.cancel()
    line.answering.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await worker.admit(("pool:main",), 2)).now
    assert len(line.requests) == 1
    await worker.close()
    (level,) = await limits.levels(["pool:main"])
    assert level.used == 2


async def test_a_reload_that_reaches_the_authority_first_lets_through_what_is_free_there(
    limits, worker, line
):
    configure(limits, worker, {"pool:main": Limit(Rate(1, 1), 1), "set:a": Limit(quota=10)})
    limits.configure({"set:a": Limit(quota=10)})
    for _ in range(3):
        assert (await worker.admit(("set:a", "pool:main"), 1)).now
    limits.configure({})
    for _ in range(30):
        assert (await worker.admit(("set:a", "pool:main"), 1)).now
    worker.configure({})
    await limits.close()


async def test_a_failure_of_the_line_reaches_everyone_who_waits(worker, line):
    async def fail(request):
        raise ValueError("nonsense on the line")

    line.lease = fail
    worker.configure({"pool:main": Limit(quota=1)})
    answers = await asyncio.gather(
        *(worker.admit(("pool:main",), 1) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [ValueError] * 3
