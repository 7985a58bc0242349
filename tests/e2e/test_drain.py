"""A relay that is drained takes no mail and sends none, until it serves again."""

import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import RELAY, Program, letter, wait_until
from tests.e2e.receiver import Later, Receiver


@pytest.fixture
def program(tmp_path: Path, receiver: Receiver) -> Iterator[Program]:
    program = Program(tmp_path / "relay", receiver.port)
    program.configure(lambda document: document.update(workers=2))
    yield program
    program.stop()


def send(program: Program, name: str) -> None:
    with program.client() as client:
        client.sendmail("app@sender.test", ["to@dest.test"], letter(message_id=name))


def state(program: Program) -> str:
    return program.json("nodes")[0]["node"]["report"]["state"]


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
