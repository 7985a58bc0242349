"""What a client sent, taken as command lines or as content. Sans I/O.

A command line ends in CRLF. A bare LF is answered once and what follows it up to the next CRLF is
ignored with it; so there is exactly one reply for each CRLF, whatever the line holds and however
the octets were cut into packets. A line that never ends is answered once and not kept.
"""

import re

from relay.frontend import replies
from relay.frontend.replies import Answer

COMMAND_LINE = 2_048  # RFC 5321 §4.5.3.1.4 with all extensions of MAIL and RCPT (RFC 3461, 4954)
AUTH_LINE = 12_288  # RFC 4954 §4

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]").search


class BadLine(Exception):
    """What came is not a command line; its `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class Lines:
    """The octets of one client that the session has not taken yet."""

    __slots__ = ("_at", "_octets", "_skipping")

    def __init__(self) -> None:
        self._octets = b""
        self._at = 0
        self._skipping = False

    def __len__(self) -> int:
        return len(self._octets) - self._at

    def feed(self, octets: bytes) -> None:
        """Octets came."""
        self._octets = self._octets[self._at :] + octets if self._octets else octets
        self._at = 0

    def line(self, limit: int = COMMAND_LINE) -> bytes | None:
        """The next line without its CRLF: no control characters, at most `limit` octets. None where
        there is no whole line yet.

        A line that begins with AUTH may be longer. Raises `BadLine` for what is no such line, with
        the rest of it thrown away.
        """
        while True:
            end = self._octets.find(b"\n", self._at)
            if end < 0:
                self._drop_unfinished()
                return None
            line = self._octets[self._at : end + 1]
            self._move_to(end + 1)
            if not line.endswith(b"\r\n"):
                if not self._skipping:
                    self._skipping = True
                    raise BadLine(replies.BARE_LINE_END)
            elif self._skipping:
                self._skipping = False
            else:
                return _checked(line[:-2], limit)

    def content(self) -> bytes:
        """Everything, as octets of a message."""
        octets = self._octets[self._at :] if self._at else self._octets
        self._move_to(len(self._octets))
        return octets

    def put_back(self, octets: bytes) -> None:
        """Octets after the end of a message: they are commands."""
        if octets:
            self._octets = octets + self._octets[self._at :]
            self._at = 0

    def clear(self) -> None:
        """Throw everything away, an unfinished line too."""
        self._octets, self._at, self._skipping = b"", 0, False

    def _move_to(self, at: int) -> None:
        if at == len(self._octets):
            self._octets, self._at = b"", 0
        else:
            self._at = at

    def _drop_unfinished(self) -> None:
        """Too long already: answer once, and ignore the rest of it as it comes."""
        if len(self) <= AUTH_LINE + 1:
            return
        self._octets = b"\r" if self._octets.endswith(b"\r") else b""
        self._at = 0
        if not self._skipping:
            self._skipping = True
            raise BadLine(replies.LINE_TOO_LONG)


def _checked(line: bytes, limit: int) -> bytes:
    if len(line) > limit:
        if line[:5].upper() != b"AUTH ":
            raise BadLine(replies.LINE_TOO_LONG)
        if len(line) > AUTH_LINE:
            raise BadLine(replies.AUTH_TOO_LONG)
    if _CONTROL(line):
        bare = b"\r" in line
        raise BadLine(replies.BARE_LINE_END if bare else replies.CONTROL_CHARACTER)
    return line
