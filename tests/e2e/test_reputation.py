"""A stream whose mail bounces pauses itself in the running program, and no other stream."""

import json
import smtplib
from typing import Any

import pytest

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver

FIGURES = "were hard bounces (limit 10 %)"


@pytest.fixture
def judged(program: Program, receiver: Receiver) -> Program:
    """Two streams, judged by twenty recipients; `dead-…` does not exist."""

    def change(document: Any) -> None:
        document["reputation"] = {"bounces": {"minimum": 20}}
        document["configuration_sets"]["other"] = {"pool": "default"}
        document["workers"] = 2
        document["events"] = {
            "file": {
                "type": "file",
                "path": "events.jsonl",
                "events": ["sending_paused", "sending_resumed"],
            }
        }
        for configured in document["configuration_sets"].values():
            configured["events"] = ["file"]

    program.configure(change)
    receiver.behave = lambda stage, text: (
        "550 5.1.1 User unknown" if stage == "rcpt" and "dead-" in text else None
    )
    return program.start()


def send(program: Program, *recipients: str, configuration_set: str = "default") -> None:
    program.send(recipients, headers=f"X-SES-CONFIGURATION-SET: {configuration_set}\r\n")


def test_a_set_that_bounces_is_paused_refused_by_name_and_resumed_with_a_fresh_start(
    judged: Program,
) -> None:
    for number in range(18):
        send(judged, f"ok-{number}@one.test")
    for number in range(3):
        send(judged, f"dead-{number}@one.test")
    wait_until(lambda: judged.metric("relay_sending_paused", kind="set") == 1, what="a pause")
    for _ in range(4):  # whichever worker has the connection
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(judged, "ok@one.test")
        assert refused.value.smtp_code == 554
        assert FIGURES in refused.value.smtp_error.decode()
    send(judged, "ok@one.test", configuration_set="other")
    assert judged.metric("relay_messages_refused_total", reason="reputation") == 4

    judged.kill()
    judged.start()
    with pytest.raises(smtplib.SMTPDataError):
        send(judged, "ok@one.test")
    judged.run("reputation", "resume", "set:default", "--reason", "list cleaned")
    send(judged, "ok@one.test")
    send(judged, "dead-again@one.test")
    told = judged.directory / "events.jsonl"
    wait_until(lambda: told.exists() and "SendingResumed" in told.read_text(), what="events")
    paused = [json.loads(line) for line in told.read_text().splitlines()]
    ids = {event["eventId"] for event in paused if event["eventType"] == "SendingPaused"}
    assert len(ids) == 1  # told again after the kill, perhaps
    standing = judged.json("reputation", "show", "set:default")
    assert standing["pause"] is None
    assert standing["volume"]["sent"] <= 2
