"""Delivery status notifications: multipart/report as RFC 3464, RFC 6522 and RFC 3461 want it.

Pure: facts in, octets out. The report is 7-bit ASCII whatever peers, addresses and the original
hold (RFC 6533's ASCII forms stand for the rest), so that every server takes it; the one exception
is To, where the reverse-path itself is not ASCII and SMTPUTF8 is needed anyway. Whether a report is
due at all (NOTIFY, null reverse-path) is not decided here. It does not fail on any input that the
relay accepted: what cannot be said is left out or escaped.
"""

import re
from collections.abc import Iterable, Iterator

from relay.mail.dates import format_date
from relay.mail.dsn_text import SUBJECTS, report_text
from relay.mail.dsn_values import RETURNED_BODY_OCTETS, Report, ReportedRecipient, wants_body
from relay.mail.encoded_words import decode_words
from relay.mail.headers import HeaderError, Headers, header_field
from relay.mail.quoted_printable import quoted_printable
from relay.mail.xtext import decode_xtext, encode_utf8_address

__all__ = ["RETURNED_BODY_OCTETS", "Report", "ReportedRecipient", "compose_dsn", "wants_body"]

RETURNED_HEADER_OCTETS = 64 * 1024
_VALUE_CHARACTERS = 900  # a word of that length still fits into a line

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>").fullmatch
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}").fullmatch
_STATUS_WITHOUT_DETAIL = {
    "failed": "5.0.0",
    "delayed": "4.0.0",
    "delivered": "2.0.0",
    "relayed": "2.0.0",
}


def compose_dsn(report: Report) -> tuple[bytes, bytes]:
    """The header block (without its empty line) and the body of the report, lines ended by CRLF."""
    original = _known_by(report.header)
    returned, words = _returned(report)
    parts = (
        _notification(report_text(report, original, words)),
        _delivery_status(report),
        returned,
    )
    boundary = _boundary(report.report_id, parts)
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return _header(report, original, boundary), body + b"--%b--\r\n" % boundary


def _header(report: Report, original: dict[str, str], boundary: bytes) -> bytes:
    host = report.reporting_mta
    fields = [
        header_field("From", f"Mail Delivery System <MAILER-DAEMON@{host}>"),
        header_field("To", f"<{report.reverse_path}>", smtputf8=True),
        header_field("Subject", SUBJECTS[report.action]),
        header_field("Date", format_date(report.now)),
        header_field("Message-ID", f"<{report.report_id}@{host}>"),
        header_field("Auto-Submitted", "auto-replied"),
        header_field("MIME-Version", "1.0"),
        b"Content-Type: multipart/report; report-type=delivery-status;\r\n"
        b'\tboundary="%b"\r\n' % boundary,
    ]
    message_id = original.get("Message-ID", "")
    if _MESSAGE_ID(message_id):
        fields += [
            header_field("In-Reply-To", message_id),
            header_field("References", message_id),
        ]
    return b"".join(fields)


def _notification(text: str) -> bytes:
    """The part for people: ASCII as it is, anything else as UTF-8 in quoted-printable."""
    if text.isascii():
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + text.encode("ascii")
    return (
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted_printable(text.encode())
    )


def _delivery_status(report: Report) -> bytes:
    """The part for programs: the message, then a group for each recipient (RFC 3464 §2)."""
    groups = [b"Content-Type: message/delivery-status\r\n", b"".join(_message_fields(report))]
    groups += [b"".join(_recipient_fields(report, each)) for each in report.recipients]
    return b"\r\n".join(groups)


def _message_fields(report: Report) -> Iterator[bytes]:
    if report.envid:
        yield _line("Original-Envelope-Id", _decoded(report.envid))
    yield _line("Reporting-MTA", f"dns; {report.reporting_mta}")
    yield _line("Arrival-Date", format_date(report.arrived_at))


def _recipient_fields(report: Report, recipient: ReportedRecipient) -> Iterator[bytes]:
    if recipient.orcpt:
        yield _line("Original-Recipient", _original_recipient(recipient.orcpt))
    if recipient.address.isascii():
        yield _line("Final-Recipient", f"rfc822; {recipient.address}")
    else:
        yield _line("Final-Recipient", f"utf-8; {encode_utf8_address(recipient.address)}")
    yield _line("Action", report.action)
    fitting = _STATUS(recipient.status)
    yield _line("Status", recipient.status if fitting else _STATUS_WITHOUT_DETAIL[report.action])
    if recipient.remote_mta:
        yield _line("Remote-MTA", f"dns; {recipient.remote_mta}")
    if recipient.diagnostic:
        yield _line("Diagnostic-Code", f"smtp; {recipient.diagnostic}")
    if recipient.attempted_at is not None:
        yield _line("Last-Attempt-Date", format_date(recipient.attempted_at))
    if report.action == "delayed" and recipient.retried_until is not None:
        yield _line("Will-Retry-Until", format_date(recipient.retried_until))


def _line(name: str, value: str) -> bytes:
    return header_field(name, _printable_ascii(value)[:_VALUE_CHARACTERS])


def _printable_ascii(text: str) -> str:
    """`text` with escapes in place of controls and of what is not ASCII."""
    return "".join(
        letter if " " <= letter <= "~" else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def _decoded(xtext: str) -> str:
    """What the client meant, where that is printable ASCII; otherwise what it sent."""
    try:
        decoded = decode_xtext(xtext)
    except ValueError:
        return xtext
    return decoded if decoded.isascii() and decoded.isprintable() else xtext


def _original_recipient(orcpt: str) -> str:
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8":  # encoded by rules of its own (RFC 6533 §3)
        return f"{kind}; {address if address.isascii() else encode_utf8_address(address)}"
    return f"{kind}; {_decoded(address)}"


def _returned(report: Report) -> tuple[bytes, str]:
    """The part that returns the original, and words for it.

    message/rfc822 may not be encoded (RFC 2046 §5.2.1), so an original that is not plain ASCII
    comes back as its header alone, in quoted-printable.
    """
    header = report.header
    if (
        report.body is not None
        and len(report.body) <= RETURNED_BODY_OCTETS
        and len(header) <= RETURNED_HEADER_OCTETS
        and _is_plain(header)
        and _is_plain(report.body)
    ):
        part = b"Content-Type: message/rfc822\r\n\r\n%b\r\n%b" % (header, report.body)
        return part, "your message"
    words = "the header of your message"
    if report.ret == "FULL":
        words += ", whose body is too large or not plain enough to be returned"
    if len(header) > RETURNED_HEADER_OCTETS:
        header = header[: header.rfind(b"\r\n", 0, RETURNED_HEADER_OCTETS) + 2]
    if _is_plain(header):
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + header, words
    return (
        b"Content-Type: text/rfc822-headers; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted_printable(header)
    ), words


def _is_plain(octets: bytes) -> bool:
    return octets.isascii() and b"\0" not in octets


def _boundary(report_id: str, parts: Iterable[bytes]) -> bytes:
    """A boundary that no part holds, even where the original's sender foresaw the report's id."""
    content = b"".join(parts)
    boundary = b"=_" + report_id.encode("ascii")
    while boundary in content:
        boundary += b"_"
    return boundary


def _known_by(header: bytes) -> dict[str, str]:
    """What the sender knows the message by: its Subject and Message-ID, where it has them."""
    try:
        fields = Headers.parse(header)
    except HeaderError:
        return {}
    known = {
        "Subject": decode_words((fields.first("Subject") or "")[:1_000]),
        "Message-ID": fields.first("Message-ID") or "",
    }
    return {name: value for name, value in known.items() if value}
