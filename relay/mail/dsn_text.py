"""What a delivery report says to people: plain English, wrapped for a terminal.

Pure text; the machine-readable part is `dsn`'s. What peers said is quoted, never interpreted.
"""

import textwrap
from collections.abc import Mapping

from relay.mail.dates import format_date
from relay.mail.dsn_values import Report, ReportedRecipient
from relay.mail.enhanced import printable_text

SUBJECTS = {
    "failed": "Your message could not be delivered",
    "delayed": "Your message is delayed",
    "delivered": "Your message was delivered",
    "relayed": "Your message was passed on",
}
_OPENINGS = {
    "failed": "could not be delivered to {these}. It will not be tried again.",
    "delayed": (
        "has not been delivered to {these} yet. You need not do anything: it will be tried "
        "again{until}, and you will be told if it cannot be delivered."
    ),
    "delivered": "was delivered to {these}.",
    "relayed": (
        "was passed on to {these}. The next server sends no confirmations, so this is the last "
        "that this server can tell."
    ),
}

_CHARACTERS = 900  # of one text from elsewhere, so that even a single word fits into a line

# By what follows the class in the status (RFC 3463); the more exact code first.
_ADVICE = {
    "1.1": "There is no such address at that domain. Check its spelling.",
    "1.2": "The domain of the address was not found. Check its spelling.",
    "1.3": "The address is malformed. Check its spelling.",
    "1.6": "The mailbox has moved. Ask for its new address.",
    "1.10": "The domain takes no mail at all.",
    "2.1": "The mailbox is disabled.",
    "2.2": "The mailbox is full. Try again later, or tell its owner in another way.",
    "2.3": "The message is too large for this mailbox. Send less, or a link.",
    "3.1": "The receiving server has no room. Try again later.",
    "3.4": "The message is too large for the receiving server. Send less, or a link.",
    "4.1": "The receiving server did not answer.",
    "4.2": "The connection to the receiving server broke.",
    "4.3": "The receiving server could not be found, because of a fault in DNS.",
    "4.4": "No server is known that takes mail for this domain.",
    "4.6": "The message went in a circle: two servers send mail for this domain to each other.",
    "4.7": "It was tried for as long as is allowed, and not taken.",
    "6.3": "The receiving server cannot take the characters that the message is written in.",
    "6.7": "The receiving server cannot take an address with characters outside ASCII.",
    "7.1": "The receiving server refused the message for reasons of its policy.",
    "7.26": "The receiving server found that neither SPF nor DKIM vouch for the sender.",
}


def report_text(report: Report, original: Mapping[str, str], returned: str) -> str:
    """The text of the report, lines ended by CRLF and at most 76 characters but for long words.

    `original` has what the sender knows the message by, as `Subject`; `returned` says in words
    what of the message follows.
    """
    until = _until(report)
    these = "this recipient" if len(report.recipients) == 1 else "these recipients"
    opening = _OPENINGS[report.action].format(these=these, until=until)
    paragraphs = [
        f"This is the mail server at {report.reporting_mta}.",
        _wrap(f"Your message of {format_date(report.arrived_at)} {opening}"),
        *(_about(recipient) for recipient in report.recipients),
        _references(report, original),
        _wrap(f"What follows is a report for programs, and {returned}."),
    ]
    return "\n\n".join(paragraphs).replace("\n", "\r\n") + "\r\n"


def _about(recipient: ReportedRecipient) -> str:
    lines = [f"  {printable_text(recipient.address, _CHARACTERS)}"]
    if recipient.diagnostic:
        who = printable_text(recipient.remote_mta, _CHARACTERS)
        said = f"{who} said:" if who else "The reason:"
        lines += [
            f"    {said}",
            _wrap(printable_text(recipient.diagnostic, _CHARACTERS), "      "),
        ]
    advice = _advice(recipient.status)
    if advice:
        lines.append(_wrap(advice, "    "))
    return "\n".join(lines)


def _advice(status: str) -> str:
    """What the status of a failure or a delay means; empty where that adds nothing to the reply."""
    status_class, _, detail = status.partition(".")
    return _ADVICE.get(detail, "") if status_class in {"4", "5"} else ""


def _until(report: Report) -> str:
    retried = [recipient.retried_until for recipient in report.recipients]
    last = max((at for at in retried if at is not None), default=None)
    return "" if last is None else f" until {format_date(last)}"


def _references(report: Report, original: Mapping[str, str]) -> str:
    lines = [f"  Message id at this server: {report.message_id}"]
    lines += [f"  Its {name}: {printable_text(value, 200)}" for name, value in original.items()]
    return "To find the message again:\n\n" + "\n".join(lines)


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        76,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
