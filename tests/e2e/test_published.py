"""A configuration that one node publishes is in force on the other."""

import pytest

from relay.admin.client import Client
from relay.admin.endpoints import NODES, Nothing
from relay.signing.return_path_keys import FILE_NAME
from tests.e2e.program import Program, wait_until


def configuration(node: Program) -> dict[str, tuple[int, str]]:
    """What each node follows, and what keeps it from it, as `node` shows it."""
    shown = Client(node.directory / "data").call(NODES, Nothing())
    reports = [(one.node.name, one.node.report) for one in shown]
    return {name: (report.configuration_epoch, report.problem) for name, report in reports}


def test_what_one_node_publishes_is_in_force_on_both_and_taken_at_the_start(nodes) -> None:
    a, b = nodes
    a.start()
    b.start()
    files = [node.directory / "data" / FILE_NAME for node in nodes]
    assert files[0].read_bytes() == files[1].read_bytes(), "bounces come back to any node"
    a.configure(lambda document: document.update(received_header=False))
    a.run("config", "publish")

    wait_until(lambda: configuration(a) == {"a": (1, ""), "b": (1, "")}, what="b follows")
    assert "received_header: false" in a.run("config", "show").stdout
    assert b.run("config", "diff", check=False).stdout.split() == ["received_header"]
    assert "received_header" in b.run("reload").stderr
    b.configure(lambda document: document.update(flurb=1))
    assert "will not start with it" in (told := b.run("reload").stderr)
    assert "flurb: unknown key" in told
    b.configure(lambda document: document.pop("flurb"))

    b.stop()
    b.start()
    wait_until(lambda: configuration(a)["b"] == (1, ""), what="b has taken it at its start")

    a.run("config", "unpublish")
    wait_until(lambda: configuration(a) == {"a": (0, ""), "b": (0, "")}, what="files are followed")


def test_a_node_that_lacks_a_key_keeps_what_it_has_and_is_flagged(nodes) -> None:
    a, b = nodes
    a.start()
    b.start()
    (key,) = (b.directory / "dkim").glob("*.pem")
    key.unlink()
    a.run("config", "publish")

    wait_until(lambda: configuration(a)["b"][1], what="b is flagged")
    epoch, problem = configuration(a)["b"]
    assert epoch == 0
    assert key.name in problem
    assert "cannot follow" in a.run("nodes").stdout

    # It does not start with it either, and says why; the other goes on.
    b.stop()
    with pytest.raises(AssertionError, match=rf"could not start.*{key.name}"):
        b.start()
    assert b.process.wait(30) == 1
    a.send()
    key.write_bytes((a.directory / "dkim" / key.name).read_bytes())
    b.start()
    wait_until(lambda: configuration(a)["b"] == (1, ""), what="b follows")
