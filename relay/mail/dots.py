"""The transparency of DATA (RFC 5321 §4.5.2): dots doubled, and `CRLF . CRLF` as the end.

Sans I/O: octets in, octets out, whatever the chunks. Both directions refuse a CR or LF that stands
alone, everywhere, because receivers disagree on what it means: that is how mail is smuggled
(CVE-2023-51764). All work is done by `bytes` methods at C speed, in linear time, with at most four
octets held between calls. NUL and 8-bit octets are content like any other.
"""

import re
from io import IncrementalNewlineDecoder

_END = b"\r\n.\r\n"
_DOT = re.compile(rb"\n\.").search
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class BareLineEnd(ValueError):
    """A CR without LF after it, or a LF without CR before it. What follows is not to be trusted."""

    def __init__(self, octet: str) -> None:
        super().__init__(f"The message has a bare {octet}: each line must end with CR LF.")
        self.octet = octet


class DotReader:
    """Reads what follows `354` until the end of data.

    `feed` returns content (undotted, CRLF kept) as it becomes certain. Once `done`, `rest` holds
    the octets after the end: commands that the client has pipelined. `has_dots` tells whether a
    line of the content may begin with a dot.
    """

    __slots__ = ("_held", "_skip", "done", "has_dots", "rest")

    def __init__(self) -> None:
        # The CRLF of the DATA command begins the first line (RFC 5321 §4.1.1.4): it is fed
        # first, and dropped from the content.
        self._held = b"\r\n"
        self._skip = 2
        self.done = False
        self.has_dots = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take any number of octets; return the content they complete.

        Raises `BareLineEnd`; the reader must not be fed after that.
        """
        if self.done:
            self.rest += data
            return b""
        seen = self._held + data
        # Most chunks have no line that begins with a dot, and so no end either; base64, which makes
        # up what is large, has no dot at all.
        first = seen.find(b".")
        dot = _DOT(seen, max(0, first - 1)) if first >= 0 else None
        end = seen.find(_END, max(0, dot.start() - 1)) if dot is not None else -1
        if end >= 0:
            certain, held = seen[: end + 2], b""
        else:
            certain, held = _split_open_end(seen, _END)
        check_line_ends(certain)
        self._held = held
        if end >= 0:
            self.done = True
            self.rest = seen[end + len(_END) :]
        content = certain
        if dot is not None and dot.start() < len(certain):
            content = certain.replace(b"\r\n.", b"\r\n")
            self.has_dots = self.has_dots or len(content) < len(certain)
        if self._skip and content:
            content = content[self._skip :]
            self._skip = 0
        return content


class DotWriter:
    """Writes content as DATA carries it: leading dots doubled, then the end of data.

    Line ends that were `checked` before are not checked again.
    """

    __slots__ = ("_checked", "_held", "_skip")

    def __init__(self, *, checked: bool = False) -> None:
        self._checked = checked
        self._held = b"\r\n"
        self._skip = 2

    def feed(self, chunk: bytes) -> bytes:
        """The octets to send for `chunk`. Raises `BareLineEnd` where the content has one."""
        certain, self._held = _split_open_end(self._held + chunk, b"\r\n")
        if not self._checked:
            check_line_ends(certain)
        return self._dotted(certain)

    def finish(self) -> bytes:
        """The octets that end the data; a last line without CRLF is given one.

        Raises `BareLineEnd` when the content ends in CR.
        """
        if self._held == b"\r":
            raise BareLineEnd("CR")
        held, self._held = self._held, b""
        return self._dotted(held or b"\r\n") + b".\r\n"

    def _dotted(self, certain: bytes) -> bytes:
        if not certain:
            return b""
        dotted = certain.replace(b"\r\n.", b"\r\n..") if _DOT(certain) else certain
        dotted, self._skip = dotted[self._skip :], 0
        return dotted


def check_line_ends(data: bytes) -> None:
    """Raise `BareLineEnd` unless every CR in `data` precedes a LF and every LF follows a CR."""
    # The decoder of text files notes which line ends it has seen, in one pass at C speed: a fifth
    # of what counting CR, LF and CRLF takes.
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(data.decode("latin-1"), final=True)
    if decoder.newlines not in (None, "\r\n"):
        first = _BARE.search(data)
        raise BareLineEnd("CR" if first is not None and first[0] == b"\r" else "LF")


def _split_open_end(data: bytes, pattern: bytes) -> tuple[bytes, bytes]:
    """Split off the longest end of `data` that could begin `pattern`."""
    if data[-1:] not in (b"\r", b"\n", b"."):
        return data, b""
    if data.endswith(pattern):
        length = len(pattern)
        return data[:-length], data[-length:]
    for length in range(min(len(pattern) - 1, len(data)), 0, -1):
        if data.endswith(pattern[:length]):
            return data[:-length], data[-length:]
    return data, b""
