"""The replies of a peer, taken from octets (RFC 5321 §4.2): strict, bounded, sans I/O.

A peer that answers nonsense must never be understood to have taken a message, so everything that
is not a reply by the grammar raises `ProtocolError`, after which the connection is of no more use.
Owns the octets of a reply that has not ended yet, at most `REPLY_OCTETS` of them.
"""

import re
from functools import lru_cache

LINE_OCTETS = 4_096
REPLY_OCTETS = 32_768
_USUAL_OCTETS = 64

PeerReply = tuple[int, str]  # the code, and the text with its lines joined by "\n"

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\x00\r\n]*))?\r\n").fullmatch


class ProtocolError(Exception):
    """The peer broke SMTP; `str` is a clause that says how."""


class ReplyParser:
    """Takes octets in any chunks, gives whole replies."""

    __slots__ = ("_code", "_lines", "_octets", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""
        self._lines: list[bytes] = []
        self._octets = 0

    @property
    def is_idle(self) -> bool:
        """True between two replies; False in the middle of one."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> list[PeerReply]:
        """The replies that `data` completes. Raises `ProtocolError`; feed nothing after that."""
        if self._rest:
            data = self._rest + data
        replies: list[PeerReply] = []
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            reply = self._take(data[start:end])
            if reply is not None:
                replies.append(reply)
            start = end
        self._rest = data[start:]
        if len(self._rest) > LINE_OCTETS:
            raise ProtocolError(f"a reply line of more than {LINE_OCTETS} octets")
        return replies

    def _take(self, line: bytes) -> PeerReply | None:
        if not self._lines:
            whole = _usual_reply(line) if len(line) <= _USUAL_OCTETS else _one_line_reply(line)
            if whole is not None:
                return whole
        code, separator, text = _split(line)
        if not self._lines:
            self._code, self._octets = code, 0
        elif code != self._code:
            raise ProtocolError("a reply whose lines have different codes")
        self._lines.append(text)
        self._octets += len(line)
        if self._octets > REPLY_OCTETS:
            raise ProtocolError(f"a reply of more than {REPLY_OCTETS} octets")
        if separator == b"-":
            return None
        lines, self._lines = self._lines, []
        return int(code), b"\n".join(lines).decode("utf-8", "replace")


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Code, separator and text. Raises `ProtocolError`."""
    match = _LINE(line) if len(line) <= LINE_OCTETS else None
    if match is None:
        raise ProtocolError(_what_is_wrong(line))
    code, separator, text = match.groups(b"")
    return code, separator, text


def _one_line_reply(line: bytes) -> PeerReply | None:
    """A reply of this line alone; None where more lines belong to it."""
    code, separator, text = _split(line)
    return None if separator == b"-" else (int(code), text.decode("utf-8", "replace"))


_usual_reply = lru_cache(maxsize=1024)(_one_line_reply)
"""Peers say the same short lines to MAIL, RCPT and DATA, message after message."""


def _what_is_wrong(line: bytes) -> str:
    if len(line) > LINE_OCTETS:
        return f"a reply line of more than {LINE_OCTETS} octets"
    if b"\x00" in line:
        return "a reply with a NUL octet"
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        return "a reply line that does not end in CR LF"
    return "a line that is no SMTP reply"
