"""A relay that is drained takes no mail and sends none, until it serves again; another one that
shares its store has its mail at once."""

import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import RELAY, Program, letter, wait_until
from tests.e2e.receiver import Later, Receiver
from tests.fault.lanes import Lanes
from tests.fault.test_kill import copies


@pytest.fixture
def program(tmp_path: Path, receiver: Receiver) -> Iterator[Program]:
    program = Program(tmp_path / "relay", receiver.port)
    program.configure(lambda document: document.update(workers=2))
    yield program
    program.stop()


def send(program: Program, name: str) -> None:
    with program.client() as client:
        client.sendmail("app@sender.test", ["to@dest.test"], letter(message_id=name))


def states(program: Program) -> dict[str, str]:
    """Of all nodes of the fleet that live, as this one sees them."""
    nodes = [one["node"] for one in program.json("nodes")]
    return {node["name"]: node["report"]["state"] for node in nodes if node["is_alive"]}


def state(program: Program) -> str:
    (found,) = states(program).values()
    return found


def test_a_relay_that_drains_finishes_what_is_under_way_and_serves_again_afterwards(
    program: Program, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: Later(4) if stage == "final" else None
    program.start()
    idle = program.client()
    send(program, "<under-way@client.test>")
    wait_until(lambda: len(receiver.messages) == 1, what="the final dot")

    drain = subprocess.Popen(
        [*RELAY, "drain", "--config", str(program.config_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: program.http("/readyz")[0] == 503, what="readiness to end")
    assert "the relay is draining" in program.http("/readyz")[1]
    assert program.http("/healthz")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        program.client()
    assert idle.noop()[0] == 421
    with pytest.raises(smtplib.SMTPServerDisconnected):
        idle.noop()
    out, err = drain.communicate(timeout=30)

    assert drain.returncode == 0, err
    assert "the queue waits" in out
    assert "draining: " in err
    assert "connection to destinations" in err
    assert program.metric("relay_recipients_delivered_total") == 1
    assert program.metric("relay_workers") == 0
    assert program.json("queue", "list") == []
    wait_until(lambda: state(program) == "drained", what="the report of the node")
    assert program.run("reload").returncode == 0  # binds nothing
    assert program.http("/readyz")[0] == 503

    receiver.behave = lambda stage, text: None
    program.run("drain", "--off")
    assert program.http("/readyz")[0] == 200
    send(program, "<after@client.test>")
    wait_until(lambda: len(receiver.messages) == 2, what="delivery after the drain")
    wait_until(lambda: state(program) == "serving", what="the report of the node")


def test_mail_of_a_drained_relay_waits_for_it_and_sigterm_does_not_wait_for_a_drain(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda document: document.update(shutdown={"grace": "1s"}))
    receiver.behave = lambda stage, text: Later(600) if stage == "final" else None
    program.start()
    send(program, "<slow@client.test>")
    wait_until(lambda: len(receiver.messages) == 1, what="the final dot")

    assert program.run("drain", "--timeout", "1s", check=False).returncode == 1
    began = time.monotonic()
    program.stop()

    assert time.monotonic() - began < 20
    receiver.behave = lambda stage, text: None
    program.start()
    wait_until(lambda: len(receiver.messages) == 2, what="the mail, again")


@pytest.fixture
def fleet(tmp_path: Path, receiver: Receiver, postgres_url: str) -> Iterator[tuple[Program, ...]]:
    """Two nodes with one line to the receiver between them, not started."""

    def of(name: str):
        def change(document) -> None:
            document["store"] = {"url": postgres_url}
            document["fleet"] = {"node": name}
            document["workers"] = 1
            document["delivery"] = {"connections_per_destination": 2}
            document["retry"] = {"schedule": ["2s"]}

        return change

    first = Program(tmp_path / "a", receiver.port)
    first.configure(of("a"))
    nodes = (first, first.twin(tmp_path / "b", of("b")))
    yield nodes
    for node in nodes:
        node.stop()


def refuses(program: Program) -> bool:
    try:
        program.client().close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_a_drained_node_had_fresh_and_put_off_is_delivered_by_the_other_one_once(
    fleet: tuple[Program, ...], receiver: Receiver
) -> None:
    drained, other = fleet
    receiver.behave = lambda stage, text: "451 4.3.0 Not now" if stage == "rcpt" else None
    drained.start()
    with drained.client() as client:
        for number in range(3):
            name = f"<put-off-{number}@client.test>"
            client.sendmail("app@sender.test", ["to@dest.test"], letter(message_id=name))
        deferred = "relay_recipients_deferred_total"
        wait_until(lambda: drained.metric(deferred) >= 3, what="mail that is put off")
        other.start()
        receiver.behave = lambda stage, text: (
            Later(5) if stage == "final" and len(receiver.messages) <= 2 else None
        )
        for number in range(6):
            name = f"<fresh-{number}@client.test>"
            client.sendmail("app@sender.test", ["to@dest.test"], letter(message_id=name))
    wait_until(lambda: len(receiver.messages) == 2, what="final dots that are under way")

    told = drained.run("drain").stdout

    assert "its mail is for b" in told
    assert states(other) == {"a": "drained", "b": "serving"}
    assert drained.http("/readyz")[0] == 503
    assert refuses(drained)
    wait_until(lambda: other.json("queue", "list") == [], what="an empty queue")
    assert len(copies(receiver)) == 9
    assert set(copies(receiver).values()) == {1}
    assert drained.metric("relay_recipients_delivered_total") == 2
    assert other.metric("relay_recipients_delivered_total") == 7
    assert other.metric("relay_possible_duplicates_total") == 0


def test_a_restart_of_one_node_after_the_other_loses_nothing_and_sends_nothing_twice(
    fleet: tuple[Program, ...], receiver: Receiver
) -> None:
    for node in fleet:
        node.start()
    lanes = [
        Lanes(node, 1, lambda lane, number: (["to@dest.test"], "Hello.\r\n"), f"{name}.test")
        for node, name in zip(fleet, "ab", strict=True)
    ]

    def take_mail(*which: Lanes) -> None:
        before = [len(some.acknowledged) for some in which]
        wait_until(
            lambda: all(
                len(some.acknowledged) >= count + 10
                for some, count in zip(which, before, strict=True)
            ),
            what="mail that is taken",
        )

    doubtful = 0.0
    try:
        take_mail(*lanes)
        for node, others in zip(fleet, (lanes[1:], lanes[:1]), strict=True):
            node.run("drain")
            doubtful += node.metric("relay_possible_duplicates_total")
            take_mail(*others)
            assert node.terminate() == 0
            node.start()
            take_mail(*lanes)
    finally:
        for some in lanes:
            some.stop()

    wait_until(lambda: fleet[0].json("queue", "list") == [], what="an empty queue")
    acknowledged = {name for some in lanes for name in some.acknowledged}
    arrived = copies(receiver)
    assert acknowledged == {name for name, _ in arrived}
    assert set(arrived.values()) == {1}
    assert {refusal.smtp_code for some in lanes for refusal in some.refused} <= {421}
    assert doubtful + sum(node.metric("relay_possible_duplicates_total") for node in fleet) == 0
