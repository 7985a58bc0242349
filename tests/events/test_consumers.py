"""Published libraries that read SES's events read ours: django-anymail and django-ses, each through
its own web hook, unmodified."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.conf import settings
from django.test import RequestFactory

from relay.events.making import events_of
from relay.events.ses import render
from relay.store.happenings import OutboxEntry, Rejected
from relay.store.values import Suppressed
from tests.events.entries import (
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

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["consumer.example"],
        ANYMAIL={"WEBHOOK_SECRET": "user:password"},
        AWS_SES_VERIFY_EVENT_SIGNATURES=False,
        LOGGING_CONFIG=None,
        SECRET_KEY="of a test",
        USE_TZ=True,
    )
    django.setup()

# They look at the settings when they are imported.
from anymail.signals import tracking
from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView
from django_ses import signals
from django_ses.views import SESEventWebhookView

ANN, BOB = "ann@customer.example", "bob@customer.example"


def notifications(happened: OutboxEntry) -> list[dict[str, str]]:
    """The events of a happening as SNS hands them over."""
    message = logged(ANN, BOB)
    return [
        {
            "Type": "Notification",
            "MessageId": event.id,
            "TopicArn": "arn:aws:sns:relay:000000000000:events",
            "Message": render(event, message, HOSTNAME).decode(),
            "Timestamp": "2026-09-21T14:13:22.000Z",
        }
        for event in events_of(happened, message, HOSTNAME)
    ]


def told(view: Callable[..., Any], happened: OutboxEntry) -> None:
    for notification in notifications(happened):
        request = RequestFactory().post(
            "/",
            json.dumps(notification),
            content_type="text/plain; charset=UTF-8",
            headers={
                "Host": "consumer.example",
                "Authorization": "Basic dXNlcjpwYXNzd29yZA==",
                "X-Amz-Sns-Message-Type": "Notification",
                "X-Amz-Sns-Message-Id": notification["MessageId"],
            },
        )
        assert view(request).status_code == 200


@pytest.fixture
def anymail() -> Any:
    """What django-anymail makes of what happened."""
    heard: list[Any] = []

    def listen(sender: Any, event: Any, esp_name: str, **_: Any) -> None:
        heard.append(event)

    def events(happened: OutboxEntry) -> list[Any]:
        told(AmazonSESTrackingWebhookView.as_view(), happened)
        return heard

    tracking.connect(listen)
    yield events
    tracking.disconnect(listen)


@pytest.fixture
def django_ses() -> Any:
    """What django-ses makes of what happened: signals with the objects that SES documents."""
    heard: list[Any] = []

    def listen(sender: Any, mail_obj: Any, raw_message: bytes, **objects: Any) -> None:
        heard.append(SimpleNamespace(mail=mail_obj, **objects))

    def events(happened: OutboxEntry) -> list[Any]:
        told(SESEventWebhookView.as_view(), happened)
        return heard

    all_of_them = (
        signals.bounce_received,
        signals.complaint_received,
        signals.delivery_received,
        signals.send_received,
    )
    for signal in all_of_them:
        signal.connect(listen)
    yield events
    for signal in all_of_them:
        signal.disconnect(listen)


def test_anymail_reads_a_delivery(anymail: Any) -> None:
    (event,) = anymail(attempted(delivered=(ANN,)))
    assert (event.event_type, event.recipient, event.message_id) == ("delivered", ANN, MESSAGE_ID)
    assert event.mta_response == "250 2.0.0 queued as 7F3A"


def test_anymail_reads_a_send_for_each_recipient(anymail: Any) -> None:
    events = anymail(sent(new_message(ANN, BOB)))
    assert [(event.event_type, event.recipient) for event in events] == [
        ("sent", ANN),
        ("sent", BOB),
    ]


def test_anymail_reads_bounces_of_all_kinds(anymail: Any) -> None:
    full = verdict(BOB, bounce_type="Transient", bounce_subtype="MailboxFull")
    first, second = anymail(attempted(verdict(ANN), full))
    assert (first.event_type, first.recipient, first.description) == (
        "bounced",
        ANN,
        "Permanent: NoEmail",
    )
    assert first.mta_response == "smtp; 550 5.1.1 no such user"
    assert second.description == "Transient: MailboxFull"


def test_anymail_reads_who_was_suppressed(anymail: Any) -> None:
    listed = (Suppressed(ANN, "bounce"), Suppressed(BOB, "complaint"))
    events = anymail(sent(new_message(ANN, BOB), *listed))[2:]
    assert [(event.event_type, event.recipient) for event in events] == [
        ("bounced", ANN),
        ("complained", BOB),
    ]
    assert events[0].description == "Permanent: OnAccountSuppressionList"


def test_anymail_reads_a_reject(anymail: Any) -> None:
    event = anymail(entry(Rejected("Bad content")))[0]
    assert (event.event_type, event.description) == ("rejected", "Bad content")


def test_anymail_takes_a_delay_that_it_does_not_know(anymail: Any) -> None:
    """As it does where SES sends one."""
    assert {event.event_type for event in anymail(attempted(delayed(ANN)))} == {"unknown"}


def test_django_ses_reads_a_delivery(django_ses: Any) -> None:
    (event,) = django_ses(attempted(delivered=(ANN,)))
    assert event.mail["messageId"] == MESSAGE_ID
    assert event.delivery_obj["recipients"] == [ANN]


def test_django_ses_reads_bounces_complaints_and_sends(django_ses: Any) -> None:
    listed = (Suppressed(ANN, "bounce"), Suppressed(BOB, "complaint"))
    send, bounce, complaint = django_ses(sent(new_message(ANN, BOB), *listed))
    assert send.send_obj == {}
    assert bounce.bounce_obj["bounceSubType"] == "OnAccountSuppressionList"
    assert [one["emailAddress"] for one in complaint.complaint_obj["complainedRecipients"]] == [BOB]
