"""Enhanced status codes in the replies of peers (RFC 2034, RFC 3463): taken off the text.

Peers say what they like. What is kept is one line of printable text of bounded length, so that it
may stand in a log, a queue row or a report without further thought.
"""

import re

from relay.mail.replies import Reply

REPLY_TEXT_CHARACTERS = 1_000

_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)").match
_SPACES = re.compile(r"\s+")


def split_reply(code: int, text: str) -> Reply:
    """The reply of a peer from its code and its text, whose lines are separated by `\\n`.

    An enhanced status is taken off each line where its class agrees with `code` (RFC 2034 §4);
    the first one counts. One that contradicts the code stays in the text.
    """
    enhanced = ""
    lines = []
    for line in text.splitlines():
        status = _STATUS(line)
        if status is not None and status[1][0] == str(code)[:1]:
            enhanced = enhanced or status[1]
            line = line[status.end() :]  # noqa: PLW2901 (what is left of the line)
        lines.append(line)
    return Reply(code, enhanced, printable_text(" ".join(lines)), said_by_peer=True)


def status_of_class(kind: str, enhanced: str) -> str:
    """The status of a recipient in a report (RFC 3464 §2.3.4): `enhanced` with the class `kind`,
    which agrees with what became of the recipient; `kind.0.0` where the peer gave none."""
    _, dot, detail = enhanced.partition(".")
    return f"{kind}.{detail}" if dot else f"{kind}.0.0"


def printable_text(text: str, limit: int = REPLY_TEXT_CHARACTERS) -> str:
    """`text` on one line: runs of white space made one space, what cannot be printed made `?`."""
    if not text.isprintable() or "  " in text:  # the only white space that is printable is " "
        text = _SPACES.sub(" ", text)
    text = text.strip()
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)
