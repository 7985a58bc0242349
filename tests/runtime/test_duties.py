"""Who does what one node does for all."""

from pathlib import Path

import pytest

from relay.runtime.duties import TIDYING, TLS_REPORTS, Duties, leaves_duties
from relay.store.fleet_values import Membership, Node, NodeReport, NodeState
from relay.store.postgres.place import Place
from relay.store.postgres.store import PostgresStore
from relay.store.sqlite import SqliteStore


async def test_the_only_node_does_everything(tmp_path: Path) -> None:
    assert await Duties(SqliteStore(tmp_path), lambda: None).has(TIDYING)


async def test_of_many_nodes_one_does_it_until_it_leaves(postgres_url: str) -> None:
    store = PostgresStore(Place(postgres_url))
    await store.open()
    one, two = [await store.fleet.join(n, n, 10_000, NodeReport("1")) for n in ("one", "two")]
    members: list[Membership | None] = [one, two]
    first, second = (Duties(store, lambda n=n: members[n]) for n in range(2))  # type: ignore[misc]
    assert await second.has(TIDYING)
    assert not await first.has(TIDYING)
    assert await first.has(TLS_REPORTS)
    await store.fleet.leave(two)
    members[1] = None
    assert await first.has(TIDYING)
    assert not await second.has(TIDYING)
    await store.close()


def _node(state: NodeState, *, is_alive: bool = True) -> Node:
    return Node("other", 2, 0, 0, 10_000, is_alive, NodeReport("1", state))


def test_a_drained_node_leaves_duties_to_one_that_serves() -> None:
    assert leaves_duties("drained", [_node("drained"), _node("serving")])


@pytest.mark.parametrize(
    "others",
    [[], [_node("drained")], [_node("draining")], [_node("serving", is_alive=False)]],
    ids=["alone", "drained too", "about to be drained", "dead"],
)
def test_a_drained_node_keeps_duties_where_nobody_serves(others: list[Node]) -> None:
    assert not leaves_duties("drained", others)


@pytest.mark.parametrize("state", ["serving", "draining"])
def test_a_node_that_has_mail_under_way_keeps_its_duties(state: NodeState) -> None:
    assert not leaves_duties(state, [_node("serving")])
