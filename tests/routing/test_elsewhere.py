"""Which mail is left to other nodes: what they can send, and this node cannot."""

from pathlib import Path

import pytest

from relay.config.model import Config
from relay.routing.elsewhere import find_elsewhere, why_it_waited
from relay.store.fleet_values import NOWHERE, Elsewhere, Node, NodeReport, NodeState
from tests.delivery.outgoing import make_config

OURS, THEIRS = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(
        tmp_path,
        pools={
            "ours": {"sources": [{"address": OURS}]},
            "theirs": {"sources": [{"address": THEIRS}]},
        },
        configuration_sets={"a": {"pool": "ours"}, "b": {"pool": "theirs"}},
        default_configuration_set="a",
    )


def node(*sources: str, name: str = "b", alive: bool = True, state: NodeState = "serving") -> Node:
    return Node(name, 2, 0, 0, 10_000, alive, NodeReport("1", state=state, sources=sources))


def test_mail_of_a_pool_that_only_another_node_has_is_left_to_it(config: Config) -> None:
    assert find_elsewhere(config, OURS.__eq__, [node(THEIRS)]) == Elsewhere(
        {"theirs": ("b",)}, {"b": "theirs"}
    )


@pytest.mark.parametrize(
    "others", [[], [node(OURS)], [node(THEIRS, alive=False)], [node(THEIRS, state="draining")]]
)
def test_mail_that_no_other_node_can_send_stays_here(config: Config, others: list[Node]) -> None:
    assert not find_elsewhere(config, OURS.__eq__, others)


def test_mail_that_both_can_send_is_carried_by_both(tmp_path: Path, config: Config) -> None:
    assert find_elsewhere(config, lambda _: True, [node(OURS, THEIRS)]) == NOWHERE
    both = {"main": {"sources": [{"address": OURS}, {"address": THEIRS}]}}
    config = make_config(tmp_path, pools=both, configuration_sets={"a": {"pool": "main"}})
    other_address = find_elsewhere(config, OURS.__eq__, [node(THEIRS)])
    assert other_address == Elsewhere(shared=frozenset({"main"}))
    assert not other_address
    assert find_elsewhere(config, OURS.__eq__, [node(OURS)]) == NOWHERE


def test_an_address_that_is_never_sent_from_counts_for_nobody(tmp_path: Path) -> None:
    both = [{"address": OURS, "weight": 0}, {"address": THEIRS}]
    config = make_config(
        tmp_path, pools={"main": {"sources": both}}, configuration_sets={"a": {"pool": "main"}}
    )
    assert find_elsewhere(config, OURS.__eq__, [node(THEIRS)]).pools == {"main": ("b",)}
    assert not find_elsewhere(config, lambda _: False, [node(OURS)])


def test_people_are_told_which_nodes_it_waits_for(config: Config) -> None:
    others = [node(THEIRS, name="c"), node(THEIRS, OURS), node(OURS, name="d")]
    (nodes,) = find_elsewhere(config, OURS.__eq__, others).pools.values()
    assert why_it_waited("theirs", nodes) == (
        "it waited for a node that has addresses of pool theirs: b, c"
    )
    assert why_it_waited("theirs") == "it waited for a node that has addresses of pool theirs"
