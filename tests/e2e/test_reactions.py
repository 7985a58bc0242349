"""What a provider says to one worker counts for all of them, and outlives them."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver

HOLD = {"name": "hold", "text": "hold on", "action": "pause", "duration": "1h"}
TSS04 = "421 4.7.0 [TSS04] Messages from 127.0.0.2 temporarily deferred due to unexpected volume"


@pytest.fixture
def program(tmp_path: Path, receiver: Receiver) -> Iterator[Program]:
    program = Program(tmp_path / "relay", receiver.port)
    program.configure(lambda document: document.update(workers=2, reactions=[HOLD]))
    yield program
    program.stop()


def send_on_all(program: Program, number: int) -> None:
    """Through sessions that are spread over the workers."""
    with ExitStack() as stack:
        for client in [stack.enter_context(program.client()) for _ in range(number)]:
            client.sendmail("app@sender.test", ["to@dest.test"], letter())


def waiting_for_a_rest(program: Program) -> int:
    """How many deliveries wait in the store for the end of the pause, without an attempt."""
    queue = program.json("queue", "list")
    return sum(
        not e["claimed"] and not e["attempts"] and " rests for 127" in e["why"] for e in queue
    )


def test_one_complaint_holds_all_workers_back_until_it_is_lifted(
    program: Program, receiver: Receiver
) -> None:
    line = f"127.0.0.1:{receiver.port}"
    receiver.behave = lambda stage, text: "421 4.7.0 hold on" if stage == "mail" else None
    program.start()
    program.send()
    wait_until(lambda: program.json("reactions", "list"), what="the pause")
    (pause,) = program.json("reactions", "list")
    assert (pause["source"], pause["line"], pause["action"]) == ("127.0.0.2", line, "pause")
    assert (pause["rule"], pause["reply"]) == ("hold", "421 4.7.0 hold on")
    receiver.behave = lambda stage, text: None

    send_on_all(program, 6)
    wait_until(lambda: waiting_for_a_rest(program) == 6, what="all mail waiting")
    os.kill(program.workers()["worker-1"], signal.SIGKILL)
    wait_until(lambda: program.metric("relay_worker_deaths_total") == 1, what="its death")
    wait_until(lambda: len(program.workers()) == 2, what="a new worker")
    program.run("reload")
    assert [one["since"] for one in program.json("reactions", "list")] == [pause["since"]]
    send_on_all(program, 6)
    wait_until(lambda: waiting_for_a_rest(program) == 12, what="the new worker's mail, too")
    assert program.metric("relay_source_paused", source="127.0.0.2") == 1
    assert not receiver.messages
    explained = program.json("explain", "app@sender.test", "to@dest.test")
    assert explained["sources"][0]["excluded"] == f"it rests for {line}: hold"

    program.run("reactions", "clear", "127.0.0.2", line)
    wait_until(lambda: len(receiver.messages) >= 12, what="what the pause alone had put off")
    program.run("queue", "retry", "--all")
    wait_until(lambda: len(receiver.messages) == 13, what="delivery")
    assert program.json("reactions", "list") == []
    assert program.metric("relay_source_paused", source="127.0.0.2") == 0


def test_a_throttle_slows_all_workers_down_together(program: Program, receiver: Receiver) -> None:
    program.start()
    send_on_all(program, 6)
    wait_until(lambda: len(receiver.messages) == 6, what="delivery")
    receiver.behave = lambda stage, text: TSS04 if stage == "mail" else None
    send_on_all(program, 6)
    wait_until(lambda: program.json("reactions", "list"), what="the slow-down")
    (slowed,) = program.json("reactions", "list")
    assert (slowed["action"], slowed["rule"]) == ("slow_down", "yahoo-deferred")
    assert 0 < slowed["level"] <= slowed["base"] / 2  # six complaints are one
    assert program.metric("relay_path_slowed", source="127.0.0.2") == 1
    explained = program.json("explain", "app@sender.test", "to@dest.test")
    assert [one["rule"] for one in explained["reactions"]] == ["yahoo-deferred"]
    assert f"temper:127.0.0.2/{slowed['line']}" in [one["key"] for one in explained["limits"]]
