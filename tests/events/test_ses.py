"""Events are written as Amazon SES writes them: every kind, whatever peers and senders say."""

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import ValidationError

from relay.config.bounces import Category
from relay.events.making import events_of, logged_message
from relay.events.ses import render
from relay.feedback.outcome import BounceSubtype, BounceType
from relay.store.attempted import Verdict, Way
from relay.store.happenings import Happening, OutboxEntry, Paused, Rejected
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    EventRecipient,
    LoggedEvent,
    LoggedMessage,
)
from relay.store.values import Suppressed
from tests.events.entries import (
    ACCEPTED_AT,
    HEADER,
    HOSTNAME,
    MESSAGE_ID,
    attempted,
    delayed,
    entry,
    logged,
    new_message,
    sent,
    verdict,
)
from tests.events.schemas import valid

ANN, BOB = "ann@customer.example", "bob@customer.example"


def rendered(happened: OutboxEntry, message: LoggedMessage | None = None) -> list[dict[str, Any]]:
    """The events of a happening, each valid."""
    message = message or logged()
    return [
        valid(render(event, message, HOSTNAME)) for event in events_of(happened, message, HOSTNAME)
    ]


# Each type


def test_a_delivery_is_written_field_for_field_and_in_the_order_of_ses() -> None:
    told = attempted(delivered=(ANN,))
    (event,) = events_of(told, logged(), HOSTNAME)
    expected = {
        "eventType": "Delivery",
        "mail": {
            "timestamp": "2026-09-21T14:13:20.118Z",
            "source": "b+1@bounce.shop.example",
            "sourceArn": "arn:aws:ses:relay:000000000000:identity/shop.example",
            "sendingAccountId": "000000000000",
            "messageId": MESSAGE_ID,
            "destination": [ANN],
            "headersTruncated": False,
            "headers": [
                {
                    "name": "Received",
                    "value": "from app.shop.example ([10.0.4.7])\tby relay.example with ESMTPSA",
                },
                {"name": "From", "value": "Shop <no-reply@shop.example>"},
                {"name": "To", "value": f'"Ann, the first" <{ANN}>, {BOB}'},
                {"name": "Subject", "value": "=?utf-8?q?Gr=C3=BC=C3=9Fe?= from the shop"},
                {"name": "Date", "value": "Mon, 21 Sep 2026 14:13:20 +0000"},
                {"name": "Message-ID", "value": "<order-1001@shop.example>"},
            ],
            "commonHeaders": {
                "returnPath": "b+1@bounce.shop.example",
                "from": ["Shop <no-reply@shop.example>"],
                "date": "Mon, 21 Sep 2026 14:13:20 +0000",
                "to": [f'"Ann, the first" <{ANN}>', BOB],
                "messageId": "<order-1001@shop.example>",
                "subject": "Grüße from the shop",
            },
            "tags": {
                "ses:source-tls-version": ["TLSv1.3"],
                "ses:operation": ["SendSmtp"],
                "ses:configuration-set": ["transactional"],
                "ses:outgoing-tls-version": ["TLSv1.3"],
                "ses:source-ip": ["10.0.4.7"],
                "ses:from-domain": ["shop.example"],
                "ses:caller-identity": ["shop-app"],
                "ses:outgoing-ip": ["198.51.100.10"],
                "app": ["shop"],
            },
        },
        "delivery": {
            "timestamp": "2026-09-21T14:13:21.951Z",
            "processingTimeMillis": 1833,
            "recipients": [ANN],
            "smtpResponse": "250 2.0.0 queued as 7F3A",
            "remoteMtaIp": "192.0.2.25",
            "reportingMTA": "relay.example",
        },
        "eventId": event.id,
    }
    assert json.dumps(valid(render(event, logged(), HOSTNAME))) == json.dumps(expected)


def test_a_send_has_an_empty_object_as_ses_has() -> None:
    (send,) = rendered(sent(new_message()))
    assert send["send"] == {}
    assert list(send) == ["eventType", "mail", "send", "eventId"]
    assert "ses:outgoing-ip" not in send["mail"]["tags"]


def test_a_bounce_tells_what_the_server_said() -> None:
    (bounce,) = rendered(attempted(verdict()))
    assert list(bounce) == ["eventType", "bounce", "mail", "eventId"]
    assert bounce["bounce"] == {
        "feedbackId": bounce["bounce"]["feedbackId"],
        "bounceType": "Permanent",
        "bounceSubType": "NoEmail",
        "bouncedRecipients": [
            {
                "emailAddress": ANN,
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 no such user",
            }
        ],
        "timestamp": "2026-09-21T14:13:21.951Z",
        "remoteMtaIp": "192.0.2.25",
        "reportingMTA": "dns; relay.example",
    }


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("Permanent", "General"),
        ("Permanent", "NoEmail"),
        ("Transient", "General"),
        ("Transient", "MailboxFull"),
        ("Transient", "MessageTooLarge"),
        ("Transient", "ContentRejected"),
        ("Transient", "AttachmentRejected"),
        ("Undetermined", "Undetermined"),
    ],
)
def test_every_type_of_bounce_is_as_ses_documents_it(
    kind: BounceType, subtype: BounceSubtype
) -> None:
    (bounce,) = rendered(attempted(verdict(bounce_type=kind, bounce_subtype=subtype)))
    assert (bounce["bounce"]["bounceType"], bounce["bounce"]["bounceSubType"]) == (kind, subtype)


@pytest.mark.parametrize("reason", ["bounce", "manual"])
def test_who_is_on_the_suppression_list_bounces_in_the_words_of_ses(reason: Any) -> None:
    _, bounce = rendered(sent(new_message(), Suppressed(ANN, reason)))
    told = bounce["bounce"]
    assert (told["bounceType"], told["bounceSubType"]) == ("Permanent", "OnAccountSuppressionList")
    (recipient,) = told["bouncedRecipients"]
    assert recipient["status"] == "5.1.1"
    assert not recipient["diagnosticCode"].startswith("smtp;")
    assert "remoteMtaIp" not in told


def test_who_is_on_the_list_for_a_complaint_complains_without_a_feedback_type() -> None:
    _, complaint = rendered(sent(new_message(), Suppressed(ANN, "complaint")))
    assert complaint["complaint"] == {
        "feedbackId": complaint["complaint"]["feedbackId"],
        "complaintSubType": "OnAccountSuppressionList",
        "complainedRecipients": [{"emailAddress": ANN}],
        "timestamp": "2026-09-21T14:13:20.118Z",
    }


def complained(**facts: Any) -> dict[str, Any]:
    feedback_id = MESSAGE_ID
    event = LoggedEvent(
        MESSAGE_ID,
        "Complaint",
        MESSAGE_ID,
        ACCEPTED_AT,
        (ANN,),
        ComplaintFacts(feedback_id, **facts),
    )
    return valid(render(event, logged(), HOSTNAME))


def test_a_complaint_tells_what_the_report_says_and_has_a_null_subtype() -> None:
    told = complained(user_agent="Spam/1.0", feedback_type="abuse", arrived_at=ACCEPTED_AT + 882)
    assert list(told) == ["eventType", "complaint", "mail", "eventId"]
    assert told["complaint"] == {
        "feedbackId": MESSAGE_ID,
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": ANN}],
        "timestamp": "2026-09-21T14:13:20.118Z",
        "userAgent": "Spam/1.0",
        "complaintFeedbackType": "abuse",
        "arrivalDate": "2026-09-21T14:13:21.000Z",
    }


@pytest.mark.parametrize(
    ("word", "told"),
    [("fraud", "fraud"), ("Virus", "virus"), ("opt-out", "other"), ("x-new", "other")],
)
def test_a_type_of_complaint_that_ses_does_not_know_is_another(word: str, told: str) -> None:
    assert complained(feedback_type=word)["complaint"]["complaintFeedbackType"] == told


def test_a_bounce_that_came_back_late_names_the_server_that_reported_it() -> None:
    facts = BounceFacts(
        "Permanent",
        "General",
        (EventRecipient(ANN, "5.0.0", "550 mailbox gone", "failed"),),
        MESSAGE_ID,
        reporting_mta="mx.customer.example",
        is_returned=True,
        way=Way("shared", "198.51.100.10", "other"),
    )
    event = LoggedEvent(MESSAGE_ID, "Bounce", MESSAGE_ID, ACCEPTED_AT, (ANN,), facts)
    told = valid(render(event, logged(), HOSTNAME))["bounce"]
    assert told["reportingMTA"] == "dns; mx.customer.example"
    assert "remoteMtaIp" not in told


def test_a_bounce_of_which_no_more_is_known_has_the_address_alone() -> None:
    """As SES tells of an out-of-office reply."""
    facts = BounceFacts("Transient", "General", (EventRecipient(ANN),), MESSAGE_ID)
    event = LoggedEvent(MESSAGE_ID, "Bounce", MESSAGE_ID, ACCEPTED_AT, (ANN,), facts)
    told = valid(render(event, logged(), HOSTNAME))["bounce"]
    assert told["bouncedRecipients"] == [{"emailAddress": ANN}]
    assert "reportingMTA" not in told


@pytest.mark.parametrize("category", get_args(Category))
def test_a_delay_for_whatever_reason_is_as_ses_documents_it(category: str) -> None:
    (delay,) = rendered(attempted(delayed(category=category)))
    assert delay["deliveryDelay"] == {
        "timestamp": "2026-09-21T14:13:21.951Z",
        "delayType": delay["deliveryDelay"]["delayType"],
        "expirationTime": "2026-09-22T04:13:20.118Z",
        "delayedRecipients": [
            {
                "emailAddress": ANN,
                "status": "4.7.1",
                "diagnosticCode": "smtp; 451 4.7.1 greylisted, try later",
            }
        ],
        "reportingMTA": "198.51.100.10",
    }


def test_a_reject_gives_the_reason() -> None:
    (reject,) = rendered(entry(Rejected("Bad content")))
    assert reject["reject"] == {"reason": "Bad content"}


@pytest.mark.parametrize(("paused", "key"), [(True, "sendingPaused"), (False, "sendingResumed")])
def test_a_pause_is_told_without_mail(paused: bool, key: str) -> None:
    happened = replace(entry(Paused("set", "bulk", paused, "12 % bounced")), message_id="")
    (event,) = events_of(happened, None, HOSTNAME)
    told = valid(render(event, None, HOSTNAME))
    assert told[key] == {
        "timestamp": "2026-09-21T14:13:21.951Z",
        "kind": "set",
        "name": "bulk",
        "reason": "12 % bounced",
    }


# The message


def test_headers_that_were_cut_say_so() -> None:
    (send,) = rendered(
        sent(new_message()), logged(header=HEADER + b"X: " + b"y" * 10_240 + b"\r\n")
    )
    assert send["mail"]["headersTruncated"] is True
    assert [field["name"] for field in send["mail"]["headers"]][-1] == "Message-ID"


def test_a_message_that_the_log_has_forgotten_is_told_of_with_what_its_id_says() -> None:
    (event,) = events_of(attempted(delivered=(ANN,)), None, HOSTNAME)
    mail = valid(render(event, None, HOSTNAME))["mail"]
    assert mail["timestamp"] == "2026-09-21T14:13:20.118Z"
    assert mail["messageId"] == MESSAGE_ID
    assert mail["destination"] == [ANN]
    assert "headers" not in mail


def test_a_report_of_our_own_has_no_source_and_no_return_path() -> None:
    report = logged(reverse_path="", identity="", credential="relay", tags=())
    (send,) = rendered(sent(new_message()), report)
    assert send["mail"]["source"] == ""
    assert "sourceArn" not in send["mail"]
    assert "returnPath" not in send["mail"]["commonHeaders"]


@pytest.mark.parametrize(
    ("field", "domain"),
    [
        (b"From: Shop <a@Shop.Example>\r\n", "shop.example"),
        (b"From: a@one.example, b@two.example\r\n", "one.example"),
        (b"From: nobody <\r\n", "bounce.shop.example"),
        (b"To: a@one.example\r\n", "bounce.shop.example"),
    ],
)
def test_the_domain_of_the_author_is_a_tag(field: bytes, domain: str) -> None:
    (send,) = rendered(sent(new_message()), logged(header=field))
    assert send["mail"]["tags"]["ses:from-domain"] == [domain]


def test_what_is_not_known_is_no_tag() -> None:
    plain = logged(client_tls="", client="", configuration_set="", tags=())
    (send,) = rendered(sent(new_message()), plain)
    assert set(send["mail"]["tags"]) == {"ses:operation", "ses:from-domain", "ses:caller-identity"}


def test_names_in_common_headers_are_for_people() -> None:
    header = (
        b'From: "John Doe" <john@shop.example>\r\n'
        b"Reply-To: =?utf-8?q?J=C3=BCrgen?= <j@shop.example>\r\n"
        b"To: friends: a@x.example, b@x.example;, c@x.example\r\n"
        b"Cc: broken <\r\n"
        b"Sender: s@shop.example\r\n"
    )
    (send,) = rendered(sent(new_message()), logged(header=header))
    common = send["mail"]["commonHeaders"]
    assert common["from"] == ["John Doe <john@shop.example>"]
    assert common["replyTo"] == ["Jürgen <j@shop.example>"]
    assert common["to"] == ["friends: a@x.example, b@x.example;", "c@x.example"]
    assert common["cc"] == ["broken <"]
    assert common["sender"] == "s@shop.example"
    assert "subject" not in common


# Whatever happens


def test_the_schemas_find_a_field_that_ses_does_not_have() -> None:
    (bounce,) = rendered(attempted(verdict()))
    for path in (
        [],
        ["mail"],
        ["bounce"],
        ["bounce", "bouncedRecipients", 0],
        ["mail", "headers", 0],
    ):
        spoiled = json.loads(json.dumps(bounce))
        inner = spoiled
        for step in path:
            inner = inner[step]
        inner["more"] = 1
        with pytest.raises(ValidationError):
            valid(json.dumps(spoiled))


def test_the_schemas_find_a_bounce_that_cannot_be() -> None:
    (bounce,) = rendered(attempted(verdict()))
    bounce["bounce"]["bounceSubType"] = "MailboxFull"  # which is never permanent
    with pytest.raises(ValidationError):
        valid(json.dumps(bounce))


addresses = st.text(min_size=1).map(lambda local: f"{local}@customer.example")
times = st.integers(ACCEPTED_AT - 10**9, ACCEPTED_AT + 10**9)
kinds = st.sampled_from(
    [
        ("Permanent", "NoEmail"),
        ("Transient", "MailboxFull"),
        ("Undetermined", "Undetermined"),
    ]
)
verdicts = st.builds(
    lambda address, bounced, kind, category, status, reply: Verdict(
        address, bounced, *kind, category, "", status, reply, ""
    ),
    addresses,
    st.booleans(),
    kinds,
    st.sampled_from([*get_args(Category), "unclassified"]),
    st.sampled_from(["", "4.7.1", "5.1.1", "5.999.999"]),
    st.text(min_size=1),
)
happenings = st.one_of(
    st.builds(
        lambda at, delivered, reply, some: (
            attempted(*some, at=at, delivered=tuple(delivered), reply=reply).what
        ),
        times,
        st.lists(addresses, max_size=3),
        st.text(),
        st.lists(verdicts, max_size=5),
    ),
    st.builds(Rejected, st.text(min_size=1)),
)
headers = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.tuples(
            st.sampled_from([b"From", b"To", b"Subject", b"Message-ID", b"X-Any"]),
            st.one_of(
                st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\r\n")),
                st.sampled_from([b"=?utf-7?q?+2AA-?=", b"=?utf-8?b?AAA=?= <a@b.c>, \xff"]),
            ),
        )
    ).map(lambda some: b"".join(name + b": " + value + b"\r\n" for name, value in some)),
)


@given(happenings, headers, times)
def test_whatever_happens_is_told_as_ses_tells_it(what: Happening, header: bytes, at: int) -> None:
    message = logged(header=header)
    for known in (message, None):
        for event in events_of(entry(what, at=at), known, HOSTNAME):
            if event.recipients:  # a reject of a message that nobody knows has none
                valid(render(event, known, HOSTNAME))


@given(st.lists(st.tuples(addresses, st.sampled_from(["bounce", "complaint", "manual"]))))
def test_whoever_is_suppressed_is_told_of_once(some: list[tuple[str, Any]]) -> None:
    told = sent(new_message(ANN), *(Suppressed(*one) for one in some))
    events = events_of(told, logged_message(told, HOSTNAME), HOSTNAME)
    for event in events:
        valid(render(event, logged(), HOSTNAME))
    assert sorted(a for event in events[1:] for a in event.recipients) == sorted(
        address for address, _ in some
    )
