"""The dialogue of an attempt: taken along as it was said, made readable only where it is kept.

While mail goes, nothing is formatted: a `Dialogue` has references to the octets that went out and
the replies that came in. What is kept is bounded (`MOST_LINES`, `LINE_CHARACTERS`) and has neither
the content of a message nor a login: those are not part of a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.delivery.peer import Peer
from relay.delivery.reply_parser import PeerReply
from relay.delivery.transaction import Said
from relay.mail.enhanced import printable_text
from relay.store.values import DialogueLine, Spoke

MOST_LINES = 250
LINE_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What was said with `peer` since `began` (monotonic seconds)."""

    peer: Peer
    began: float
    said: Sequence[Said]

    def lines(self) -> tuple[DialogueLine, ...]:
        """As people read it."""
        lines: list[DialogueLine] = []
        for at, what in self.said:
            after = max(0, round((at - self.began) * 1000))
            if isinstance(what, int):
                lines.append(DialogueLine(after, "note", f"{what} octets of content and the dot"))
            elif isinstance(what, bytes):
                commands = what.decode("utf-8", "replace").splitlines()
                lines += [_line(after, "us", text) for text in commands]
            else:
                lines += [_line(after, "peer", text) for r in what for text in _reply_lines(r)]
        if len(lines) > MOST_LINES:
            left = len(lines) - MOST_LINES
            last = DialogueLine(lines[-1].after, "note", f"{left} lines more")
            return (*lines[:MOST_LINES], last)
        return tuple(lines)


def joined(parts: Sequence[Dialogue]) -> Dialogue | None:
    """The dialogues of transactions that followed each other, as one."""
    if not parts:
        return None
    first = parts[0]
    return Dialogue(first.peer, first.began, [said for part in parts for said in part.said])


def _line(after: int, who: Spoke, text: str) -> DialogueLine:
    if len(text) > LINE_CHARACTERS or not text.isprintable():
        text = printable_text(text, LINE_CHARACTERS)
    return DialogueLine(after, who, text)


def _reply_lines(reply: PeerReply) -> list[str]:
    """A reply as it stood on the wire: a hyphen behind the code in all lines but the last."""
    code, text = reply
    if "\n" not in text:
        return [f"{code} {text}"]
    *first, last = text.split("\n")
    return [*(f"{code}-{line}" for line in first), f"{code} {last}"]
