"""A node of the fleet: it lives by its own clock, and joins again when it was declared dead."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.membership import FleetMembership, identity_of
from relay.store.alone import Alone
from relay.store.fleet_values import Membership, Node, NodeReport
from relay.store.interface import NameTaken, StoreUnavailable
from tests.delivery.outgoing import Lines

LEASE = 10.0


class Fleet(Alone):
    """A store that may be away."""

    away = False
    namesake: Node | None = None
    beats = False
    identity = "word"

    async def nodes(self) -> list[Node]:
        found = await super().nodes()
        if self.namesake is None:
            return found
        if self.beats:
            self.namesake = replace(self.namesake, seen_at=self.namesake.seen_at + 1_000)
        return [self.namesake, *found]

    async def join(self, name: str, identity: str, lease_ms: int, report: NodeReport) -> Membership:
        if self.namesake is not None and identity != self.identity:
            raise NameTaken("taken")
        self.namesake = None
        return await super().join(name, identity, lease_ms, report)

    async def beat(self, member: Membership, report: NodeReport) -> bool:
        if self.away:
            raise StoreUnavailable("away")
        return await super().beat(member, report)


class Bench:
    def __init__(self) -> None:
        self.now = self.began = 100.0
        self.fleet = Fleet()
        self.lines = Lines()
        self.seen: list[str] = []
        self.membership = FleetMembership(
            self.fleet,
            "a",
            "word",
            LEASE,
            report=lambda: NodeReport("1"),
            seen=self._see,
            metrics=Metrics(),
            log=make_logger("json", "info", self.lines),  # type: ignore[arg-type]
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        """The lease of one that is silent runs out."""
        self.now += seconds
        if self.now >= self.began + LEASE and not self.fleet.beats:
            self.fleet.namesake = None

    def _see(self, nodes: Any) -> None:
        seen: list[Node] = list(nodes)
        self.seen = [node.name for node in seen]


async def test_a_node_is_valid_from_when_it_joins_until_its_lease_has_run_out() -> None:
    bench = Bench()
    assert not bench.membership.is_valid
    await bench.membership.join()
    assert bench.membership.is_valid
    assert bench.seen == ["a"]

    bench.now += LEASE

    assert not bench.membership.is_valid


async def test_a_beat_renews_the_lease_from_before_it_was_asked() -> None:
    bench = Bench()
    await bench.membership.join()
    bench.now += LEASE - 1
    await bench.membership.beat()
    bench.now += LEASE - 1

    assert bench.membership.is_valid


async def test_a_store_that_is_away_ends_the_membership_in_time_and_not_before() -> None:
    bench = Bench()
    await bench.membership.join()
    bench.fleet.away = True
    bench.now += LEASE - 1
    await bench.membership.beat()
    assert bench.membership.is_valid
    bench.now += 1
    assert not bench.membership.is_valid

    bench.fleet.away = False
    await bench.membership.beat()

    assert bench.membership.is_valid


async def test_a_node_that_was_declared_dead_joins_under_a_new_epoch_and_says_so() -> None:
    bench = Bench()
    await bench.membership.join()
    first = bench.membership.member
    assert first is not None
    await bench.fleet.leave(first)

    await bench.membership.beat()

    assert bench.membership.member is not None
    assert bench.membership.member.epoch > first.epoch
    assert "declared dead" in str(bench.lines)


NAMESAKE = Node("a", 7, 1_000, 1_000, round(LEASE * 1000), True, NodeReport("1"))


async def test_a_node_that_was_killed_and_kept_its_identity_joins_after_a_moment() -> None:
    bench = Bench()
    bench.fleet.namesake = NAMESAKE
    await bench.membership.join()

    assert bench.membership.is_valid
    assert bench.now - bench.began < LEASE / 3
    assert "waiting whether it still is" in str(bench.lines)


async def test_a_node_that_was_killed_and_lost_its_identity_joins_when_the_lease_is_over() -> None:
    bench = Bench()
    bench.fleet.namesake, bench.fleet.identity = NAMESAKE, "another"
    await bench.membership.join()

    assert bench.membership.is_valid
    assert bench.now - bench.began == pytest.approx(LEASE, abs=1)
    assert str(bench.lines).count("waiting whether it still is") == 1


@pytest.mark.parametrize("identity", ["word", "another"])
async def test_a_second_node_of_a_name_is_refused_also_with_a_copied_identity(
    identity: str,
) -> None:
    bench = Bench()
    bench.fleet.namesake, bench.fleet.beats, bench.fleet.identity = NAMESAKE, True, identity

    with pytest.raises(NameTaken, match=r"fleet\.node.*data_dir was copied"):
        await bench.membership.join()

    assert not bench.membership.is_valid
    assert bench.now - bench.began < LEASE / 3


async def test_a_node_whose_name_another_one_took_leaves_it_to_that_one() -> None:
    """Both were started at the same moment, from one data directory."""
    bench = Bench()
    await bench.membership.join()
    first = bench.membership.member
    assert first is not None
    await bench.fleet.leave(first)
    bench.fleet.namesake, bench.fleet.beats = NAMESAKE, True

    await bench.membership.beat()

    assert bench.membership.member is None
    assert "data_dir was copied" in str(bench.lines)


async def test_a_node_that_has_left_is_none_any_more() -> None:
    bench = Bench()
    await bench.membership.join()
    await bench.membership.leave()

    assert not bench.membership.is_valid
    assert await bench.fleet.nodes() == []


def test_an_installation_keeps_its_identity(tmp_path: Path) -> None:
    assert identity_of(tmp_path) == identity_of(tmp_path)


def test_a_damaged_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node-id").write_text("\n")

    with pytest.raises(StoreUnavailable, match="remove it"):
        identity_of(tmp_path)


async def test_a_beat_that_fails_says_since_when_the_store_is_away_and_why() -> None:
    bench = Bench()
    await bench.membership.join()
    bench.fleet.away = True
    await bench.membership.beat()
    await bench.membership.beat()
    away = bench.membership.reach.away
    assert away is not None
    assert away.why == "away"

    bench.fleet.away = False
    await bench.membership.beat()

    assert bench.membership.reach.away is None
