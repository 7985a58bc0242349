"""Two nodes with different source addresses: each sends what it can, and takes over the rest."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.host import Host
from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import SILENCE, Receiver

OF_A, OF_B = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def nodes(
    tmp_path: Path, receiver: Receiver, postgres_url: str
) -> Iterator[tuple[Program, Program]]:
    def of(name: str):
        def change(document) -> None:
            document["store"] = {"url": postgres_url, "lease": "5s"}
            document["fleet"] = {"node": name}
            document["workers"] = 1
            document["pools"] = {
                "a": {"sources": [{"address": OF_A}]},
                "b": {"sources": [{"address": OF_B}]},
                "both": {"sources": [{"address": OF_B}, {"address": OF_A}]},
            }
            document["configuration_sets"] = {pool: {"pool": pool} for pool in ("a", "b", "both")}
            document["default_configuration_set"] = "a"

        return change

    first = Program(tmp_path / "a", receiver.port, (OF_A, OF_B))
    first.configure(of("a"))
    both = (first, first.twin(tmp_path / "b", of("b")))
    yield both
    for node in both:
        node.stop()


def send(node: Program, name: str, configuration_set: str) -> None:
    header = f"X-SES-CONFIGURATION-SET: {configuration_set}\r\n"
    node.send(headers=header, message_id=f"<{name}@client.test>")


def test_mail_leaves_from_a_node_with_addresses_of_its_pool_and_is_taken_over_when_that_dies(
    nodes: tuple[Program, Program], receiver: Receiver, tmp_path: Path
) -> None:
    a, b = nodes
    host_of_a = Host(tmp_path / "host-a", [OF_B])
    host_of_b = Host(tmp_path / "host-b", [OF_A])
    with ThreadPoolExecutor() as at_once:
        starting = [at_once.submit(a.start, env=host_of_a.env)]
        starting.append(at_once.submit(b.start, env=host_of_b.env))
    for start in starting:
        start.result()

    def source_of(name: str) -> str:
        def arrived() -> list[str]:
            name_field = f"<{name}@client.test>"
            found = receiver.messages
            return [one.source for one in found if one.header("Message-ID") == name_field]

        wait_until(arrived, what=f"arrival of {name}")
        (source,) = arrived()
        return source

    send(a, "of-b", "b")
    assert source_of("of-b") == OF_B
    assert b.metric("relay_recipients_delivered_total") == 1

    receiver.behave = lambda stage, text: "451 4.7.1 later" if stage == "rcpt" else None
    send(a, "moved", "a")
    wait_until(lambda: a.metric("relay_recipients_deferred_total") == 1, what="an attempt")
    receiver.behave = lambda stage, text: None
    a.run("queue", "move", "--all", "--pool", "b")
    a.run("queue", "retry", "--all")
    assert source_of("moved") == OF_B

    receiver.behave = lambda stage, text: SILENCE if stage == "mail" else None
    send(b, "of-both", "both")
    wait_until(lambda: b.metric("relay_outbound_connections") == 1, what="an attempt of b")
    b.kill()
    receiver.behave = lambda stage, text: None
    send(a, "of-nobody", "b")
    assert source_of("of-both") == OF_A

    def waits_for() -> str:
        return a.json("queue", "list")[0]["why"]

    wait_until(lambda: waits_for().endswith("has addresses of pool b"), what="nobody has them")
    host_of_a.lack([])  # the address has come to this host
    a.run("reload")
    assert source_of("of-nobody") == OF_B
