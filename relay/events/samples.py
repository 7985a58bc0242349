"""Events that never happened, for `relay events test`. Pure.

They are about mail to the mailbox simulator, so that a consumer who counts leaves them out, and
their tag `relay-test` says what they are.
"""

from collections.abc import Iterable

from relay.events.notification import Notification
from relay.feedback.event_ids import event_id, feedback_id
from relay.store.attempted import Way
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    EventFacts,
    EventRecipient,
    EventType,
    LoggedEvent,
    LoggedMessage,
    PauseFacts,
    RejectFacts,
    SendFacts,
)

_ORDER: tuple[EventType, ...] = (
    "Send",
    "Reject",
    "DeliveryDelay",
    "Delivery",
    "Bounce",
    "Complaint",
    "SendingPaused",
    "SendingResumed",
)


def samples(
    types: Iterable[EventType], configuration_set: str, hostname: str, now: int
) -> list[Notification]:
    """One event of each type, as of now (UTC ms)."""
    wanted = frozenset(types)
    return [
        _sample(word, configuration_set, hostname, now, number)
        for number, word in enumerate(_ORDER)
        if word in wanted
    ]


def _sample(
    word: EventType, configuration_set: str, hostname: str, now: int, number: int
) -> Notification:
    box = {"Bounce": "bounce", "Complaint": "complaint"}.get(word, "success")
    recipient = f"{box}@simulator.{hostname}"
    message_id = event_id(0, "relay-test", now, 0)
    feedback = feedback_id(0, message_id, now, number)
    way = Way(remote=f"simulator.{hostname}", remote_address="127.0.0.1", source="127.0.0.1")
    failed = EventRecipient(recipient, "5.1.1", "550 5.1.1 user unknown", "failed")
    delayed = EventRecipient(recipient, "4.4.7", "451 4.4.7 try again", "delayed")
    facts: dict[EventType, EventFacts] = {
        "Send": SendFacts(),
        "Reject": RejectFacts("Bad content"),
        "DeliveryDelay": DelayFacts("General", (delayed,), now + 3_600_000, way),
        "Delivery": DeliveryFacts(120, "250 2.0.0 Ok", way),
        "Bounce": BounceFacts(
            "Permanent", "NoEmail", (failed,), feedback, reporting_mta=hostname, way=way
        ),
        "Complaint": ComplaintFacts(feedback, user_agent="relay", feedback_type="abuse"),
        "SendingPaused": PauseFacts("set", configuration_set, "this is a test"),
        "SendingResumed": PauseFacts("set", configuration_set, "this is a test"),
    }
    is_pause = word in ("SendingPaused", "SendingResumed")
    event = LoggedEvent(
        id=event_id(0, message_id, now, number),
        type=word,
        message_id="" if is_pause else message_id,
        at=now,
        recipients=() if is_pause else (recipient,),
        facts=facts[word],
    )
    message = (
        None if is_pause else _message(message_id, configuration_set, hostname, recipient, now)
    )
    return Notification(event, message, hostname)


def _message(
    message_id: str, configuration_set: str, hostname: str, recipient: str, now: int
) -> LoggedMessage:
    sender = f"test@{hostname}"
    header = f"From: {sender}\r\nTo: {recipient}\r\nSubject: A test of event destinations\r\n"
    return LoggedMessage(
        id=message_id,
        accepted_at=now,
        expires_at=now + 3_600_000,
        reverse_path=sender,
        recipients=(recipient,),
        credential="test",
        configuration_set=configuration_set,
        identity=hostname,
        size=1_000,
        subject="A test of event destinations",
        client="127.0.0.1",
        header=header.encode(),
        tags=(("relay-test", "1"),),
        is_simulated=True,
    )
