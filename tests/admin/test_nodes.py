"""What operators are shown of the fleet."""

import pytest

from relay.admin.control import Refused
from relay.admin.nodes import NodeNamed, NodeOperations, compared
from relay.store.alone import Alone
from relay.store.fleet_values import Node, NodeReport


def node(name: str, configuration: str, *, alive: bool = True) -> Node:
    return Node(name, 1, 0, 0, 10_000, alive, NodeReport("1", configuration=configuration))


def test_the_node_whose_configuration_is_not_that_of_most_is_flagged_with_the_sections() -> None:
    found = compared([node("a", "x=1 y=1"), node("b", "x=1 y=2"), node("c", "x=1 y=1")], "c")

    assert [one.differs for one in found] == [(), ("y",), ()]
    assert [one.duties for one in found] == [(), (), ("scribe",)]


def test_a_dead_node_neither_differs_nor_says_what_is_common() -> None:
    dead = [node(name, "x=9", alive=False) for name in "ab"]
    found = compared([*dead, node("c", "x=1")], "a")

    assert [one.differs for one in found] == [(), (), ()]
    assert not any(one.duties for one in found)


async def test_a_node_that_is_not_dead_is_not_forgotten() -> None:
    fleet = Alone()
    await fleet.join("a", "word", 10_000, NodeReport("1"))

    with pytest.raises(Refused, match="no dead node"):
        await NodeOperations(fleet).forget(NodeNamed("a"))
