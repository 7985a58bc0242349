"""That a system does the work: each message arrives once, and its signature verifies.

What smtp-sink dumped is read back; dkimpy, which none of the systems uses to sign, verifies.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import dkim

_MESSAGE_ID = re.compile(rb"^Message-ID: *(\S+)", re.IGNORECASE | re.MULTILINE)
_RECIPIENT = re.compile(rb"^X-Rcpt-Args: *<([^>]*)>", re.IGNORECASE | re.MULTILINE)
_SIGNATURE = re.compile(rb"^DKIM-Signature:", re.IGNORECASE | re.MULTILINE)
_SINK_FIELDS = (
    b"X-Client-Addr:",
    b"X-Client-Proto:",
    b"X-Helo-Args:",
    b"X-Mail-Args:",
    b"X-Rcpt-Args:",
)


@dataclass(frozen=True, slots=True)
class Dumped:
    """What arrived: messages, (message, recipient) pairs, and signatures."""

    messages: int
    copies: int
    distinct: int
    signed: int
    sample: int
    verified: int


def read_dumps(directory: Path, record: tuple[str, str] | None, sample: int) -> Dumped:
    """Count all dumped messages; verify `sample` of them, taken evenly."""
    paths = sorted(directory.glob("message.*"))
    copies: list[tuple[bytes, bytes]] = []
    signed = 0
    for path in paths:
        head = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        found = _MESSAGE_ID.search(head)
        recipients = _RECIPIENT.findall(head)
        copies += [(found[1] if found else b"", recipient) for recipient in recipients]
        signed += _SIGNATURE.search(head) is not None
    chosen = paths[:: max(1, len(paths) // sample)] if record is not None else []
    return Dumped(
        messages=len(paths),
        copies=len(copies),
        distinct=len(set(copies)),
        signed=signed,
        sample=len(chosen),
        verified=sum(_verifies(_content(path), record) for path in chosen if record is not None),
    )


def _content(path: Path) -> bytes:
    """The message as it came: without the fields that smtp-sink puts on top, with CRLF."""
    lines = path.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
    if lines and lines[0].startswith(b"From "):
        lines.pop(0)
    while lines and (lines[0].startswith(_SINK_FIELDS) or lines[0][:1] in (b" ", b"\t")):
        lines.pop(0)
    return b"\r\n".join(_without_sink_received(lines))


def _without_sink_received(lines: list[bytes]) -> list[bytes]:
    if not (lines and lines[0].startswith(b"Received:") and b"smtp-sink" in b" ".join(lines[:3])):
        return lines
    end = next(n for n, line in enumerate(lines) if n and line[:1] not in (b" ", b"\t"))
    return lines[end:]


def _verifies(content: bytes, record: tuple[str, str]) -> bool:
    name, value = record
    known = {name.encode() + b".": value.encode(), name.encode(): value.encode()}
    try:
        return bool(dkim.verify(content, dnsfunc=lambda asked, timeout=5: known.get(asked)))
    except dkim.DKIMException:
        return False
