"""Delivery status notifications that come back: what a report says of each recipient. Pure.

Reads RFC 3464 (also with UTF-8 addresses, RFC 6533) as hosts really write it: in a multipart of any
type, encoded, cut short, without the blank line between message and recipient, with words in the
wrong case. What has no such part is for `relay.mail.dsn_prose`. What a report says proves nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from relay.mail.enhanced import printable_text
from relay.mail.mime import Part, read_fields
from relay.mail.xtext import decode_xtext

ReadAction = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

MOST_RECIPIENTS = 100
MOST_BLOCKS = 1_000
DIAGNOSTIC_CHARACTERS = 512
ADDRESS_CHARACTERS = 320
HOST_CHARACTERS = 255
STATUS_KINDS = ("message/delivery-status", "message/global-delivery-status")

_ACTIONS: dict[str, ReadAction] = {
    "failed": "failed",
    "failure": "failed",
    "fail": "failed",
    "failed;": "failed",
    "error": "failed",
    "undeliverable": "failed",
    "delayed": "delayed",
    "delay": "delayed",
    "warning": "delayed",
    "delivered": "delivered",
    "relayed": "relayed",
    "expanded": "expanded",
}
_BY_CLASS: dict[str, ReadAction] = {"2": "delivered", "4": "delayed", "5": "failed"}

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)").search
_REPLY_CODE = re.compile(r"(?<![\d.:/-])([45]\d\d)(?=[ \t#:;,-])").search
_ADDRESS = re.compile(r"[^\s<>,;:\"'()\[\]]{1,64}@[^\s<>,;:\"'()]{1,255}").search
_HEXPOINT = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_RECIPIENT_FIELDS = ("final-recipient", "original-recipient", "action", "status", "diagnostic-code")


@dataclass(frozen=True, slots=True)
class ReadRecipient:
    """What a report says of one recipient. `address` is the one that the sender gave where the
    report has it, as it is written there; it may be empty. `status` is an enhanced code or empty,
    `diagnostic` one printable line without its type."""

    address: str
    action: ReadAction
    status: str = ""
    diagnostic: str = ""
    remote_mta: str = ""


@dataclass(frozen=True, slots=True)
class ReadReport:
    """A report. `form` names how it is written, for people."""

    form: str
    recipients: tuple[ReadRecipient, ...]
    reporting_mta: str = ""


def read_dsn(message: Part) -> ReadReport | None:
    """The report in a message; None where none of its parts is one."""
    status = message.find(*STATUS_KINDS)
    if status is None:
        return None
    reporting = ""
    recipients: list[ReadRecipient] = []
    for fields in _groups(status.body):
        reporting = reporting or host_in(fields.get("reporting-mta", ""))
        recipient = _recipient(fields)
        if recipient is not None:
            recipients.append(recipient)
        if len(recipients) == MOST_RECIPIENTS:
            break
    return ReadReport("RFC 3464", tuple(recipients), reporting) if recipients else None


def _groups(body: bytes) -> Iterator[dict[str, str]]:
    """The blocks of fields of a delivery-status part (RFC 3464 §2.1). Where a field about a
    recipient comes again, another recipient has begun, blank line or not."""
    blocks = re.split(rb"\n[ \t\r]*\n", body.replace(b"\r\n", b"\n"), maxsplit=MOST_BLOCKS)
    for block in blocks[:MOST_BLOCKS]:
        fields: dict[str, str] = {}
        for name, value in read_fields(block):
            if name in ("final-recipient", "original-recipient") and name in fields:
                yield fields
                fields = {}
            fields.setdefault(name, value)
        if fields:
            yield fields


def _recipient(fields: dict[str, str]) -> ReadRecipient | None:
    if not any(name in fields for name in _RECIPIENT_FIELDS):
        return None
    diagnostic = printable_text(untyped(fields.get("diagnostic-code", "")), DIAGNOSTIC_CHARACTERS)
    status = the_finer(status_in(fields.get("status", "")), status_in(diagnostic))
    action = _action(fields.get("action", ""), status, diagnostic)
    if action is None:
        return None
    given = address_in(fields.get("original-recipient", ""))
    return ReadRecipient(
        given or address_in(fields.get("final-recipient", "")),
        action,
        status,
        diagnostic,
        host_in(fields.get("remote-mta", "")),
    )


def _action(word: str, status: str, diagnostic: str) -> ReadAction | None:
    """As it says, else as its codes do; None where nothing tells."""
    first = word.split(None, 1)[0].lower() if word.strip() else ""
    if first in _ACTIONS:
        return _ACTIONS[first]
    code = status or code_in(diagnostic)
    return _BY_CLASS.get(code[:1])


def untyped(value: str) -> str:
    """A value without the type before its semicolon, as `dns; ` or `smtp;` (RFC 3464 §2.1.2)."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon and re.fullmatch(r"\s*[\w-]{1,30}\s*", kind) else value.strip()


def host_in(value: str) -> str:
    """The name of a host, without its type and what follows it in brackets."""
    words = untyped(value).split(None, 1)
    return printable_text(words[0], HOST_CHARACTERS) if words else ""


def address_in(value: str) -> str:
    """The address in a field of a recipient (RFC 3464 §2.3.1, RFC 6533 §3); `""` where what is
    there has not the form of one."""
    kind, semicolon, _ = value.partition(";")
    address = untyped(value[: 2 * ADDRESS_CHARACTERS])
    if semicolon and kind.strip().lower() == "utf-8":
        address = _HEXPOINT.sub(_character, address)
    if "+" in address and "@" not in address:  # xtext, where it should not be
        try:
            address = decode_xtext(address)
        except ValueError:
            return ""
    found = _ADDRESS(address)
    if found is None:
        return ""
    return printable_text(found[0].strip("."), ADDRESS_CHARACTERS)


def status_in(text: str) -> str:
    """The first enhanced status code (RFC 3463), or `""`."""
    found = _STATUS(text)
    return found[1] if found else ""


def the_finer(status: str, other: str) -> str:
    """`status`, or the other code where that says more: many hosts write 5.0.0 for every failure,
    and quote what the next one really said."""
    says_nothing = not status or status.endswith(".0.0")
    return other if says_nothing and other[:1] == (status or other)[:1] and other else status


def code_in(text: str) -> str:
    """The first code of an SMTP reply that refuses, or `""`."""
    found = _REPLY_CODE(text + " ")
    return found[1] if found else ""


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code <= 0x10FFFF else "\ufffd"
