"""The parts of a message (RFC 2045, 2046), as strangers write them: read leniently, within bounds.

Pure. Nothing raises: what is malformed is read as text, what is beyond a bound is left out. The
work is linear in the octets that come, whatever they are: each level of nesting looks at them once,
and there are few levels. Names of fields and types are in lower case.
"""

import re
from binascii import Error, a2b_base64, a2b_qp
from collections.abc import Iterator
from dataclasses import dataclass, field

MOST_PARTS = 100
DEEPEST = 8
MOST_FIELDS = 1_000
FIELD_CHARACTERS = 10_000

_Fields = tuple[tuple[str, str], ...]

_NAME = re.compile(rb"[!-9;-~]{1,126}").fullmatch
_TYPE = re.compile(r"\s*+([\w!#$&^.+-]{1,100})/([\w!#$&^.+-]{1,100})").match
_PARAMETER = re.compile(
    r";\s*+([\w!#$&^.+*-]{1,100})\s*+=\s*+(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;]++))"
)
# Those that decode in linear time, and make text. Others are in Python that do neither.
_CHARSET = re.compile(
    r"utf-?8|us-ascii|ascii|iso-?8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|iso-2022-jp|shift_jis"
    r"|euc-jp|gb2312|gbk|gb18030|big5|euc-kr|ks_c_5601-1987|utf-16(?:le|be)?",
    re.IGNORECASE,
).fullmatch
_TAG = re.compile(r"<[^<>]{0,2000}>")
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/td|/li|/h\d)\b[^<>]{0,200}>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A message, or a part of one. `body` is without its transfer encoding; `parts` are those of a
    multipart, which has a body (as it came) only where no parts were found in it."""

    fields: _Fields
    kind: str = "text/plain"
    parameters: dict[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    parts: tuple["Part", ...] = ()

    def get(self, name: str) -> str:
        """The first field of that name, unfolded; `""` where there is none."""
        return next((value for known, value in self.fields if known == name), "")

    def walk(self) -> Iterator["Part"]:
        """This part and all below it, in their order."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def find(self, *kinds: str) -> "Part | None":
        """The first part of one of these types."""
        return next((part for part in self.walk() if part.kind in kinds), None)

    def text(self, most: int = 65_536) -> str:
        """The body as text, of at most `most` octets; of HTML without its tags."""
        text = decoded(self.body[:most], self.parameters.get("charset", ""))
        if self.kind == "text/html":
            return _TAG.sub("", _BREAK.sub("\n", text)).replace("&lt;", "<").replace("&gt;", ">")
        return text


def read_message(octets: bytes) -> Part:
    """A message and its parts. Lines may end in CRLF or LF."""
    room = [MOST_PARTS]
    return _read(octets.replace(b"\r\n", b"\n"), DEEPEST, room)


def read_fields(block: bytes) -> _Fields:
    """Fields of a header, or of a block that has the form of one: names in lower case, values
    unfolded. Lines that are none are passed over."""
    found: list[tuple[str, bytearray]] = []
    for line in block.replace(b"\r\n", b"\n").split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if found and len(found[-1][1]) < FIELD_CHARACTERS:
                found[-1][1].extend(b" " + line.strip())
            continue
        name, colon, value = line.partition(b":")
        name = name.rstrip()
        if colon and _NAME(name):
            if len(found) == MOST_FIELDS:
                break
            found.append((name.decode("ascii").lower(), bytearray(value.strip())))
    return tuple(
        (name, bytes(value[:FIELD_CHARACTERS]).decode(errors="replace")) for name, value in found
    )


def decoded(octets: bytes, charset: str) -> str:
    """As text; what cannot be, is replaced. A charset that is not known is taken for UTF-8."""
    name = charset.strip().strip("'\"")
    if _CHARSET(name):
        try:
            return octets.decode(name, errors="replace")
        except (LookupError, UnicodeError):
            pass
    return octets.decode(errors="replace")


def _read(octets: bytes, depth: int, room: list[int]) -> Part:
    """`room` is how many further parts the whole message may have."""
    if octets.startswith(b"\n"):
        header, body = b"", octets[1:]
    else:
        header, _, body = octets.partition(b"\n\n")
    fields = read_fields(header)
    part = Part(fields)
    kind, parameters = _content_type(part.get("content-type"))
    if kind.startswith("multipart/") and depth:
        parts = tuple(
            _read(octets, depth - 1, room)
            for octets in _split(body, parameters.get("boundary", ""), room)
        )
        if parts:
            return Part(fields, kind, parameters, parts=parts)
    if not kind.startswith("multipart/"):
        body = _without_encoding(body, part.get("content-transfer-encoding"))
    return Part(fields, kind, parameters, body)


def _content_type(value: str) -> tuple[str, dict[str, str]]:
    """Type and parameters (RFC 2045 §5.1); text/plain where there is none, or none that is one."""
    found = _TYPE(value)
    if found is None:
        return "text/plain", {}
    parameters: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value[found.end() :]):
        parameters.setdefault(name.lower().removesuffix("*0"), quoted or token)
    return f"{found[1]}/{found[2]}".lower(), parameters


def _split(body: bytes, boundary: str, room: list[int]) -> Iterator[bytes]:
    """The parts between the lines of a boundary (RFC 2046 §5.1.1); the last one may be cut."""
    if not boundary or len(boundary) > 200:
        return
    line = re.compile(
        rb"^--" + re.escape(boundary.encode(errors="replace")) + rb"(--)?[ \t]*+$\n?", re.MULTILINE
    )
    start: int | None = None
    for found in line.finditer(body):
        if start is not None:
            yield body[start : max(start, found.start() - 1)]
        if found[1] or room[0] <= 0:
            return
        room[0] -= 1
        start = found.end()
    if start is not None:
        yield body[start:]


def _without_encoding(body: bytes, encoding: str) -> bytes:
    """RFC 2045 §6. Also of types that may not have one: some reports are base64 all the same."""
    match encoding.strip().lower():
        case "base64":
            try:
                return a2b_base64(body + b"==")
            except Error:
                return body
        case "quoted-printable":
            return a2b_qp(body)
        case _:
            return body
