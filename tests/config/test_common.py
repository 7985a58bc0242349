"""What two nodes must have in common, and how it is told that they have not."""

from pathlib import Path

import pytest

from relay.config.common import differing, digest_of
from relay.config.fleet import Fleet, host_node
from tests.delivery.outgoing import make_config


def test_what_is_a_nodes_own_does_not_make_it_differ(tmp_path: Path) -> None:
    one = make_config(tmp_path, returns={"address": "192.0.2.1:25"})
    other = make_config(
        tmp_path, hostname="b.example.net", workers=7, returns={"address": "192.0.2.2:25"}
    )

    assert differing(digest_of(one), digest_of(other)) == ()


def test_files_of_one_name_in_other_directories_are_no_difference(tmp_path: Path) -> None:
    def at(directory: str, name: str = "key.pem") -> str:
        dkim = {"selector": "one", "key": str(tmp_path / directory / name)}
        return digest_of(make_config(tmp_path, identities={"sender.test": {"dkim": [dkim]}}))

    assert at("a") == at("b")
    assert differing(at("a"), at("a", "other.pem")) == ("identities",)


def test_the_sections_in_which_two_nodes_differ_are_named(tmp_path: Path) -> None:
    one = make_config(tmp_path, workers=1)
    other = make_config(tmp_path, workers=2, received_header=False, simulator_addresses=False)

    assert differing(digest_of(one), digest_of(other)) == ("received_header", "simulator_addresses")


def test_a_default_that_is_written_out_is_no_difference(tmp_path: Path) -> None:
    one = make_config(tmp_path)
    other = make_config(tmp_path, received_header=True)

    assert digest_of(one) == digest_of(other)


@pytest.mark.parametrize(
    ("host", "name"), [("mx1.example.net", "mx1.example.net"), ("-a b-", "ab"), ("..", "node")]
)
def test_a_node_is_called_as_its_host_as_far_as_it_can_be(host: str, name: str) -> None:
    assert host_node(host) == name
    assert Fleet(node=name).name == name
