"""Messages and events for the log, from what the outbox says. Pure: the same entry, read again
after a crash, makes the same events with the same ids.

One happening makes at most one event of a kind: an attempt at many recipients is one Delivery for
all who have the message now, a Bounce for each kind of refusal and a DeliveryDelay for each kind of
reason to try again. What comes back later, reports and complaints, is understood in
`relay.feedback.returned`, which needs more than the entry.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import TypeVar

from relay.config.names import RESERVED_CREDENTIAL
from relay.events.delay_types import delay_type
from relay.feedback.event_ids import event_id, feedback_id
from relay.mail.encoded_words import decode_words
from relay.mail.enhanced import printable_text, status_of_class
from relay.mail.message_id import accepted_at
from relay.mail.simulated import is_simulator_address
from relay.store.attempted import Verdict, Way
from relay.store.happenings import Attempted, OutboxEntry, Paused, Rejected, Sent
from relay.store.log_values import (
    MOST_LOGGED_HEADER,
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
from relay.store.values import Message, Suppressed

ON_SUPPRESSION_LIST = "OnAccountSuppressionList"
"""SES's subtype for recipients who are not sent to because they are on the list."""
SUPPRESSED = "suppressed"
"""The category of a verdict on whom the list has got since the mail was accepted."""
SUBJECT_CHARACTERS = 998
NOT_SENT = "This address is on the suppression list; the message was not sent to it."

# A line that begins so is a field's first: those that go on with one begin with white space.
_SUBJECT = re.compile(
    rb"^subject[ \t]*+:((?:[^\r\n]*+\r\n[ \t])*+[^\r\n]*+)", re.IGNORECASE | re.MULTILINE
).search
_Grouped = TypeVar("_Grouped")


def logged_message(entry: OutboxEntry, hostname: str) -> LoggedMessage:
    """What is kept of a message that was accepted. `entry` tells that it was (`TypeError` where it
    tells something else), `hostname` is the relay's, under which its mailbox simulator is."""
    if not isinstance(entry.what, Sent):
        raise TypeError(f"entry {entry.id} does not tell of a new message")
    message = entry.what.message
    header = whole_fields(message.header, MOST_LOGGED_HEADER)
    recipients = tuple(recipient.address for recipient in message.envelope.recipients)
    return LoggedMessage(
        id=message.id,
        accepted_at=message.accepted_at,
        expires_at=message.expires_at,
        reverse_path=message.envelope.reverse_path,
        recipients=recipients,
        credential=message.credential,
        configuration_set=message.configuration_set,
        identity=message.identity,
        size=message.size,
        subject=_subject(header),
        client=message.client,
        tls=message.client_tls,
        header=header,
        header_is_cut=len(header) < len(message.header),
        tags=message.tags,
        is_simulated=_is_simulated(message, hostname),
    )


def events_of(
    entry: OutboxEntry, message: LoggedMessage | None, hostname: str
) -> tuple[LoggedEvent, ...]:
    """The events that a happening makes, in the order in which they are told.

    `message` is what the log knows of the message, None where it knows nothing (any more) or the
    happening belongs to none. `hostname` is the relay's: who reports. `TypeError` for a report or a
    complaint that came back.
    """
    make = _Maker(entry, message, hostname)
    match entry.what:
        case Sent(suppressed=suppressed):
            return make.sent(suppressed)
        case Attempted() as attempted:
            return make.attempted(attempted)
        case Rejected(reason=reason):
            everybody = message.recipients if message else ()
            return (make.event("Reject", entry.at, everybody, RejectFacts(reason)),)
        case Paused(kind=kind, name=name, paused=paused, reason=reason):
            word: EventType = "SendingPaused" if paused else "SendingResumed"
            return (make.event(word, entry.at, (), PauseFacts(kind, name, reason)),)
        case _:
            raise TypeError(
                f"entry {entry.id} tells of what came back, and is understood elsewhere"
            )


class _Maker:
    """Makes the events of one entry, numbering them for their ids."""

    def __init__(self, entry: OutboxEntry, message: LoggedMessage | None, hostname: str) -> None:
        self._entry = entry
        self._message = message
        self._hostname = hostname
        self._numbers = count()

    def sent(self, suppressed: Iterable[Suppressed]) -> tuple[LoggedEvent, ...]:
        """SES counts what it does not send to as sent too, and tells right after why it was not."""
        at = self._entry.at
        everybody = self._message.recipients if self._message else ()
        return (
            self.event("Send", at, everybody, SendFacts()),
            *self._on_the_list(at, suppressed),
        )

    def _on_the_list(self, at: int, suppressed: Iterable[Suppressed]) -> list[LoggedEvent]:
        return [
            self._complained_before(at, group)
            if reason == "complaint"
            else self._bounced_before(at, group)
            for reason, group in _alike(suppressed, _list_reason)
        ]

    def attempted(self, what: Attempted) -> tuple[LoggedEvent, ...]:
        """What an attempt came to, or a giving-up without one."""
        way = what.way
        events = []
        if what.delivered:
            took = max(0, what.at - self._accepted_at)
            facts = DeliveryFacts(took, what.reply, way)
            events.append(self.event("Delivery", what.at, what.delivered, facts))
        listed = [
            Suppressed(verdict.address, "complaint" if verdict.rule == "complaint" else "bounce")
            for verdict in what.verdicts
            if verdict.category == SUPPRESSED
        ]
        events += self._on_the_list(what.at, listed)
        bounced = [v for v in what.verdicts if v.bounced and v.category != SUPPRESSED]
        events += [self._bounce(what.at, alike, way) for _, alike in _alike(bounced, _kind)]
        delayed = [verdict for verdict in what.verdicts if not verdict.bounced]
        events += [
            self._delay(what, word, alike, way) for word, alike in _alike(delayed, _delay_type)
        ]
        return tuple(events)

    def event(
        self,
        word: EventType,
        at: int,
        recipients: tuple[str, ...],
        facts: EventFacts,
        number: int | None = None,
    ) -> LoggedEvent:
        number = next(self._numbers) if number is None else number
        message_id = self._entry.message_id
        identifier = event_id(self._entry.id, message_id, at, number)
        return LoggedEvent(identifier, word, message_id, at, recipients, facts)

    @property
    def _accepted_at(self) -> int:
        """As the log says, else as the id of the message does."""
        if self._message is not None:
            return self._message.accepted_at
        return accepted_at(self._entry.message_id) or self._entry.at

    def _counts(self, recipient: str) -> bool:
        """Whether reputation counts what becomes of a recipient of the message."""
        known = self._message
        if known is not None and (known.is_simulated or known.credential == RESERVED_CREDENTIAL):
            return False
        return not is_simulator_address(recipient, self._hostname)

    def _bounce(self, at: int, verdicts: list[Verdict], way: Way) -> LoggedEvent:
        """Recipients who are given up alike."""
        first = verdicts[0]
        kind, subtype, category, rule = _kind(first)
        number = next(self._numbers)
        facts = BounceFacts(
            type=kind,
            subtype=subtype,
            recipients=tuple(self._failed(verdict, at) for verdict in verdicts),
            feedback_id=feedback_id(self._entry.id, self._entry.message_id, at, number),
            reporting_mta=self._hostname,
            category=category,
            rule=rule,
            counts=kind == "Permanent" and self._counts(first.address),  # all of one domain
            way=way,
        )
        return self.event("Bounce", at, _addresses(verdicts), facts, number)

    def _failed(self, verdict: Verdict, at: int) -> EventRecipient:
        """Of what has expired SES says so in these words, the last reply behind them, and 4.4.7
        where reports (RFC 3464) have to say 5.4.7."""
        if verdict.category != "expired":
            status = status_of_class("5", verdict.status)
            return EventRecipient(verdict.address, status, verdict.reply, "failed")
        minutes = max(0, at - self._accepted_at) // 60_000
        text = f"Message expired: unable to deliver in {minutes} minutes.<{verdict.reply}>"
        return EventRecipient(verdict.address, "4.4.7", f"554 4.4.7 {text}", "failed")

    def _delay(self, what: Attempted, word: str, verdicts: list[Verdict], way: Way) -> LoggedEvent:
        recipients = tuple(_delayed(verdict) for verdict in verdicts)
        facts = DelayFacts(word, recipients, what.expires_at, way)
        return self.event("DeliveryDelay", what.at, _addresses(verdicts), facts)

    def _bounced_before(self, at: int, suppressed: list[Suppressed]) -> LoggedEvent:
        """Not sent to: the list has them for a bounce, or by somebody's hand."""
        number = next(self._numbers)
        facts = BounceFacts(
            type="Permanent",
            subtype=ON_SUPPRESSION_LIST,
            recipients=tuple(
                EventRecipient(one.address, "5.1.1", NOT_SENT, "failed") for one in suppressed
            ),
            feedback_id=feedback_id(self._entry.id, self._entry.message_id, at, number),
            reporting_mta=self._hostname,
            category="suppressed",
        )
        return self.event("Bounce", at, _addresses(suppressed), facts, number)

    def _complained_before(self, at: int, suppressed: list[Suppressed]) -> LoggedEvent:
        """Not sent to: they have complained."""
        number = next(self._numbers)
        facts = ComplaintFacts(
            feedback_id=feedback_id(self._entry.id, self._entry.message_id, at, number),
            subtype=ON_SUPPRESSION_LIST,
            counts=False,
        )
        return self.event("Complaint", at, _addresses(suppressed), facts, number)


def whole_fields(header: bytes, most: int) -> bytes:
    """As many whole fields from the top of a header block as have at most `most` octets together.
    Of a block that was cut itself one octet beyond `most` has to be there."""
    if len(header) <= most:
        return header
    end = most
    while end and (header[end - 2 : end] != b"\r\n" or header[end : end + 1] in b" \t"):
        line_end = header.rfind(b"\r\n", 0, max(0, end - 1))
        end = line_end + 2 if line_end >= 0 else 0
    return header[:end]


def _subject(header: bytes) -> str:
    """For people: unfolded and decoded, on one line. Empty where there is none. The field alone is
    read: this is done for each message."""
    field = _SUBJECT(header)
    if field is None:
        return ""
    value = field[1].replace(b"\r\n", b"").strip(b" \t").decode(errors="replace")
    return printable_text(decode_words(value), SUBJECT_CHARACTERS)


def _is_simulated(message: Message, hostname: str) -> bool:
    recipients = message.envelope.recipients
    return bool(recipients) and all(
        is_simulator_address(recipient.address, hostname) for recipient in recipients
    )


def _list_reason(suppressed: Suppressed) -> str:
    """Which event tells of it: for `manual` the one for `bounce`, as SES has no other."""
    return "complaint" if suppressed.reason == "complaint" else "bounce"


def _kind(verdict: Verdict) -> tuple[str, str, str, str]:
    """SES's type and subtype, and our category and rule. Of what no rule knew and was tried until
    it expired, it is determined by now what it comes to."""
    kind, subtype = verdict.bounce_type, verdict.bounce_subtype
    if verdict.category == "expired" and kind == "Undetermined":
        kind, subtype = "Transient", "General"
    return kind, subtype, verdict.category, verdict.rule


def _delay_type(verdict: Verdict) -> str:
    return delay_type(verdict.category)


def _delayed(verdict: Verdict) -> EventRecipient:
    status = status_of_class("4", verdict.status)
    return EventRecipient(verdict.address, status, verdict.reply, "delayed")


def _addresses(of: Iterable[Verdict | Suppressed]) -> tuple[str, ...]:
    return tuple(one.address for one in of)


_Key = TypeVar("_Key", bound=Hashable)


def _alike(
    things: Iterable[_Grouped], key: Callable[[_Grouped], _Key]
) -> list[tuple[_Key, list[_Grouped]]]:
    """In groups, in the order of the first of each."""
    groups: dict[_Key, list[_Grouped]] = defaultdict(list)
    for thing in things:
        groups[key(thing)].append(thing)
    return list(groups.items())
