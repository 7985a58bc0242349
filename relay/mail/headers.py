"""Header blocks as octets: split into fields once, kept as they came, changed only by whole fields.

A field's octets are never rewritten, so that a signature made upstream stays valid. Nothing here
uses the `email` package. Parsing is linear in the size of the block; what is not a header field
raises `HeaderError`. Names are compared in lower case and never used for anything but comparison.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from relay.mail.encoded_words import encode_words
from relay.mail.mailboxes import mailboxes

__all__ = ["Field", "HeaderError", "Headers", "header_field", "mailboxes"]

LINE_OCTETS = 998  # RFC 5322 §2.1.1, without the CRLF
_FOLD_AT = 76

# Name, optional space (obsolete, RFC 5322 §4.5.8), colon, then lines that begin with white space.
_PATTERN = rb"([!-9;-~]++)[ \t]*+:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+"
_FIELD = re.compile(_PATTERN).match
# All fields in one go; from the first octet that is of none, the rest is one match without a name.
_FIELDS = re.compile(rb"(" + _PATTERN + rb")|[\x00-\xff]++").findall
_NAME = re.compile(r"[!-9;-~]{1,126}").fullmatch
_WORDS = re.compile(r"[ \t]*[^ \t]+")


class HeaderError(ValueError):
    """A header block or a field that is malformed. Its text is a sentence for the peer."""


class Field(NamedTuple):
    """One header field: its name in lower case and all its octets, the last CRLF included."""

    name: str
    raw: bytes

    @property
    def value(self) -> str:
        """What follows the colon, unfolded and stripped; what is not UTF-8 becomes U+FFFD."""
        return (
            self.raw.partition(b":")[2].replace(b"\r\n", b"").strip(b" \t").decode(errors="replace")
        )


@dataclass(frozen=True, slots=True)
class Headers:
    """An immutable header block. Every change gives a new one."""

    fields: tuple[Field, ...]

    @classmethod
    def parse(cls, block: bytes) -> Self:
        """Split `block`: fields each ended by CRLF, no empty line. `HeaderError` if not so."""
        fields = tuple([Field(name.decode("ascii").lower(), raw) for raw, name in _FIELDS(block)])
        if fields and not fields[-1].raw:
            raise HeaderError(_explain(block))
        return cls(fields)

    def get_all(self, name: str) -> list[str]:
        """The values of all fields of that name, from the top."""
        name = name.lower()
        return [field.value for field in self.fields if field.name == name]

    def first(self, name: str) -> str | None:
        """The value of the topmost field of that name."""
        name = name.lower()
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def count(self, name: str) -> int:
        """How many fields of that name there are."""
        name = name.lower()
        return sum(field.name == name for field in self.fields)

    def without(self, *names: str) -> Self:
        """The block without the fields of these names; `x-ses-*` means all that begin so."""
        exact = {name.lower() for name in names if not name.endswith("*")}
        prefixes = tuple(name[:-1].lower() for name in names if name.endswith("*"))
        return type(self)(
            tuple(
                field
                for field in self.fields
                if field.name not in exact and not (prefixes and field.name.startswith(prefixes))
            )
        )

    def prepended(self, raw: bytes) -> Self:
        """The block with the field (or fields) `raw` on top. `HeaderError` if it is none."""
        return type(self)(self.parse(raw).fields + self.fields)

    def appended(self, raw: bytes) -> Self:
        """The block with the field (or fields) `raw` at the bottom. `HeaderError` if it is none."""
        return type(self)(self.fields + self.parse(raw).fields)

    def to_bytes(self) -> bytes:
        """The block again: exactly the octets of its fields."""
        return b"".join([field.raw for field in self.fields])

    __bytes__ = to_bytes


def header_field(name: str, value: str, *, smtputf8: bool = False) -> bytes:
    """A header field, folded at spaces so that lines stay within 78 octets where they can.

    Characters outside ASCII are written as they are with `smtputf8`, and otherwise as encoded
    words (RFC 2047), which suits unstructured fields only. Raises `HeaderError` for a bad name,
    for control characters (CR and LF first of all) and for a word too long for a line.
    """
    if _NAME(name) is None:
        raise HeaderError("A header name consists of printable ASCII characters but the colon.")
    value = value.strip(" \t")
    if not value.replace("\t", " ").isprintable():
        raise HeaderError(f"The value for {name} has control characters or line breaks.")
    if not value.isascii() and not smtputf8:
        value = encode_words(value)
    lines = [f"{name}:"]
    for word in _WORDS.findall(" " + value):
        if len(lines[-1]) + len(word) > _FOLD_AT and len(lines[-1]) > len(name) + 1:
            lines.append(word)
        else:
            lines[-1] += word
    octets = [line.encode() for line in lines]
    if max(map(len, octets)) > LINE_OCTETS:
        raise HeaderError(f"The value for {name} has a word too long for one line.")
    return b"\r\n".join(octets) + b"\r\n"


def _explain(block: bytes) -> str:
    """Why a block is none: the first line that is not of a field."""
    at = number = 0
    while (field := _FIELD(block, at)) is not None:
        at, number = field.end(), number + 1
    line = block[at:].partition(b"\r\n")[0]
    line_number = block.count(b"\r\n", 0, at) + 1
    place = f"line {line_number} of the header"
    if b"\n" in line or b"\r" in line:
        return f"The message is malformed: {place} has a bare CR or LF."
    if number == 0 and line.startswith(b"From "):
        return "The message is malformed: it begins with an mbox 'From ' line, not a header field."
    if line[:1] in (b" ", b"\t"):
        return f"The message is malformed: {place} continues a field, and there is none before it."
    if not line:
        return f"The message is malformed: {place} is empty."
    return f"The message is malformed: {place} is not a header field of the form 'Name: value'."
