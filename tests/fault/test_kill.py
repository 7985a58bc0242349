"""kill -9: what was acknowledged arrives; what arrives twice was on its way when the end came."""

import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import SILENCE, Later, Receiver
from tests.fault.lanes import Lanes

KILLS = 32
LANES = 6
CONNECTIONS = 4
LARGE = "x" * 74 + "\r\n"


def few_connections(document) -> None:
    document["delivery"] = {"connections_per_destination": CONNECTIONS}
    document["retry"] = {"schedule": ["1s"]}
    document["logging"] = {"level": "warning"}


def spool_files(program: Program) -> list[Path]:
    return [path for path in (program.directory / "data/spool").rglob("*") if path.is_file()]


def queue_is_empty(program: Program) -> bool:
    """Asked of the database itself, read only: no figure of the program's own is believed."""
    path = program.directory / "data/relay.db"
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(
            "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM delivery)"
        ).fetchone() == (0, 0)
    finally:
        db.close()


def some_mail(lane: int, number: int):
    """One message in five has two domains, one in six is kept in a spool file."""
    recipients = ["to@one.test"]
    if number % 5 == 0:
        recipients.append("to@two.test")
    return recipients, LARGE * 1500 if (lane + number) % 6 == 0 else "Hello.\r\n"


def copies(receiver: Receiver) -> Counter[tuple[str, str]]:
    return Counter(
        (message.header("Message-ID"), recipient)
        for message in list(receiver.messages)
        for recipient in message.recipients
    )


def missing(lanes: Lanes, receiver: Receiver) -> set[tuple[str, str]]:
    arrived = copies(receiver)
    return {
        (name, recipient)
        for name, recipients in lanes.acknowledged.copy().items()
        for recipient in recipients
        if (name, recipient) not in arrived
    }


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_by_thirty_two_kills_under_load(
    program: Program, receiver: Receiver
) -> None:
    chance = random.Random(20261124)
    program.configure(few_connections)
    receiver.keep_bodies = False
    program.start()
    lanes = Lanes(program, LANES, some_mail)
    kills: list[float] = []
    starts: list[float] = []
    try:
        for _ in range(KILLS):
            before = len(lanes.acknowledged)
            wait_until(lambda before=before: len(lanes.acknowledged) > before, what="mail again")
            time.sleep(chance.uniform(0.0, 0.5))  # the moment of a kill is what is varied
            program.kill()
            kills.append(time.monotonic())
            program.start()
            starts.append(time.monotonic() - kills[-1])
    finally:
        lanes.stop()
    wait_until(lambda: not missing(lanes, receiver), 30, "delivery of all that was acknowledged")
    wait_until(lambda: queue_is_empty(program), 10, "an empty queue")
    program.kill()
    program.start()
    assert spool_files(program) == []
    assert queue_is_empty(program)

    counted = copies(receiver)
    twice = {key: count for key, count in counted.items() if count > 1}
    print(
        f"\n{KILLS} kills, {lanes.sent} sent, {len(lanes.acknowledged)} acknowledged,"
        f" {len(counted)} delivered, {sum(twice.values()) - len(twice)} duplicates,"
        f" start in {max(starts):.1f} s at most"
    )
    # Each of them was on a connection, or its outcome was on its way to the disk.
    first = {}
    for message in list(receiver.messages):
        for recipient in message.recipients:
            first.setdefault((message.header("Message-ID"), recipient), message.at)
    for key in twice:
        assert any(-0.5 < kill - first[key] < 1.0 for kill in kills), f"{key} was settled long ago"
    assert sum(twice.values()) - len(twice) <= KILLS * 4 * CONNECTIONS
    assert len(lanes.acknowledged) > 10 * KILLS
    assert not lanes.refused or all(r.smtp_code == 421 for r in lanes.refused)


def test_figures_add_up_after_a_kill_with_a_backlog(program: Program, receiver: Receiver) -> None:
    program.configure(few_connections)
    receiver.pause()
    program.start()
    for number in range(7):
        program.send(message_id=f"<backlog{number}@client.test>")
    program.kill()
    receiver.resume()
    program.start()
    for number in range(5):
        program.send(("a@one.test", "b@two.test"), message_id=f"<later{number}@client.test>")
    wait_until(lambda: sum(copies(receiver).values()) == 7 + 10, what="delivery")
    wait_until(lambda: program.metric("relay_queue_deliveries") == 0, what="an empty queue")
    assert program.metric("relay_messages_accepted_total") == 5
    assert program.metric("relay_recipients_accepted_total") == 10
    assert program.metric("relay_recipients_delivered_total") == 7 + 10
    assert program.metric("relay_recipients_bounced_total") == 0
    assert queue_is_empty(program)


def test_a_kill_while_the_receiver_holds_in_data_delivers_once(
    program: Program, receiver: Receiver
) -> None:
    program.configure(few_connections)
    program.start()
    receiver.behave = lambda stage, text: SILENCE if stage == "in-data" else None
    program.send(body=LARGE * 100_000)  # more than all buffers on the way
    wait_until(lambda: receiver.open_connections == 1, what="the connection")
    wait_until(lambda: spool_files(program), what="the spool file")
    program.kill()
    receiver.behave = lambda stage, text: None
    program.start()
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert receiver.messages[0].body_size == 76 * 100_000
    wait_until(lambda: queue_is_empty(program) and not spool_files(program), what="the end of it")


def test_a_kill_after_the_final_dot_delivers_again_and_loses_nothing(
    program: Program, receiver: Receiver
) -> None:
    program.configure(few_connections)
    program.start()
    receiver.behave = lambda stage, text: Later(600) if stage == "final" else None
    for number in range(3):
        program.send(message_id=f"<{number}@client.test>")
    wait_until(lambda: len(receiver.messages) == 3, what="the final dots")
    program.kill()
    receiver.behave = lambda stage, text: None
    program.start()
    wait_until(lambda: len(receiver.messages) == 6, what="delivery anew")
    wait_until(lambda: queue_is_empty(program), what="an empty queue")
    assert set(Counter(receiver.ids()).values()) == {2}


def test_a_kill_in_the_middle_of_a_message_keeps_nothing_of_it(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    with program.client() as client:
        client.mail("app@sender.test")
        client.rcpt("to@dest.test")
        client.docmd("DATA")
        client.send(b"From: app@sender.test\r\n\r\n" + LARGE.encode() * 5_000)
        wait_until(lambda: spool_files(program), what="the spool file")
        program.kill()
        client.close()
    # A file that the clock cannot tell from one being written now is left to a later start.
    written = spool_files(program)[0].stat().st_ctime
    wait_until(lambda: time.time() > written + 1.5, what="some age of the file")
    program.start()
    assert spool_files(program) == []
    assert queue_is_empty(program)
    program.send(message_id="<after@client.test>")
    wait_until(lambda: receiver.ids() == ["<after@client.test>"], what="the next message")
