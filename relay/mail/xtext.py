"""xtext (RFC 3461 §4) and the ASCII form of UTF-8 addresses (RFC 6533 §3)."""

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*").fullmatch
_HEX = re.compile(r"\+([0-9A-F]{2})")
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")


def decode_xtext(text: str) -> str:
    """What `text` stands for, each octet one character. Raises `ValueError` if not xtext."""
    if _XTEXT(text) is None:
        raise ValueError("not xtext: printable ASCII, with + and = written as +2B and +3D")
    return _HEX.sub(lambda code: chr(int(code[1], 16)), text)


def encode_utf8_address(address: str) -> str:
    """A UTF-8 address as ASCII: `utf-8-addr-xtext`, other characters as `\\x{20AC}`."""
    return _NOT_QCHAR.sub(lambda letter: f"\\x{{{ord(letter[0]):02X}}}", address)
