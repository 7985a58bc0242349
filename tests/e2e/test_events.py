"""What real servers say to the real program becomes events as SES has them, of every kind."""

import base64
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.receiver import Happening, Receiver, Scripted, Session
from tests.e2e.endpoint import Endpoint, Request
from tests.e2e.internet import Internet, Sender, Sent
from tests.e2e.program import free_port, wait_until
from tests.events.consumers import (
    PASSWORD,
    USERNAME,
    read_by_anymail,
    read_by_django_ses,
)
from tests.events.schemas import valid

pytestmark = pytest.mark.xdist_group("events")  # one relay for all

HOSTNAME = "relay.test"
TEST_VIRUS = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
BOUNCES: dict[str, dict[str, Scripted]] = {
    "Permanent/NoEmail": {"RCPT": b"550 5.1.1 User unknown\r\n"},
    "Permanent/General": {"RCPT": b"550 5.2.1 This account has been disabled\r\n"},
    "Transient/General": {"RCPT": b"550 5.7.1 Rejected: SPF check failed\r\n"},
    "Transient/MailboxFull": {"RCPT": b"552 5.2.2 Mailbox full\r\n"},
    "Transient/MessageTooLarge": {"RCPT": b"552 5.3.4 Message size exceeds fixed limit\r\n"},
    "Transient/ContentRejected": {"end": b"554 5.7.1 Message looks like spam\r\n"},
    "Transient/AttachmentRejected": {"end": b"552 5.7.0 Attachment type not allowed\r\n"},
    "Undetermined/Undetermined": {"RCPT": b"550 No\r\n"},
}
DELAYS: dict[str, dict[str, Scripted]] = {
    "MailboxFull": {"RCPT": b"452 4.2.2 Mailbox full\r\n"},
    "TransientCommunicationFailure": {"RCPT": b"451 4.7.1 Greylisted, try again later\r\n"},
    "RecipientServerError": {"greeting": b"421 4.3.2 Service shutting down\r\n"},
    "IPFailure": {"RCPT": b"450 4.7.1 Your IP is listed at zen.spamhaus.org\r\n"},
    "SpamDetected": {"end": b"450 4.7.1 Message looks like spam\r\n"},
    "Undetermined": {"RCPT": b"450 Not now\r\n"},
}


LATE = """\
From: MAILER-DAEMON@inner.{domain}
To: sender
Subject: Undelivered mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; inner.{domain}

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b--
"""
COMPLAINT = """\
From: loop@{domain}
To: fbl@bounce.sender.test
Subject: Complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

A complaint.

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Loop/1.0
Version: 1
Arrival-Date: Tue, 24 Nov 2026 09:15:04 +0000

--b
Content-Type: text/rfc822-headers

Return-Path: <{return_path}>
From: app@sender.test
Subject: Test

--b--
"""
OBJECTS = {"send_obj", "bounce_obj", "complaint_obj", "delivery_obj"}  # as django-ses calls them


def bob_is_unknown(_: Session, line: str) -> Happening:
    return b"550 5.1.1 User unknown\r\n" if "bob@" in line else b"250 2.1.5 Ok\r\n"


class World:
    """One relay for all cases, a domain for each."""

    def __init__(self, directory: Path, internet: Internet) -> None:
        self.internet = internet
        self.servers: dict[str, Receiver] = {}
        self.endpoint = Endpoint()
        self.returns_port = free_port()
        self.sender = Sender(directory, internet, self._configure)
        self._file = self.sender.program.directory / "events.jsonl"

    def _configure(self, document: Any) -> None:
        document["events"] = {
            "archive": {"type": "file", "path": "events.jsonl"},
            "consumer": {
                "type": "sns",
                "url": self.endpoint.url,
                "allow": ["127.0.0.1"],
                "username": USERNAME,
                "password": PASSWORD,
            },
        }
        document["identities"]["sender.test"]["mail_from"] = "bounce.sender.test"
        document["returns"] = {
            "address": f"127.0.0.1:{self.returns_port}",
            "feedback_addresses": ["fbl@bounce.sender.test"],
        }
        sets = document["configuration_sets"]
        sets["hurried"] = {"pool": "default", "max_age": "2s"}
        for configured in sets.values():
            configured["events"] = ["archive", "consumer"]

    def domain(self, name: str, script: dict[str, Scripted] | None = None) -> str:
        """A domain of its own for a case, whose server goes by `script`."""
        domain = re.sub("[^a-z0-9]+", "-", name.lower()) + ".test"
        self.servers[domain] = self.internet.domain(domain, script)
        return domain

    def told(self, sent: Sent, *types: str) -> list[dict[str, Any]]:
        """The events of a message once they are these, each valid."""
        wait_until(
            lambda: [event["eventType"] for event in self._events(sent)] == list(types),
            20,
            f"{', '.join(types)} of {sent.id}",
        )
        return self._events(sent)

    def comes_back(self, to: str, report: str) -> None:
        """A report is handed in at the door for what comes back."""
        with smtplib.SMTP("127.0.0.1", self.returns_port, timeout=30) as client:
            client.sendmail("", [to], report.replace("\n", "\r\n"))

    def consumed(self, sent: Sent, count: int) -> list[Request]:
        """The requests about a message, once there are so many."""

        def found() -> list[Request]:
            return [one for one in list(self.endpoint.requests) if sent.id.encode() in one[1]]

        wait_until(lambda: len(found()) == count, 20, f"{count} requests about {sent.id}")
        return found()

    def _events(self, sent: Sent) -> list[dict[str, Any]]:
        """As they stand in the file that they are told to."""
        if not self._file.exists():
            return []
        *lines, _ = self._file.read_bytes().split(b"\n")
        return [valid(line) for line in lines if f'"messageId":"{sent.id}"'.encode() in line]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Internet() as internet:
        world = World(tmp_path_factory.mktemp("events"), internet)
        yield world
        world.sender.program.stop()
        world.endpoint.close()


@pytest.mark.parametrize("kind", BOUNCES)
def test_a_refusal_is_a_bounce_of_its_kind(world: World, kind: str) -> None:
    domain = world.domain(f"bounce-{kind}", BOUNCES[kind])
    sent = world.sender.send(f"ann@{domain}")
    send, bounce = world.told(sent, "Send", "Bounce")
    assert send["mail"] == bounce["mail"]
    told = bounce["bounce"]
    assert f"{told['bounceType']}/{told['bounceSubType']}" == kind
    (recipient,) = told["bouncedRecipients"]
    assert recipient["emailAddress"] == f"ann@{domain}"
    (said,) = BOUNCES[kind].values()
    assert isinstance(said, bytes)
    assert recipient["diagnosticCode"] == f"smtp; {said.decode().strip()}"
    assert told["remoteMtaIp"].startswith("127.")


def test_a_domain_that_does_not_exist_is_a_hard_bounce(world: World) -> None:
    sent = world.sender.send("ann@no-such-domain.test")
    _, bounce = world.told(sent, "Send", "Bounce")
    assert bounce["bounce"]["bounceType"] == "Permanent"
    assert bounce["bounce"]["bounceSubType"] == "General"
    assert "remoteMtaIp" not in bounce["bounce"]


@pytest.mark.parametrize("kind", DELAYS)
def test_a_temporary_failure_is_a_delay_of_its_kind(world: World, kind: str) -> None:
    domain = world.domain(f"delay-{kind}", DELAYS[kind])
    sent = world.sender.send(f"ann@{domain}")
    _, delay = world.told(sent, "Send", "DeliveryDelay")
    assert delay["deliveryDelay"]["delayType"] == kind
    assert delay["deliveryDelay"]["reportingMTA"] == "127.0.0.2"
    (said,) = DELAYS[kind].values()
    assert isinstance(said, bytes)
    (recipient,) = delay["deliveryDelay"]["delayedRecipients"]
    assert recipient["diagnosticCode"] == f"smtp; {said.decode().strip()}"


def test_a_server_that_does_not_answer_is_a_delay_of_communication(world: World) -> None:
    world.internet.names.zone["nobody-there.test", "MX"] = ["10 mx.nobody-there.test."]
    world.internet.names.zone["mx.nobody-there.test", "A"] = [world.internet.address()]
    sent = world.sender.send("ann@nobody-there.test")
    _, delay = world.told(sent, "Send", "DeliveryDelay")
    assert delay["deliveryDelay"]["delayType"] == "TransientCommunicationFailure"


def test_a_delivery_tells_which_way_it_went(world: World) -> None:
    domain = world.domain("delivered")
    sent = world.sender.send(f"ann@{domain}", f"bob@{domain}", subject="none")
    send, delivery = world.told(sent, "Send", "Delivery")
    assert send["mail"]["destination"] == [f"ann@{domain}", f"bob@{domain}"]
    assert send["mail"]["messageId"] == sent.id
    assert send["mail"]["commonHeaders"]["messageId"] == sent.message_id
    tags = delivery["mail"]["tags"]
    assert tags["ses:outgoing-ip"] == ["127.0.0.2"]
    assert tags["ses:source-ip"] == ["127.0.0.1"]
    assert tags["ses:caller-identity"] == ["app"]
    assert tags["ses:source-tls-version"] == ["TLSv1.3"]
    assert delivery["delivery"]["recipients"] == [f"ann@{domain}", f"bob@{domain}"]
    assert delivery["delivery"]["smtpResponse"].startswith("250 ")
    assert delivery["delivery"]["reportingMTA"] == HOSTNAME


def test_one_attempt_may_deliver_bounce_and_delay(world: World) -> None:
    def by_name(_: Session, line: str) -> Happening:
        if "bob@" in line:
            return b"550 5.1.1 User unknown\r\n"
        return b"452 4.2.2 Mailbox full\r\n" if "cid@" in line else b"250 2.1.5 Ok\r\n"

    domain = world.domain("mixed", {"RCPT": by_name})
    sent = world.sender.send(*(f"{name}@{domain}" for name in ("ann", "bob", "cid")))
    _, delivery, bounce, delay = world.told(sent, "Send", "Delivery", "Bounce", "DeliveryDelay")
    assert delivery["delivery"]["recipients"] == [f"ann@{domain}"]
    assert bounce["bounce"]["bouncedRecipients"][0]["emailAddress"] == f"bob@{domain}"
    assert delay["deliveryDelay"]["delayedRecipients"][0]["emailAddress"] == f"cid@{domain}"


def test_mail_that_expires_bounces_with_what_was_said_last(world: World) -> None:
    domain = world.domain("expires", {"RCPT": b"452 4.2.2 Mailbox full\r\n"})
    sent = world.sender.send(f"ann@{domain}", configuration_set="hurried")
    *_, bounce = world.told(sent, "Send", "DeliveryDelay", "Bounce")
    told = bounce["bounce"]
    assert (told["bounceType"], told["bounceSubType"]) == ("Transient", "MailboxFull")
    (recipient,) = bounce["bounce"]["bouncedRecipients"]
    assert recipient["status"] == "4.4.7"
    assert recipient["diagnosticCode"].startswith("smtp; 554 4.4.7 Message expired")
    assert "452 4.2.2 Mailbox full" in recipient["diagnosticCode"]


def test_who_is_on_the_list_bounces_or_complains_and_others_have_the_message(world: World) -> None:
    domain = world.domain("listed")
    ann, bob, cid = (f"{name}@{domain}" for name in ("ann", "bob", "cid"))
    world.sender.program.run("suppression", "add", ann)
    world.sender.program.run("suppression", "add", bob, "--reason", "complaint")
    sent = world.sender.send(ann, bob, cid)
    send, bounce, complaint, delivery = world.told(sent, "Send", "Bounce", "Complaint", "Delivery")
    assert send["mail"]["destination"] == [ann, bob, cid]
    assert bounce["bounce"]["bounceType"] == "Permanent"
    assert bounce["bounce"]["bounceSubType"] == "OnAccountSuppressionList"
    assert bounce["bounce"]["bouncedRecipients"][0]["emailAddress"] == ann
    assert complaint["complaint"]["complaintSubType"] == "OnAccountSuppressionList"
    assert complaint["complaint"]["complainedRecipients"] == [{"emailAddress": bob}]
    assert delivery["delivery"]["recipients"] == [cid]


def test_a_virus_is_rejected_after_it_was_accepted(world: World) -> None:
    domain = world.domain("virus")
    attachment = base64.b64encode(TEST_VIRUS).decode()
    sent = world.sender.send(f"ann@{domain}", body=f"{attachment}\r\n")
    send, reject = world.told(sent, "Send", "Reject")
    assert reject["reject"] == {"reason": "Bad content"}
    assert reject["mail"] == send["mail"]


def test_a_report_that_comes_back_is_a_bounce_after_the_delivery(world: World) -> None:
    domain = world.domain("late-bounce")
    sent = world.sender.send(f"ann@{domain}")
    world.told(sent, "Send", "Delivery")
    (message,) = world.servers[domain].messages
    world.comes_back(message.reverse_path, LATE.format(address=f"ann@{domain}", domain=domain))
    *_, bounce = world.told(sent, "Send", "Delivery", "Bounce")
    told = bounce["bounce"]
    assert (told["bounceType"], told["bounceSubType"]) == ("Permanent", "NoEmail")
    assert told["reportingMTA"] == f"dns; inner.{domain}"
    assert told["bouncedRecipients"] == [
        {
            "emailAddress": f"ann@{domain}",
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": "smtp; 550 5.1.1 User unknown",
        }
    ]


def test_a_complaint_that_comes_back_is_told_with_what_it_says(world: World) -> None:
    domain = world.domain("complaint")
    sent = world.sender.send(f"ann@{domain}")
    world.told(sent, "Send", "Delivery")
    (message,) = world.servers[domain].messages
    report = COMPLAINT.format(return_path=message.reverse_path, domain=domain)
    world.comes_back("fbl@bounce.sender.test", report)
    *_, complaint = world.told(sent, "Send", "Delivery", "Complaint")
    told = complaint["complaint"]
    assert told["complainedRecipients"] == [{"emailAddress": f"ann@{domain}"}]
    assert told["complaintSubType"] is None
    assert told["complaintFeedbackType"] == "abuse"
    assert told["userAgent"] == "Loop/1.0"
    assert told["arrivalDate"] == "2026-11-24T09:15:04.000Z"


def test_published_consumers_read_what_is_told(world: World) -> None:
    domain = world.domain("consumed", {"RCPT": bob_is_unknown})
    listed = f"cid@{domain}"
    world.sender.program.run("suppression", "add", listed, "--reason", "complaint")
    ann, bob = f"ann@{domain}", f"bob@{domain}"
    sent = world.sender.send(ann, bob, listed)
    requests = world.consumed(sent, 4)
    events = read_by_anymail(requests)
    assert [(event.event_type, event.recipient) for event in events] == [
        ("sent", ann),
        ("sent", bob),
        ("sent", listed),
        ("complained", listed),
        ("delivered", ann),
        ("bounced", bob),
    ]
    assert {event.message_id for event in events} == {sent.id}
    assert events[-1].mta_response == "smtp; 550 5.1.1 User unknown"
    assert len({event.event_id for event in events}) == 4
    told = read_by_django_ses(requests)
    assert [set(vars(one)) & OBJECTS for one in told] == [
        {"send_obj"},
        {"complaint_obj"},
        {"delivery_obj"},
        {"bounce_obj"},
    ]
    assert told[3].bounce_obj["bounceSubType"] == "NoEmail"


def test_no_two_events_share_an_id(world: World) -> None:
    domain = world.domain("ids")
    sent = [world.sender.send(f"ann@{domain}") for _ in range(3)]
    events = [event for one in sent for event in world.told(one, "Send", "Delivery")]
    assert len({event["eventId"] for event in events}) == 6
