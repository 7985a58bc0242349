"""Digests of a message body for DKIM, computed while the body streams in (RFC 6376 §3.4).

A body of any size is hashed in the chunks in which it arrives; any chunking gives the same digests.
Work is linear and at C speed whatever the body holds: no per-line loop, and no pattern that a line
of spaces could make quadratic. The `simple` form is always hashed, `relaxed` only where asked.
"""

import hashlib

_EMPTY_LINES = b"\r\n" * 4096


class BodyHash:
    """Feed it a body whose line ends are all CRLF (as `DotReader` ensures), then ask `digests`.

    `size` counts octets; `eight_bit` tells whether any of them is above 127.
    """

    __slots__ = ("_relaxed", "_simple", "eight_bit", "size")

    def __init__(self, relaxed: bool = False) -> None:
        self.size = 0
        self.eight_bit = False
        self._simple = _Lines()
        self._relaxed = _RelaxedLines() if relaxed else None

    def update(self, chunk: bytes) -> None:
        """Take the next octets of the body."""
        self.size += len(chunk)
        if not self.eight_bit:
            self.eight_bit = not chunk.isascii()
        self._simple.update(chunk)
        if self._relaxed is not None:
            self._relaxed.update(chunk)

    def digests(self) -> tuple[bytes, bytes | None]:
        """SHA-256 of the simple form and, where it was asked for, of the relaxed form."""
        return (
            self._simple.digest(of_empty=b"\r\n"),
            None if self._relaxed is None else self._relaxed.digest(),
        )


class _Lines:
    """Hashes lines, and holds empty ones back: at the end of the body they do not count."""

    __slots__ = ("_any", "_cr", "_empty_lines", "_hash")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._any = False
        self._cr = False  # the last chunk ended between CR and LF
        self._empty_lines = 0  # CRLFs seen and not yet hashed, the end of the last line included

    def update(self, chunk: bytes) -> None:
        data = b"\r" + chunk if self._cr else chunk
        text = data.rstrip(b"\r\n")
        line_ends, odd = divmod(len(data) - len(text), 2)
        self._cr = bool(odd)
        if not text:
            self._empty_lines += line_ends
            return
        self._hash_empty_lines()
        self._hash.update(text)
        self._any = True
        self._empty_lines = line_ends

    def digest(self, *, of_empty: bytes) -> bytes:
        whole = self._hash.copy()
        whole.update(b"\r\n" if self._any else of_empty)
        return whole.digest()

    def _hash_empty_lines(self) -> None:
        octets = 2 * self._empty_lines
        while octets > 0:
            self._hash.update(_EMPTY_LINES[:octets])
            octets -= len(_EMPTY_LINES)


class _RelaxedLines:
    """Makes each run of spaces and tabs one space, drops it at the end of a line, and hashes."""

    __slots__ = ("_held", "_lines")

    def __init__(self) -> None:
        self._lines = _Lines()
        self._held = b""  # white space, or CR, whose continuation decides what becomes of it

    def update(self, chunk: bytes) -> None:
        data = self._held + chunk
        cr = b"\r" if data.endswith(b"\r") else b""
        text = data.removesuffix(b"\r").rstrip(b" \t")
        self._held = (b" " if len(text) + len(cr) < len(data) else b"") + cr
        text = text.replace(b"\t", b" ")
        while b"  " in text:  # each turn halves the longest run
            text = text.replace(b"  ", b" ")
        self._lines.update(text.replace(b" \r\n", b"\r\n"))

    def digest(self) -> bytes:
        return self._lines.digest(of_empty=b"")
