"""Published libraries that read SES's events read ours, unmodified."""

from typing import Any

from relay.config.events import SnsEndpoint
from relay.events.destinations.webhook import request_of
from relay.events.making import events_of
from relay.events.notification import Notification
from relay.store.happenings import OutboxEntry, Rejected
from relay.store.values import Suppressed
from tests.events.consumers import PASSWORD, USERNAME, read_by_anymail, read_by_django_ses
from tests.events.entries import (
    ACCEPTED_AT,
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

ANN, BOB = "ann@customer.example", "bob@customer.example"
ENDPOINT = SnsEndpoint(
    type="sns", url="https://consumer.example/", username=USERNAME, password=PASSWORD
)


def requests(happened: OutboxEntry) -> list[tuple[dict[str, str], bytes]]:
    """What the consumer is sent of a happening."""
    message = logged(ANN, BOB)
    return [
        request_of(Notification(event, message, HOSTNAME), ENDPOINT, ACCEPTED_AT + 5_000)
        for event in events_of(happened, message, HOSTNAME)
    ]


def anymail(happened: OutboxEntry) -> list[Any]:
    return read_by_anymail(requests(happened))


def django_ses(happened: OutboxEntry) -> list[Any]:
    return read_by_django_ses(requests(happened))


def test_anymail_reads_a_delivery() -> None:
    (event,) = anymail(attempted(delivered=(ANN,)))
    assert (event.event_type, event.recipient, event.message_id) == ("delivered", ANN, MESSAGE_ID)
    assert event.mta_response == "250 2.0.0 queued as 7F3A"


def test_anymail_has_the_id_to_tell_duplicates_by() -> None:
    happened = attempted(delivered=(ANN,))
    (event,) = anymail(happened)
    assert event.event_id == events_of(happened, logged(), HOSTNAME)[0].id


def test_anymail_reads_a_send_for_each_recipient() -> None:
    events = anymail(sent(new_message(ANN, BOB)))
    assert [(event.event_type, event.recipient) for event in events] == [
        ("sent", ANN),
        ("sent", BOB),
    ]


def test_anymail_reads_bounces_of_all_kinds() -> None:
    full = verdict(BOB, bounce_type="Transient", bounce_subtype="MailboxFull")
    first, second = anymail(attempted(verdict(ANN), full))
    assert (first.event_type, first.recipient, first.description) == (
        "bounced",
        ANN,
        "Permanent: NoEmail",
    )
    assert first.mta_response == "smtp; 550 5.1.1 no such user"
    assert second.description == "Transient: MailboxFull"


def test_anymail_reads_who_was_suppressed() -> None:
    listed = (Suppressed(ANN, "bounce"), Suppressed(BOB, "complaint"))
    events = anymail(sent(new_message(ANN, BOB), *listed))[2:]
    assert [(event.event_type, event.recipient) for event in events] == [
        ("bounced", ANN),
        ("complained", BOB),
    ]
    assert events[0].description == "Permanent: OnAccountSuppressionList"


def test_anymail_reads_a_reject() -> None:
    event = anymail(entry(Rejected("Bad content")))[0]
    assert (event.event_type, event.description) == ("rejected", "Bad content")


def test_anymail_takes_a_delay_that_it_does_not_know() -> None:
    """As it does where SES sends one."""
    assert {event.event_type for event in anymail(attempted(delayed(ANN)))} == {"unknown"}


def test_django_ses_reads_a_delivery() -> None:
    (event,) = django_ses(attempted(delivered=(ANN,)))
    assert event.mail["messageId"] == MESSAGE_ID
    assert event.delivery_obj["recipients"] == [ANN]


def test_django_ses_reads_bounces_complaints_and_sends() -> None:
    listed = (Suppressed(ANN, "bounce"), Suppressed(BOB, "complaint"))
    send, bounce, complaint = django_ses(sent(new_message(ANN, BOB), *listed))
    assert send.send_obj == {}
    assert bounce.bounce_obj["bounceSubType"] == "OnAccountSuppressionList"
    assert [one["emailAddress"] for one in complaint.complaint_obj["complainedRecipients"]] == [BOB]
