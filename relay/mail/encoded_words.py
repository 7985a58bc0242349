"""Encoded words (RFC 2047): non-ASCII text in unstructured header fields.

Decoding is for people's eyes only (delivery reports); nothing is decided on its result.
"""

import re
from base64 import b64encode
from codecs import lookup
from email.errors import HeaderParseError
from email.header import decode_header, make_header

_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_FOR_MAIL = frozenset({"unicode-escape", "raw-unicode-escape", "idna", "punycode"})
"""Codecs of Python's own, which are no charsets; one of them warns of what it decodes."""
_OCTETS = 42  # 56 octets as base64, within the 75 that an encoded word may have


def encode_words(text: str) -> str:
    """`text` as encoded words joined by spaces, none splitting a character."""
    words, part = [], b""
    for letter in text:
        octets = letter.encode()
        if len(part) + len(octets) > _OCTETS:
            words.append(part)
            part = b""
        part += octets
    return " ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in [*words, part])


def decode_words(value: str) -> str:
    """`value` with its encoded words decoded; unchanged where one of them is broken.

    Some charsets (UTF-7, for one) can spell half a character, which no UTF-8 can: it becomes
    U+FFFD, so that the text can be written anywhere."""
    if "=?" not in value:
        return value
    try:
        parts = decode_header(value)
        if any(_codec(charset) in _NOT_FOR_MAIL for _, charset in parts):
            return value
        text = str(make_header(parts))
    except (HeaderParseError, LookupError, ValueError):
        return value
    return _SURROGATES.sub("\ufffd", text)


def _codec(charset: str | None) -> str:
    """What Python calls it; `""` for no charset, or one that it does not know."""
    try:
        return lookup(charset).name.replace("_", "-") if charset else ""
    except LookupError:
        return ""
