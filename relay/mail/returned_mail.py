"""What has come back to a return-path: a delivery report, a complaint, an automatic reply, or none
of these. Pure, and total: any octets have an answer.

In this order, because reports say of themselves that they were sent automatically, and absence
notes speak of mail that cannot be delivered.
"""

from dataclasses import dataclass
from typing import Literal

from relay.mail.arf import Feedback, read_attached, read_feedback
from relay.mail.auto_replies import is_absence_note, is_automatic
from relay.mail.dsn_prose import read_prose, with_reasons
from relay.mail.dsn_reading import ReadReport, read_dsn
from relay.mail.encoded_words import decode_words
from relay.mail.enhanced import printable_text
from relay.mail.mime import read_message

ReturnedKind = Literal["dsn", "feedback", "auto_reply", "other"]

_SUBJECT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ReturnedMail:
    """`report` is there for a `dsn` alone, `feedback` for a `feedback`. `subject` is for people."""

    kind: ReturnedKind
    subject: str = ""
    report: ReadReport | None = None
    feedback: Feedback | None = None


def read_returned(octets: bytes, *, for_complaints: bool = False) -> ReturnedMail:
    """What a message is. `for_complaints`: it came to an address for complaints, where a message
    that is attached to another is one."""
    message = read_message(octets)
    subject = printable_text(
        decode_words(message.get("subject")[: 2 * _SUBJECT_CHARACTERS]), _SUBJECT_CHARACTERS
    )
    feedback = read_feedback(message, octets)
    if feedback is not None:
        return ReturnedMail("feedback", subject, feedback=feedback)
    report = read_dsn(message)
    if report is not None:
        report = with_reasons(report, message)
    elif not is_absence_note(message):
        report = read_prose(message)
    if report is not None:
        return ReturnedMail("dsn", subject, report=report)
    if for_complaints:
        attached = read_attached(message, octets)
        if attached is not None:
            return ReturnedMail("feedback", subject, feedback=attached)
    return ReturnedMail("auto_reply" if is_automatic(message) else "other", subject)
