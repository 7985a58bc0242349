"""A reply without what differs each time, so that equal ones are counted as one. Pure.

Addresses, IP addresses, the paths of links, numbers and ids become marks. Every step is linear in
the text, which has at most 512 characters.
"""

import re

from relay.feedback.outcome import REPLY_CHARACTERS
from relay.mail.replies import Reply

NORMAL_CHARACTERS = 240

_MAIL_ADDRESS = re.compile(r"[^\s<>@(\[,;:\"]{1,64}@[^\s<>@)\],;\"']{1,255}")
_LINK = re.compile(r"(https?://[^\s/]{1,100})/?\S*", re.IGNORECASE)
_IP_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){3,7}\b")
_WITH_DIGITS = re.compile(r"[\w=+~-]*\d[\w.=+~-]*")
_MARKS = re.compile(r"#(?:\W{0,3}#)+")


def without_addresses(text: str) -> str:
    """The text with `<address>` for each mail address: an example that names nobody."""
    return _MAIL_ADDRESS.sub("<address>", text[:REPLY_CHARACTERS]).replace(
        "<<address>>", "<address>"
    )


def normalised(reply: Reply) -> str:
    """The codes as they are, and the text without what differs each time; at most 240
    characters."""
    text = without_addresses(reply.text).lower()
    text = _LINK.sub(r"\1/…", text)
    text = _IP_ADDRESS.sub("<ip>", text)
    text = _MARKS.sub("#", _WITH_DIGITS.sub("#", text))
    codes = f"{reply.code} {reply.enhanced}".strip()
    return f"{codes} {text}".strip()[:NORMAL_CHARACTERS]
