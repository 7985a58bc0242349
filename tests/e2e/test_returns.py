"""What comes back to the real program: from a report to the event, the list and the log."""

import json
import os
import shutil
import smtplib
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bench.returns_servers import postfix
from bench.systems.system import Ports
from tests.e2e.internet import skip_unless
from tests.e2e.program import Program, free_port, wait_until
from tests.e2e.receiver import Receiver

DOMAIN = "bounce.sender.test"
COMPLAINTS = f"fbl@{DOMAIN}"
GONE = "Gone@dest.test"


def report(to: str, action: str = "failed") -> str:
    return (
        "From: MAILER-DAEMON@mx.dest.test\r\nSubject: Undelivered Mail\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n"
        "--x\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.dest.test\r\n\r\n"
        f"Final-Recipient: rfc822; {to}\r\nAction: {action}\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n--x--\r\n"
    )


def complaint(original: str) -> str:
    return (
        "From: fbl@isp.test\r\nContent-Type: multipart/report; boundary=x\r\n\r\n"
        "--x\r\nContent-Type: message/feedback-report\r\n\r\n"
        "Feedback-Type: abuse\r\nUser-Agent: Isp/1\r\n\r\n--x\r\n"
        f"Content-Type: message/rfc822\r\n\r\nReturn-Path: <{original}>\r\n\r\n--x--\r\n"
    )


class Post:
    """The program with a listener for what comes back, and somebody who brings it."""

    def __init__(self, program: Program, **more: Any) -> None:
        self.program = program
        self.port = free_port()

        def change(document: Any) -> None:
            document["identities"]["sender.test"]["mail_from"] = DOMAIN
            document["workers"] = 2
            document["returns"] = {
                "address": f"127.0.0.1:{self.port}",
                "feedback_addresses": [COMPLAINTS],
            }
            document["events"] = {"archive": {"type": "file", "path": "events.jsonl"}}
            for configured in document["configuration_sets"].values():
                configured["events"] = ["archive"]
            document.update(more)

        program.configure(change)

    def bring(self, recipient: str, content: str) -> int:
        """The code that ends the dialogue."""
        with smtplib.SMTP("127.0.0.1", self.port, "mx.dest.test", timeout=60) as client:
            client.ehlo()
            client.mail("")
            code, _ = client.rcpt(recipient)
            return code if code != 250 else client.data(content)[0]

    def told(self) -> list[dict[str, Any]]:
        file = self.program.directory / "events.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def types(self) -> list[str]:
        return [event["eventType"] for event in self.told()]

    def listed(self) -> list[tuple[str, str]]:
        entries = self.program.json("suppression", "list")
        return [(entry["address"], entry["reason"]) for entry in entries]


@pytest.fixture
def post(program: Program) -> Post:
    return Post(program)


def sent(post: Post, receiver: Receiver, *recipients: str) -> str:
    """Send a message, wait for its delivery, and give its return-path."""
    before = len(receiver.messages)
    post.program.send(list(recipients))
    wait_until(lambda: len(receiver.messages) > before, what="delivery")
    wait_until(lambda: "Delivery" in post.types(), what="the event of it")
    return receiver.messages[-1].reverse_path


def test_a_report_becomes_a_bounce_an_entry_and_a_line_of_the_log_and_only_once(
    post: Post, receiver: Receiver
) -> None:
    post.program.start()
    address = sent(post, receiver, GONE)
    stranger = "b+" + "a" * 61 + f"@{DOMAIN}"
    assert post.bring(stranger, report(GONE)) == 550
    assert post.bring("victim@elsewhere.test", report(GONE)) == 550
    assert post.bring(address, "Subject: Hello\r\n\r\nWhere is my order?\r\n") == 550
    assert post.bring(address, report(GONE, "delayed")) == 250
    assert post.types() == ["Send", "Delivery"]

    for _ in range(3):
        assert post.bring(address, report("gone@DEST.test")) == 250
    wait_until(lambda: "Bounce" in post.types(), what="the bounce")
    assert post.bring(address, report("somebody-else@dest.test")) == 250
    wait_until(lambda: post.listed() == [(GONE, "bounce")], what="the entry")

    (event,) = [event for event in post.told() if event["eventType"] == "Bounce"]
    bounce = event["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "NoEmail")
    assert bounce["reportingMTA"] == "dns; mx.dest.test"
    (bounced,) = bounce["bouncedRecipients"]
    assert (bounced["emailAddress"], bounced["status"]) == (GONE, "5.1.1")
    why = post.program.json("suppression", "why", GONE)["entry"]
    assert why["message_id"] == event["mail"]["messageId"]
    assert why["evidence"] == "550 5.1.1 User unknown"
    assert "Bounce" in post.program.run("messages", "show", event["mail"]["messageId"]).stdout
    assert post.program.metric("relay_returns_total", kind="bounce", outcome="recorded") == 1


def test_a_complaint_suppresses_whose_mail_it_is_about(post: Post, receiver: Receiver) -> None:
    post.program.start()
    address = sent(post, receiver, "ann@dest.test")
    assert post.bring(COMPLAINTS, complaint(f"b+{'a' * 61}@{DOMAIN}")) == 250
    assert post.bring(COMPLAINTS, complaint(address)) == 250

    wait_until(lambda: "Complaint" in post.types(), what="the complaint")
    told = post.told()[-1]["complaint"]
    assert told["complainedRecipients"] == [{"emailAddress": "ann@dest.test"}]
    assert told["complaintFeedbackType"] == "abuse"
    wait_until(lambda: post.listed() == [("ann@dest.test", "complaint")], what="the entry")


def test_what_was_acknowledged_is_told_though_everything_is_killed_at_once(
    post: Post, receiver: Receiver
) -> None:
    post.program.start()
    address = sent(post, receiver, GONE)
    assert post.bring(address, report(GONE)) == 250
    post.program.kill()

    post.program.start()
    assert post.bring(address, report(GONE)) == 250  # the host did not hear us, and comes again
    wait_until(lambda: "Bounce" in post.types(), what="the bounce")
    wait_until(lambda: post.listed() == [(GONE, "bounce")], what="the entry")
    bounces = {event["eventId"] for event in post.told() if event["eventType"] == "Bounce"}
    assert len(bounces) == 1


def test_postfix_takes_mail_and_returns_it_later(program: Program, receiver: Receiver) -> None:
    skip_unless(os.geteuid() == 0, "Postfix needs root")
    skip_unless(shutil.which("postfix") is not None, "Postfix is not installed")
    receiver.behave = lambda stage, text: (
        "550 5.1.1 No such user" if stage == "rcpt" and GONE in text else None
    )
    ports = Ports(free_port(), receiver.port, 0)
    post = Post(program, routes={"*": {"to": f"127.0.0.1:{ports.submission}"}})
    back = f"transport_maps = inline:{{ {{ {DOMAIN} = smtp:[127.0.0.1]:{post.port} }} }}"
    # Not below tmp_path, which only root may look into: Postfix has a user of its own.
    with tempfile.TemporaryDirectory() as directory, postfix(Path(directory), ports, back):
        program.start()
        for recipient in (GONE, "alive@dest.test"):  # a return-path of two would list nobody
            program.send([recipient])
        wait_until(lambda: "Bounce" in post.types(), what="what Postfix returns")

    (bounce,) = [event["bounce"] for event in post.told() if event["eventType"] == "Bounce"]
    assert [one["emailAddress"] for one in bounce["bouncedRecipients"]] == [GONE]
    assert bounce["reportingMTA"] == "dns; mx.postfix.example"
    wait_until(lambda: post.listed() == [(GONE, "bounce")], what="the entry")
