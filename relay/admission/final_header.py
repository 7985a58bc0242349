"""The header block as it leaves the relay, but for the signatures.

Taken from the client field by field, octet for octet; the X-SES, Bcc and Return-Path fields are
gone (`relay.admission.reading`), Received is on top, and a missing Date or Message-ID is added at
the end. A Message-ID that the client gave stays: replies thread by it.
"""

from relay.admission.policy import Policy
from relay.admission.reading import Reading
from relay.admission.submission import Submission
from relay.mail.dates import format_date
from relay.mail.received import received_field


def final_header(submission: Submission, reading: Reading, policy: Policy) -> bytes:
    """Whole fields, each ended by CRLF, without the empty line that ends the block."""
    parts = [field.raw for field in reading.kept]
    if policy.received_header:
        recipients = submission.envelope.recipients
        parts.insert(
            0,
            received_field(
                helo=submission.helo,
                client=submission.client,
                by=policy.hostname,
                message_id=submission.id,
                at=submission.received_at,
                tls=submission.tls,
                smtputf8=submission.envelope.smtputf8,
                recipient=recipients[0].address if len(recipients) == 1 else "",
            ),
        )
    if not reading.has_date:
        parts.append(f"Date: {format_date(submission.received_at)}\r\n".encode())
    if not reading.has_message_id:
        parts.append(f"Message-ID: <{submission.id}@{policy.hostname}>\r\n".encode())
    return b"".join(parts)
