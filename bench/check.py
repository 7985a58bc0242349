"""That a system does the work: each message arrives once, and its signature verifies.

What smtp-sink dumped is read back; dkimpy, which none of the systems uses to sign, verifies.
"""

import re
from pathlib import Path

import dkim

_MESSAGE_ID = re.compile(rb"^Message-ID: *(\S+)", re.IGNORECASE | re.MULTILINE)
_SINK_FIELDS = (
    b"X-Client-Addr:",
    b"X-Client-Proto:",
    b"X-Helo-Args:",
    b"X-Mail-Args:",
    b"X-Rcpt-Args:",
)


def check_dumps(directory: Path, expected: int, record: tuple[str, str] | None) -> list[str]:
    """What is wrong with the dumped messages; empty when nothing is."""
    contents = [_content(path) for path in sorted(directory.glob("message.*"))]
    ids = [match[1] for content in contents if (match := _MESSAGE_ID.search(content))]
    problems = []
    if len(ids) != expected or len(set(ids)) != expected:
        problems.append(f"{expected} messages sent, {len(ids)} arrived, {len(set(ids))} distinct")
    if record is not None:
        failed = sum(not _verifies(content, record) for content in contents)
        if failed:
            problems.append(f"{failed} of {len(contents)} signatures do not verify")
    return problems


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
