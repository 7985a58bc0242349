"""Bounces without a machine-readable part, in the words of the servers that wrote them. Pure.

qmail's (QSBMF), Exim's and sendmail's older ones, Exchange, Notes, what providers made up: each
begins with a phrase of its own, after which the failed addresses stand, each with a reason beside
or below it. So one reader does for all: the phrases are a table, and what follows is read as
paragraphs, up to where the original message begins. A message is read so only if it comes from
a mail system: a person may write such words too.
"""

import re
from dataclasses import dataclass, replace

from relay.mail.dsn_reading import (
    ADDRESS_CHARACTERS,
    DIAGNOSTIC_CHARACTERS,
    MOST_RECIPIENTS,
    ReadAction,
    ReadRecipient,
    ReadReport,
    code_in,
    status_in,
)
from relay.mail.encoded_words import decode_words
from relay.mail.enhanced import printable_text
from relay.mail.mime import Part

_READ_OCTETS = 32_768
_LINES = 400
_REASON_LINES = 12
_LINE_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class _Form:
    """How one kind of server begins. `begins` is found in the text, in any case and with any white
    space between words; the addresses come after it."""

    name: str
    begins: re.Pattern[str]
    action: ReadAction = "failed"


def _form(name: str, *phrases: str, action: ReadAction = "failed") -> _Form:
    spaced = "|".join(phrase.replace(" ", r"\s{1,4}") for phrase in phrases)
    return _Form(name, re.compile(spaced, re.IGNORECASE), action)


# Delays first: they say much the same, and that it is tried again.
_FORMS = (
    _form(
        "delay",
        r"has not (?:yet )?been delivered (?:to one or more|yet)",
        r"this is a warning message only",
        r"(?:warning: )?could not send (?:your )?message for past",
        r"delivery to the following recipients? has been delayed",
        r"your message (?:has|is) (?:been )?delayed",
        r"you do not need to resend",
        action="delayed",
    ),
    _form("qmail", r"hi\. this is the [^\n]{1,200}"),
    _form("exim", r"a message that you sent could not be delivered to (?:one or more|all) of its"),
    _form(
        "sendmail",
        r"the following addresses had (?:permanent )?(?:fatal|delivery|non-?fatal) ?errors?",
        r"the following addresses had (?:permanent|transient)[^\n]{0,60}errors",
    ),
    _form(
        "exchange",
        r"the following (?:recipient\(s\)|recipients?) (?:could not be|cannot be) reached",
        r"did not reach (?:some or all of )?the (?:intended|following) recipients?",
        r"delivery has failed to these (?:recipients?|people)[^\n]{0,60}",
        r"your message (?:to [^\n]{1,200} )?(?:couldn't|could not) be delivered",
        r"your message (?:to [^\n]{1,200} )?(?:wasn't|was not) delivered",
    ),
    _form("notes", r"was not delivered to:?", r"delivery failure report"),
    _form("postfix", r"your message could not be delivered to one or more recipients"),
    _form(
        "gmail",
        r"delivery to the following recipients? (?:has )?failed(?: permanently)?",
        r"your message wasn't delivered to",
    ),
    _form("yahoo", r"unable to deliver (?:your )?message to the following address(?:\(es\)|es)?"),
    _form(
        "other",
        r"the message that you sent was undeliverable to the following",
        r"(?:e-?mail|message)[^\n]{0,80} (?:is|was|are) (?:undeliverable|not delivered)",
        r"could not be delivered to (?:the following|these)?",
        r"(?:undeliverable|undelivered|returned) (?:mail|message)",
        r"(?:delivery|mail) (?:has )?failed",
        r"delivery (?:status )?notification \(?failure",
        r"failed (?:to deliver|addresses|recipients?)",
        r"user(?:'s)? mailbox exceeds allowed size",
        r"delivery to the following",
        r"konnte nicht zugestellt werden",
        r"n'a pas pu [êe]tre (?:remis|livr|distribu)",
        r"no se (?:ha podido|pudo) entregar",
    ),
)

_VAGUE = re.compile(r"(?:[245]\.0\.0)?").fullmatch
_SYSTEM = re.compile(
    r"mailer-daemon|mail-daemon|maildaemon|postmaster|mail ?delivery|microsoftexchange|"
    r"double-bounce|mdaemon|bounce|system administrator|systemadministrator|mail administrator",
    re.IGNORECASE,
).search
_SYSTEM_SUBJECT = re.compile(
    r"undeliver|undelivered|returned mail|delivery (?:status|failure|has failed|error|report)|"
    r"failure notice|mail delivery|delivery failed|could not be delivered|non[- ]?deliver|"
    r"message not delivered|returned to sender|unzustellbar|non remis|no entregad|nondeliverable",
    re.IGNORECASE,
).search
_ORIGINAL = re.compile(
    r"\s*+(?:-{2,}+.{0,80}(?:original|returned|copy|forwarded|below|included|unsent|headers?).{0,80}"
    r"|-{2,}+ ?message headers? follow.{0,40}|received: from .{0,400}|return-path: .{0,300}"
    r"|original message headers:?|this is a copy of (?:your|the) message.{0,80}"
    r"|message-id: .{0,300})\s*",
    re.IGNORECASE,
).fullmatch
# A reply at the beginning of a line, or where a transcript of a session has one.
_QUOTED_REPLY = re.compile(
    r"(?:^\s*+|<<<\s?|<--\s?|(?:said|reply|response|error)(?: was)?:\s?)([45]\d\d[ -]\S.{0,500})",
    re.IGNORECASE,
).search
_RECIPIENT = re.compile(
    r"[\s>*•'\"\[(-]{0,12}(?:(?:failed )?(?:to|recipient|address|for|mailto|rcpt to|user)\s?[:=]?"
    r"\s{0,4})?"
    r"[<'\"(\[]{0,2}(?:(?:smtp|rfc822|mailto)[:;]\s?)?"
    r"([^\s<>,;:\"'()\[\]]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,10})"
    r"[>'\")\]]{0,3}(.{0,500})",
    re.IGNORECASE,
).fullmatch


def is_of_a_mail_system(message: Part) -> bool:
    """Whether the header says that a mail system wrote it, not a person."""
    if message.get("x-failed-recipients") or message.get("return-path").strip() == "<>":
        return True
    sender = message.get("from")[:500]
    return bool(_SYSTEM(sender) or _SYSTEM_SUBJECT(decode_words(message.get("subject")[:500])))


def read_prose(message: Part) -> ReadReport | None:
    """The report in the text of a message; None where it has none that a mail system wrote."""
    if not is_of_a_mail_system(message):
        return None
    text = _text(message)
    form, after = _begins(text)
    named = _exim_names(message)
    if form is None:
        if not named:
            return None
        form, after = _Form("exim", re.compile("")), text
    recipients = _recipients(after, form.action)
    known = {recipient.address.lower() for recipient in recipients}
    recipients += [
        ReadRecipient(address, form.action) for address in named if address.lower() not in known
    ]
    if not recipients:  # which one it was, the return-path may tell
        reason = _reason(after.split("\n")[:_REASON_LINES])
        recipients = [ReadRecipient("", form.action, status_in(reason), reason)]
    if len(recipients) == 1 and not _has_codes(recipients[0].diagnostic):
        recipients = [_with_reason(recipients[0], _quoted_reply(after))]
    return ReadReport(form.name, tuple(recipients[:MOST_RECIPIENTS]))


def with_reasons(report: ReadReport, message: Part) -> ReadReport:
    """The report with the reasons that stand only in the text beside it, as OpenSMTPD writes them:
    its own fields say that a recipient failed, and no more."""
    if all(recipient.diagnostic for recipient in report.recipients):
        return report
    said = {one.address.lower(): one.diagnostic for one in _recipients(_text(message), "failed")}
    return replace(
        report,
        recipients=tuple(
            one
            if one.diagnostic
            else _with_reason(
                one, said.get(one.address.lower(), ""), _VAGUE(one.status) is not None
            )
            for one in report.recipients
        ),
    )


def _with_reason(recipient: ReadRecipient, reason: str, vague: bool = True) -> ReadRecipient:
    """`reason` is taken only if it has the codes of a reply: other words may be about anything.
    `vague`: its status too, in place of what the recipient has."""
    if not _has_codes(reason):
        return recipient
    status = (status_in(reason) if vague else "") or recipient.status
    return replace(recipient, status=status, diagnostic=reason)


def _has_codes(reason: str) -> bool:
    return bool(code_in(reason) or status_in(reason))


def _quoted_reply(text: str) -> str:
    """The first reply of a server that a transcript quotes, before the original message."""
    for line in text.split("\n"):
        if _ORIGINAL(line):
            break
        found = _QUOTED_REPLY(line)
        if found is not None:
            return printable_text(found[1], DIAGNOSTIC_CHARACTERS)
    return ""


def _text(message: Part) -> str:
    """What people read in it: the first part that is text."""
    part = message.find("text/plain") or message.find("text/html")
    lines = part.text(_READ_OCTETS).replace("\r", "").split("\n") if part else []
    return "\n".join(line[:_LINE_CHARACTERS] for line in lines[:_LINES])


def _begins(text: str) -> tuple[_Form | None, str]:
    """The form of a report, and what follows its phrase."""
    for form in _FORMS:
        found = form.begins.search(text)
        if found:
            return form, text[found.end() :]
    return None, text


def _exim_names(message: Part) -> list[str]:
    """Exim has the failed addresses in a field as well."""
    addresses = message.get("x-failed-recipients").split(",")[:MOST_RECIPIENTS]
    return [printable_text(address, ADDRESS_CHARACTERS) for address in addresses if "@" in address]


def _recipients(text: str, action: ReadAction) -> list[ReadRecipient]:
    """The addresses at the beginning of lines, each with what stands behind and below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        if _ORIGINAL(line) and found:
            break
        match = _RECIPIENT(line)
        if match is not None and len(found) < MOST_RECIPIENTS:
            found.append((match[1].rstrip("."), [match[2]]))
        elif found:
            found[-1][1].append(line)
    merged: dict[str, ReadRecipient] = {}
    for address, lines in found:
        reason = _reason(lines)
        known = merged.get(address.lower())
        if known is None or not known.diagnostic:
            merged[address.lower()] = ReadRecipient(
                printable_text(address, ADDRESS_CHARACTERS), action, status_in(reason), reason
            )
    return list(merged.values())


def _reason(lines: list[str]) -> str:
    """The reason below an address, on one line: up to an empty line after its first words, which
    do not end where they announce it, as in `because:`."""
    words: list[str] = []
    announced = False
    for line in lines[:_REASON_LINES]:
        plain = line.strip(" \t:*>-")
        if plain:
            words.append(plain)
            announced = line.rstrip().endswith(":")
        elif words and not announced:
            break
    return printable_text(" ".join(words), DIAGNOSTIC_CHARACTERS)
