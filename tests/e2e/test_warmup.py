"""A new source address in the real program: what it lets others send, and what a restart leaves."""

import itertools
import json

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver

NEW, WARM = "127.0.0.2", "127.0.0.3"
_numbers = itertools.count()


def with_a_new_source(document) -> None:
    document["pools"]["default"]["sources"] = [
        {"address": NEW, "warmup": "slow"},
        {"address": WARM},
    ]
    document["warmups"] = {"slow": {"days": [8, 16, 32]}}


def with_another_new_source(document) -> None:
    document["pools"]["default"]["sources"][1]["warmup"] = "slow"


def sources_of(program: Program) -> dict[str, tuple[str, int]]:
    """State and day of each, as `relay pools` has them."""
    return {each["address"]: (each["state"], each["day"]) for each in program.json("pools")}


def new_source(program: Program) -> tuple[str, int]:
    return sources_of(program)[NEW]


def send_and_see(program: Program, receiver: Receiver, count: int) -> set[str]:
    """From which addresses so many messages leave."""
    before = len(receiver.messages)
    with program.client() as client:
        for _ in range(count):
            text = letter(message_id=f"<{next(_numbers)}@client.test>")
            client.sendmail("app@sender.test", ["to@dest.test"], text)
    wait_until(lambda: len(receiver.messages) == before + count, what="delivery")
    return {message.source for message in receiver.messages[before:]}


@pytest.mark.timeout(240)  # four starts, and a dozen commands
def test_a_warm_up_is_kept_over_kill_and_restart_and_an_operators_word_counts_at_once(
    program: Program, receiver: Receiver
) -> None:
    program.configure(with_a_new_source)
    program.start()
    assert new_source(program) == ("warming", 1)
    # One recipient an hour, and none for the minute after a start: the rest does not wait for it.
    assert send_and_see(program, receiver, 6) == {WARM}

    program.run("warmup", "set", NEW, "--day", "2")
    program.kill()
    assert new_source(program) == ("warming", 2)  # from the store
    program.start()
    assert new_source(program) == ("warming", 2)
    assert program.metric("relay_warmup_day", source=NEW) == 2
    assert send_and_see(program, receiver, 6) == {WARM}

    seen = json.loads(program.run("top", "--once", "--interval", "500ms", "--json").stdout)
    delivered = {flow["name"]: flow["delivered"] for flow in seen["look"]["flows"]}
    assert delivered[WARM] == 6
    assert program.json("queue", "summary", "--by", "source")["sums"] == []

    program.run("warmup", "complete", NEW)
    assert send_and_see(program, receiver, 40) == {NEW, WARM}

    program.configure(with_another_new_source)
    program.run("reload")
    assert sources_of(program)[WARM] == ("warming", 1)
    assert sources_of(program)[NEW] == ("warm", 0)
    assert send_and_see(program, receiver, 6) == {NEW}
    assert program.terminate() == 0
    program.start()
    assert sources_of(program) == {NEW: ("warm", 0), WARM: ("warming", 1)}
    assert send_and_see(program, receiver, 6) == {NEW}
