"""Who is told what, and how a report goes out."""

import email
import email.policy
from random import Random
from typing import Any

import dkim
import pytest

from relay.feedback.outcome import RecipientResult
from relay.feedback.policy import Policies
from relay.feedback.settle import result_for, settle
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply
from relay.store.values import Delivery, NewMessage

NOW = 1_800_000_000_000
HOUR = 3_600_000
OK = Reply(250, "2.0.0", "taken")
LATER = Reply(451, "4.2.0", "greylisted")
REFUSED = Reply(550, "5.7.1", "rejected for policy reasons")


def reports(
    delivery: Delivery, policies: Policies, *replies: Reply, now: int = NOW, dsn: bool = False
) -> tuple[NewMessage, ...]:
    results: list[RecipientResult] = [
        result_for(
            recipient, reply, "final" if reply is OK else "rcpt", "mx.example.org", dsn_relayed=dsn
        )
        for recipient, reply in zip(delivery.recipients, replies, strict=True)
    ]
    return settle(delivery, results, policies=policies, now=now, rng=Random(1)).reports


def parsed(report: NewMessage) -> Any:
    message = report.message
    content = message.header + b"\r\n" + (message.body.inline or b"")
    return email.message_from_bytes(content, policy=email.policy.SMTP)


def statuses(report: NewMessage) -> list[Any]:
    """The per-recipient groups of the delivery-status part."""
    status = next(
        p for p in parsed(report).walk() if p.get_content_type() == "message/delivery-status"
    )
    return status.get_payload()[1:]


def test_a_failure_is_reported_to_the_sender_by_mail_that_nobody_reports_on(
    make_delivery: Any, policies: Policies
) -> None:
    (report,) = reports(make_delivery("bob@example.org"), policies, REFUSED)
    message = report.message
    assert message.envelope.reverse_path == ""
    assert [r.address for r in message.envelope.recipients] == ["ann@example.com"]
    assert message.envelope.recipients[0].notify == ("NEVER",)
    assert (message.credential, message.configuration_set) == ("relay", "news")
    assert report.due_at == message.accepted_at == NOW
    assert message.expires_at == NOW + 14 * HOUR
    assert report.suppression == ("bounce", "manual")
    assert message.id != make_delivery("x@y.test").message.id
    assert parsed(report)["From"].addresses[0].addr_spec == "MAILER-DAEMON@relay.example.com"
    assert parsed(report).get_content_type() == "multipart/report"
    (status,) = statuses(report)
    assert status["Action"] == "failed"
    assert status["Status"] == "5.7.1"
    assert status["Final-Recipient"] == "rfc822; bob@example.org"
    assert "550 5.7.1 rejected for policy reasons" in status["Diagnostic-Code"]


def test_a_report_is_signed_as_the_identity_that_the_hostname_belongs_to(
    make_delivery: Any, make_policies: Any
) -> None:
    (covered,) = reports(make_delivery("b@x.test"), make_policies(), REFUSED)
    alone = make_policies(identities={"other.test": {}})
    (uncovered,) = reports(make_delivery("b@x.test"), alone, REFUSED)
    assert covered.message.identity == "example.com"
    assert uncovered.message.identity == ""


def test_the_digests_of_a_report_are_those_that_a_verifier_computes(
    make_delivery: Any, policies: Policies
) -> None:
    import hashlib

    (report,) = reports(make_delivery("bob@example.org"), policies, REFUSED)
    body = report.message.body
    assert body.inline is not None
    assert body.size == len(body.inline)
    simple = dkim.canonicalization.Simple.canonicalize_body(body.inline)
    relaxed = dkim.canonicalization.Relaxed.canonicalize_body(body.inline)
    assert body.simple_digest == hashlib.sha256(simple).digest()
    assert body.relaxed_digest == hashlib.sha256(relaxed).digest()


def test_one_report_tells_of_all_recipients_that_failed_in_an_attempt(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery("a@example.org", "b@example.org", "c@example.org")
    (report,) = reports(delivery, policies, REFUSED, LATER, REFUSED)
    assert [s["Final-Recipient"] for s in statuses(report)] == [
        "rfc822; a@example.org",
        "rfc822; c@example.org",
    ]


def test_nothing_is_reported_to_the_null_reverse_path(
    make_delivery: Any, policies: Policies
) -> None:
    asked = Recipient("bob@example.org", notify=("SUCCESS", "FAILURE", "DELAY"))
    for reply in (OK, LATER, REFUSED):
        assert reports(make_delivery(asked, reverse_path=""), policies, reply) == ()


@pytest.mark.parametrize(
    ("notify", "reply", "action"),
    [
        ((), REFUSED, "failed"),
        (("FAILURE",), REFUSED, "failed"),
        (("NEVER",), REFUSED, None),
        (("SUCCESS",), REFUSED, None),
        (("DELAY",), REFUSED, None),
        ((), OK, None),
        (("NEVER",), OK, None),
        (("SUCCESS",), OK, "relayed"),
        (("SUCCESS", "FAILURE"), OK, "relayed"),
        (("FAILURE",), OK, None),
    ],
)
def test_notify_decides_who_is_told(
    make_delivery: Any,
    policies: Policies,
    notify: tuple[str, ...],
    reply: Reply,
    action: str | None,
) -> None:
    made = reports(make_delivery(Recipient("bob@example.org", notify)), policies, reply)
    assert [statuses(report)[0]["Action"] for report in made] == ([action] if action else [])


def test_success_is_not_reported_where_the_next_host_reports_it(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(Recipient("bob@example.org", ("SUCCESS",)))
    assert reports(delivery, policies, OK, dsn=True) == ()


def test_a_delay_is_reported_once_and_only_where_it_was_asked_for(
    make_delivery: Any, policies: Policies
) -> None:
    asked = Recipient("bob@example.org", ("DELAY", "FAILURE"))
    told = [
        attempts
        for attempts in range(20)
        if reports(make_delivery(asked, attempts=attempts), policies, LATER)
    ]
    assert told == [4]  # 1 + 5 + 15 + 30 minutes are over, 60 more begin
    (report,) = reports(make_delivery(asked, attempts=4), policies, LATER)
    assert statuses(report)[0]["Action"] == "delayed"
    assert statuses(report)[0]["Status"] == "4.2.0"
    assert reports(make_delivery("eve@example.org", attempts=4), policies, LATER) == ()


def test_the_envelope_id_and_the_original_recipient_are_given_back(
    make_delivery: Any, policies: Policies
) -> None:
    recipient = Recipient("bob@example.org", orcpt="rfc822;robert+2B1@example.org")
    (report,) = reports(make_delivery(recipient, envid="QQ314159"), policies, REFUSED)
    assert statuses(report)[0]["Original-Recipient"] == "rfc822; robert+1@example.org"
    assert b"Original-Envelope-Id: QQ314159" in (report.message.body.inline or b"")


@pytest.mark.parametrize(
    ("ret", "body", "returned"),
    [
        ("", b"Hello\r\n", False),
        ("HDRS", b"Hello\r\n", False),
        ("FULL", b"Hello\r\n", True),
        ("FULL", None, False),
    ],
)
def test_the_body_comes_back_only_if_it_was_asked_for_and_is_at_hand(
    make_delivery: Any, policies: Policies, ret: str, body: bytes | None, returned: bool
) -> None:
    (report,) = reports(make_delivery("b@x.test", ret=ret, body=body), policies, REFUSED)
    content = report.message.body.inline or b""
    assert b"Subject: Hi\r\n" in content
    assert (b"Hello\r\n" in content) is returned


def test_an_internationalised_sender_is_told_too(make_delivery: Any, policies: Policies) -> None:
    delivery = make_delivery("b@x.test", reverse_path="jürgen@example.com", smtputf8=True)
    (report,) = reports(delivery, policies, REFUSED)
    assert report.message.envelope.smtputf8
    assert not report.message.body.eight_bit


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(550, "", "no"), "5.0.0"),
        (Reply(550, "4.2.2", "odd"), "5.2.2"),
        (Reply(554, "5.7.1", "no"), "5.7.1"),
    ],
)
def test_the_status_agrees_with_the_action(
    make_delivery: Any, policies: Policies, reply: Reply, status: str
) -> None:
    (report,) = reports(make_delivery("b@x.test"), policies, reply)
    assert statuses(report)[0]["Status"] == status


@pytest.mark.parametrize(
    ("remote", "name"),
    [
        ("mx.example.org[192.0.2.1]:25", "mx.example.org"),
        ("mx.example.org", "mx.example.org"),
        ("[192.0.2.1][192.0.2.1]:25", "[192.0.2.1]"),
    ],
)
def test_the_remote_mta_is_a_name(
    make_delivery: Any, policies: Policies, remote: str, name: str
) -> None:
    delivery = make_delivery("b@x.test")
    result = result_for(delivery.recipients[0], REFUSED, "rcpt", remote)
    (report,) = settle(delivery, [result], policies=policies, now=NOW, rng=Random(1)).reports
    assert statuses(report)[0]["Remote-MTA"] == f"dns; {name}"
