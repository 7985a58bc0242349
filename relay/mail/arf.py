"""Complaints that providers pass on (ARF, RFC 5965): what a report says, and what it is about.

Some feedback loops send no report but the message itself, attached (Microsoft's JMRP): to an
address for complaints that is one. Recipients are often blotted out, and not always the same ones
of the message's own fields; a return-path of ours survives in one place or another, and is looked
for in all of it. What a report says proves nothing; the token in a return-path does. Pure.
"""

import re
from calendar import timegm
from dataclasses import dataclass
from email.utils import parsedate_tz

from relay.mail.dsn_reading import ADDRESS_CHARACTERS, address_in
from relay.mail.enhanced import printable_text
from relay.mail.mime import Part, read_fields
from relay.mail.verp import PREFIX

COMPLAINTS = frozenset(
    {"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "miscategorized"}
)
"""Types of feedback by which somebody complains. The others are `not-spam` and `auth-failure`,
which is about a signature and not by a person (RFC 6591)."""
MOST_RETURN_PATHS = 10
WORD_CHARACTERS = 50
AGENT_CHARACTERS = 200
_SEARCHED = 262_144

_RETURN_PATH = re.compile(
    re.escape(PREFIX.encode()) + rb"[A-Za-z2-7]{61}@[A-Za-z0-9.-]{1,253}(?![A-Za-z0-9.-])"
)
_FOLDED = re.compile(rb"=\r?\n")
_ORIGINALS = ("message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers")
_WHOSE = ("original-rcpt-to", "removal-recipient")
_ATTACHED_WHOSE = ("x-hmxmroriginalrecipient", "x-original-recipient")


@dataclass(frozen=True, slots=True)
class Feedback:
    """One report. `kind` is its Feedback-Type in lower case; `recipient` whom it names, most often
    nobody (`""`); `arrived_at` UTC milliseconds; `return_paths` what in it looks like one of ours,
    in the order in which it stands there."""

    kind: str
    user_agent: str = ""
    recipient: str = ""
    arrived_at: int | None = None
    return_paths: tuple[str, ...] = ()

    @property
    def is_complaint(self) -> bool:
        return self.kind in COMPLAINTS


def read_feedback(message: Part, octets: bytes) -> Feedback | None:
    """The report in a message, whose octets are at hand too; None where it has none."""
    part = message.find("message/feedback-report")
    if part is None:
        return None
    fields = dict(reversed(read_fields(part.body)))
    named = (address_in(f"rfc822;{fields.get(name, '').strip('<>')}") for name in _WHOSE)
    return Feedback(
        kind=printable_text(fields.get("feedback-type", "other").lower(), WORD_CHARACTERS),
        user_agent=printable_text(fields.get("user-agent", ""), AGENT_CHARACTERS),
        recipient=next(filter(None, named), ""),
        arrived_at=_date(fields.get("arrival-date", "") or fields.get("received-date", "")),
        return_paths=_return_paths(message, octets),
    )


def read_attached(message: Part, octets: bytes) -> Feedback | None:
    """A message that was passed on whole to an address for complaints, as a complaint about it;
    None where none is attached."""
    part = message.find(*_ORIGINALS)
    if part is None:
        return None
    fields = dict(reversed(read_fields(part.body.replace(b"\r\n", b"\n").partition(b"\n\n")[0])))
    named = (address_in(fields.get(name, "").strip("<>")) for name in _ATTACHED_WHOSE)
    return Feedback(
        "abuse",
        recipient=next(filter(None, named), "")[:ADDRESS_CHARACTERS],
        return_paths=_return_paths(message, octets),
    )


def _return_paths(message: Part, octets: bytes) -> tuple[str, ...]:
    """What looks like return-paths of ours: as the report came, and in its parts as decoded."""
    texts = [octets, _FOLDED.sub(b"", octets[:_SEARCHED])]
    texts += [part.body for part in message.walk() if part.body]
    found: dict[str, None] = {}
    for text in texts:
        for match in _RETURN_PATH.finditer(text, 0, _SEARCHED):
            found.setdefault(match[0].decode("ascii").lower().rstrip("."))
            if len(found) == MOST_RETURN_PATHS:
                return tuple(found)
    return tuple(found)


def _date(value: str) -> int | None:
    """UTC milliseconds of a date (RFC 5322 §3.3); None for what is none, or of no time to speak
    of."""
    try:
        parsed = parsedate_tz(value[:100])
        if parsed is None or not 1990 <= parsed[0] <= 2200:
            return None
        return (timegm((*parsed[:6], 0, 1, 0)) - (parsed[9] or 0)) * 1000
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
