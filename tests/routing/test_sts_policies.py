"""Which MTA-STS policy holds: what is announced, what is known, and what can be fetched."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relay.observe.logging import make_logger
from relay.routing import sts_policies
from relay.routing.answers import MxAnswer, TextAnswer
from relay.routing.domain_policies import DomainPolicies
from relay.routing.https import FetchError
from relay.routing.mta_sts import StsPolicy
from relay.routing.sts_keeper import StsKeeper
from relay.routing.sts_policies import LOOK_AGAIN_S, StsPolicies
from relay.routing.transport import TransportPolicy
from relay.store.interface import StoreUnavailable
from relay.store.sqlite.store import SqliteStore
from relay.store.tls_values import DAY_MS, StoredPolicy

_START = 1_700_000_000_000
_WEEK_S = 604_800
_SECURE, _INSECURE = MxAnswer("found", secure=True), MxAnswer("found")


class _World:
    """A domain that publishes `id` and `body`, a clock that stands until it is told to go."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.id: str | None = "1"
        self.mode = "enforce"
        self.failure: Exception | None = None
        self.fetched = 0
        self.asked = 0
        self.wait: asyncio.Event | None = None
        self.now = _START
        self.policies = self.process()

    def process(self) -> StsPolicies:
        """Another process over the same store, which knows nothing yet."""
        return StsPolicies(
            resolver=self,
            fetch=self.fetch,
            store=self.store.sts_policies,
            log=make_logger("json", "error"),
            wall=lambda: self.now,
            clock=lambda: self.now / 1000,
        )

    async def texts(self, name: str) -> TextAnswer:
        self.asked += 1
        assert name == "_mta-sts.a.test"
        return (
            TextAnswer("found", (f"v=STSv1; id={self.id};",)) if self.id else TextAnswer("nodata")
        )

    async def fetch(self, domain: str) -> bytes:
        assert domain == "a.test"
        self.fetched += 1
        if self.wait is not None:
            await self.wait.wait()
        if self.failure is not None:
            raise self.failure
        return f"version: STSv1\nmode: {self.mode}\nmx: mx.a.test\nmax_age: {_WEEK_S}\n".encode()

    async def mode_of(self, policies: StsPolicies | None = None) -> str:
        found = await (policies or self.policies).find("a.test")
        return found.policy.mode if found.policy else ""

    def later(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[_World]:
    store = SqliteStore(tmp_path)
    await store.open()
    world = _World(store)
    yield world
    await world.policies.close()
    await store.close()


async def test_a_policy_is_fetched_once_and_known_then(world: _World) -> None:
    found = await world.policies.find("a.test")
    assert found.policy == StsPolicy("a.test", "1", "enforce", ("mx.a.test",), _WEEK_S)
    assert found.until == world.now / 1000 + LOOK_AGAIN_S
    assert await world.mode_of() == "enforce"
    assert (world.fetched, world.asked) == (1, 1)


async def test_many_who_ask_at_once_cause_one_fetch(world: _World) -> None:
    world.wait = asyncio.Event()
    asking = [asyncio.create_task(world.mode_of()) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()  # one who gives up takes nothing from the others
    world.wait.set()
    assert await asyncio.gather(*asking[1:]) == ["enforce"] * 4
    assert world.fetched == 1


async def test_a_domain_that_announces_nothing_has_no_policy_and_is_not_fetched(
    world: _World,
) -> None:
    world.id = None
    assert await world.mode_of() == ""
    assert world.fetched == 0


async def test_other_processes_and_later_ones_know_what_one_has_fetched(world: _World) -> None:
    await world.mode_of()
    assert await world.mode_of(world.process()) == "enforce"
    assert world.fetched == 1


async def test_another_id_calls_for_another_fetch(world: _World) -> None:
    await world.mode_of()
    world.id, world.mode = "2", "testing"
    assert await world.mode_of() == "enforce"  # it is believed for some minutes
    world.later(LOOK_AGAIN_S)
    assert await world.mode_of() == "testing"
    assert world.fetched == 2


def _taken_back(world: _World) -> None:
    world.id = None


def _host_fails(world: _World) -> None:
    world.id, world.failure = "2", FetchError("mta-sts.a.test answered 404")


def _not_valid(world: _World) -> None:
    world.id, world.mode = "2", "nonsense"


@pytest.mark.parametrize("attack", [_taken_back, _host_fails, _not_valid])
async def test_a_known_policy_holds_until_it_ends_whatever_is_published(
    world: _World, attack: Callable[[_World], None]
) -> None:
    await world.mode_of()
    attack(world)
    world.later(_WEEK_S - 60)
    assert await world.mode_of() == "enforce"
    assert await world.mode_of(world.process()) == "enforce"
    world.later(61)
    assert await world.mode_of() == ""


async def test_a_fetch_that_fails_is_not_tried_again_for_some_minutes(world: _World) -> None:
    world.failure = FetchError("mta-sts.a.test answered 500")
    found = await world.policies.find("a.test")
    assert (found.policy, found.problem) == (None, "mta-sts.a.test answered 500")
    world.later(LOOK_AGAIN_S - 1)
    world.failure = None
    assert await world.mode_of() == ""
    world.later(1)
    assert await world.mode_of() == "enforce"
    assert world.fetched == 2


async def test_a_fetch_whose_turn_does_not_come_is_given_up(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sts_policies, "LONGEST_S", 0.05)
    world.policies._fetches = asyncio.Semaphore(0)
    found = await world.policies.find("a.test")
    assert found.policy is None
    assert "no answer within" in found.problem


async def test_a_policy_of_yesterday_is_renewed_while_mail_goes_by_it(world: _World) -> None:
    await world.mode_of()
    world.later(DAY_MS / 1000)
    world.mode, world.wait = "testing", asyncio.Event()
    assert await world.mode_of() == "enforce"  # though the fetch hangs
    world.wait.set()
    await asyncio.gather(*world.policies._refreshing)
    world.later(LOOK_AGAIN_S)
    assert await world.mode_of() == "testing"


async def test_the_keeper_renews_what_is_in_use_before_it_ends(world: _World) -> None:
    await world.mode_of()
    keeper = StsKeeper(
        world.policies, world.store.sts_policies, make_logger("json", "error"), lambda: world.now
    )
    assert await keeper.look() == 0  # it is fresh
    world.later(DAY_MS / 1000 + 1)
    assert await keeper.look() == 1
    stored = await world.store.sts_policies.find("a.test")
    assert stored is not None
    assert stored.fetched_at == world.now
    world.later(31 * DAY_MS / 1000)
    assert await keeper.look() == 0  # nobody uses it any more: it has ended, and is forgotten
    assert await world.store.sts_policies.find("a.test") is None


async def test_use_is_noted_once_a_day(world: _World) -> None:
    await world.mode_of()
    world.later(DAY_MS / 1000 + 1)
    await world.mode_of()
    stored = await world.store.sts_policies.find("a.test")
    assert stored is not None
    assert stored.used_at == world.now


class _FailingStore:
    """A store that cannot be written, as on a full disk, and that cannot be read where `reads` is
    false."""

    def __init__(self, world: _World, *, reads: bool) -> None:
        self._real = world.store.sts_policies
        self._reads = reads

    async def find(self, domain: str) -> StoredPolicy | None:
        if not self._reads:
            raise StoreUnavailable("no disk")
        return await self._real.find(domain)

    async def put(self, policy: StoredPolicy) -> None:
        raise StoreUnavailable("no disk")

    async def used(self, domain: str, now: int) -> None:
        raise StoreUnavailable("no disk")


async def test_a_full_disk_turns_no_policy_off(world: _World) -> None:
    await world.mode_of()
    world.id = None
    world.later(DAY_MS / 1000 + 1)  # so that its use is to be noted
    process = world.process()
    process._store = _FailingStore(world, reads=True)  # type: ignore[assignment]
    assert await world.mode_of(process) == "enforce"


@pytest.mark.parametrize("reads", [True, False])
async def test_without_the_store_a_policy_is_fetched_and_holds_until_it_ends(
    world: _World, *, reads: bool
) -> None:
    world.policies._store = _FailingStore(world, reads=reads)  # type: ignore[assignment]
    assert await world.mode_of() == "enforce"
    world.id = None
    world.later(_WEEK_S - 60)
    assert await world.mode_of() == "enforce"
    world.later(61)
    assert await world.mode_of() == ""


async def test_what_the_store_could_not_keep_is_given_to_it_again(world: _World) -> None:
    world.policies._store = _FailingStore(world, reads=True)  # type: ignore[assignment]
    await world.mode_of()
    world.policies._store = world.store.sts_policies
    world.later(LOOK_AGAIN_S)
    assert await world.mode_of() == "enforce"
    assert await world.mode_of(world.process()) == "enforce"
    assert world.fetched == 1


async def test_what_a_domain_demands_is_put_together(world: _World) -> None:
    problems: list[str] = []
    policies = DomainPolicies(
        world.policies, dane=True, problem=lambda domain, found: problems.append(found.problem)
    )
    sts = StsPolicy("a.test", "1", "enforce", ("mx.a.test",), _WEEK_S)
    assert (await policies.find("a.test", _SECURE))[0] == TransportPolicy(sts, dane=True)
    assert (await policies.find("a.test", _INSECURE))[0] == TransportPolicy(sts)
    world.id, world.mode = "2", "none"
    world.later(LOOK_AGAIN_S)
    assert (await policies.find("a.test", _INSECURE))[0] == TransportPolicy()
    assert problems == []
    world.id, world.failure = "3", FetchError("no")
    world.later(LOOK_AGAIN_S)
    await policies.find("a.test", _INSECURE)
    assert problems == ["no"]
    nothing = DomainPolicies(None, dane=False)
    assert await nothing.find("a.test", _SECURE) == (TransportPolicy(), float("inf"))
