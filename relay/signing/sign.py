"""DKIM signatures (RFC 6376, RFC 8463): from a final header block and the body's digests.

Pure and thread-safe; the caller runs it in a thread, because RSA takes a quarter of a millisecond,
most of it without the interpreter lock. What is signed must not change afterwards: sign last.

The header is canonicalised `relaxed`. Every field that a reader sees or a client acts on is signed,
and those whose addition would mislead are *oversigned*: named once more than they occur, so that
nobody can add one. The tag l= is never written: it would let anybody append to a body.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from relay.signing.keys import SigningKey
from relay.store.values import Body

# Named once more than they occur.
OVERSIGNED = (
    *("From", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc"),
    *("MIME-Version", "Content-Type"),
)
# Named as often as they occur. Never here: Return-Path, Received, Bcc, X-SES-*, which change or
# go on the way, and DKIM-Signature, which others may remove.
SIGNED = (
    *("Sender", "In-Reply-To", "References"),
    *("Content-Transfer-Encoding", "Content-ID", "Content-Description", "Content-Disposition"),
    *("List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe"),
    *("List-Post", "List-Owner", "List-Archive", "Auto-Submitted", "Feedback-ID"),
)
_NAMES = tuple((name, name.lower().encode(), 1) for name in OVERSIGNED) + tuple(
    (name, name.lower().encode(), 0) for name in SIGNED
)
_WANTED = frozenset(name for _, name, _ in _NAMES)

_COLUMNS = 76
_USUAL_FIELDS = 64  # more fields than this are laid out anew each time, to keep the memory small


def dkim_fields(header: bytes, body: Body, keys: Sequence[SigningKey], now: int) -> bytes:
    """One `DKIM-Signature` field, with its CRLF, for each key: to be put on top of `header`.

    `header` is the final block without its empty line, `now` the time of signing in seconds since
    the epoch. A key that asks for a relaxed body signs the simple form of a message that was
    accepted before the key was configured, for want of the other digest.
    """
    if not keys:
        return b""
    names, signed = _select(header)
    return b"".join([_field(names, signed, body, key, now) for key in keys])


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """A header field in relaxed form (RFC 6376 §3.4.2), without CRLF."""
    value = value.replace(b"\r\n", b"").replace(b"\t", b" ")
    while b"  " in value:  # each turn halves the longest run
        value = value.replace(b"  ", b" ")
    return name.lower() + b":" + value.strip(b" ")


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is signed of a header with certain fields: the names for h=, folded, and the places of
    the fields they select, each name from the bottom up."""

    names: str
    places: tuple[int, ...]


def _select(header: bytes) -> tuple[str, bytes]:
    """The names for h=, and the canonical fields that they select.

    The block is canonicalised whole before it is split, which is many times quicker than field by
    field.
    """
    block = header.replace(b"\t", b" ").replace(b"\r\n ", b" ")
    while b"  " in block:  # each turn halves the longest run
        block = block.replace(b"  ", b" ")
    present: list[bytes] = []
    fields: list[bytes] = []
    for line in block.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.rstrip(b" ").lower()
        if name in _WANTED:
            present.append(name)
            fields.append(b"%b:%b\r\n" % (name, value.strip(b" ")))
    lay_out = _known_layout if len(present) <= _USUAL_FIELDS else _layout
    layout = lay_out(tuple(present))
    return layout.names, b"".join([fields[place] for place in layout.places])


def _layout(present: tuple[bytes, ...]) -> _Layout:
    places: dict[bytes, list[int]] = {}
    for place, name in enumerate(present):
        places.setdefault(name, []).append(place)
    names: list[str] = []
    selected: list[int] = []
    for spelling, wanted, more in _NAMES:
        found = places.get(wanted, ())
        names += [spelling] * (len(found) + more)
        selected += reversed(found)
    return _Layout(_folded_names(names), tuple(selected))


_known_layout = lru_cache(maxsize=512)(_layout)
"""Mail of one application has the same fields in the same order, message after message."""


def _field(names: str, signed: bytes, body: Body, key: SigningKey, now: int) -> bytes:
    relaxed = body.relaxed_digest if key.relaxed_body else None
    form = "simple" if relaxed is None else "relaxed"
    digest = b64encode(relaxed or body.simple_digest).decode()
    unsigned = (
        f" v=1; a={key.algorithm}; c=relaxed/{form};\r\n"
        f"\td={key.domain}; s={key.selector}; t={now};\r\n"
        f"\th={names};\r\n"
        f"\tbh={digest};\r\n"
        "\tb="
    ).encode()
    signature = key.sign(signed + relaxed_field(b"dkim-signature", unsigned))
    text = b64encode(signature)
    lines = [text[at : at + _COLUMNS - 4] for at in range(0, len(text), _COLUMNS - 4)]
    return b"DKIM-Signature:" + unsigned + b"\r\n\t ".join(lines) + b"\r\n"


def _folded_names(names: Sequence[str]) -> str:
    lines = ["h="]
    for name in names:
        if len(lines[-1]) + len(name) >= _COLUMNS - 8:
            lines.append("")
        lines[-1] += name + ":"
    return "\r\n\t ".join(lines).removeprefix("h=").removesuffix(":")
