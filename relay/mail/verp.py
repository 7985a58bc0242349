"""Return-paths that say which message they belong to, and prove it (VERP, with a token).

An address is `b+TOKEN@DOMAIN`. The token is base32 (RFC 4648 §6) in lower case without padding, so
that it survives hosts that change the case of a local part, and 61 letters long, so that the local
part has 63 of the 64 octets that RFC 5321 §4.5.3.1.1 allows:

    octets  what
    1       version (the upper four bits, 1) and number of the key (the lower four)
    22      the message id: milliseconds of its acceptance, and its UUID
    2       which recipient of the envelope, counted from 0; 65535: all of a transaction
    13      the first octets of HMAC-SHA-256 over the above and the domain

Nobody without a key makes a token, so that a bounce to one is about mail that this relay sent, or
comes from somebody who saw that mail. Pure: keys and time are given.
"""

import hmac
from base64 import b32decode, b32encode
from binascii import Error
from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.mail.message_id import is_message_id

PREFIX = "b+"
KEY_NUMBERS = 16
SECRET_OCTETS = 32
MOST_RECIPIENTS = 0xFFFF
"""Recipients beyond this many have no number of their own."""

_VERSION = 1
_EVERYBODY = 0xFFFF
_LETTERS = 61
_SIGNED = 25
_MAC = 13
_DAY_MS = 86_400_000
_HEAD, _TAIL = "0100", "-000000"


@dataclass(frozen=True, slots=True)
class VerpKey:
    """A key with its number (0 to 15), which tokens name, so that keys can be changed."""

    number: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.number < KEY_NUMBERS or len(self.secret) != SECRET_OCTETS:
            raise ValueError("a key has a number from 0 to 15 and 32 octets")


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """What a return-path of ours says: the message, when it was accepted (UTC ms), and which of the
    recipients in its envelope (None: the transaction had several)."""

    message_id: str
    accepted_at: int
    recipient: int | None


class NotOurs(ValueError):
    """An address that is no return-path of this relay, or none any more; the text says why."""


def make(message_id: str, recipient: int | None, domain: str, key: VerpKey) -> str:
    """The return-path of a message on `domain` (lower case), for one recipient or all.

    Raises `ValueError` for an id that `new_message_id` never gives, and a number beyond 65534.
    """
    if not (is_message_id(message_id) and message_id[:4] == _HEAD and message_id[-7:] == _TAIL):
        raise ValueError(f"{message_id!r} is not an id of this relay's")
    number = _EVERYBODY if recipient is None else recipient
    if recipient is not None and not 0 <= recipient < MOST_RECIPIENTS:
        raise ValueError(f"{recipient} is no recipient's number")
    said = (
        bytes((_VERSION << 4 | key.number,))
        + bytes.fromhex(message_id[4:-7].replace("-", ""))
        + number.to_bytes(2, "big")
    )
    token = b32encode(said + _mac(said, domain, key))[:_LETTERS].decode().lower()
    return f"{PREFIX}{token}@{domain}"


def read(address: str, keys: Sequence[VerpKey], *, now: int, lifetime: int) -> ReturnPath:
    """What a return-path says, whatever its case; times in UTC milliseconds.

    Raises `NotOurs` where it has another form, was not made with one of `keys`, or names a message
    that was accepted more than `lifetime` ago (or more than a day ahead).
    """
    local, _, domain = address.lower().rpartition("@")
    octets = _octets(local)
    version, number = octets[0] >> 4, octets[0] & 15
    if version != _VERSION:
        raise NotOurs(f"its version is {version}")
    said = octets[:_SIGNED]
    key = next((key for key in keys if key.number == number), None)
    if key is None:
        raise NotOurs(f"its key, number {number}, is not known (any more)")
    if not hmac.compare_digest(octets[_SIGNED:], _mac(said, domain, key)):
        raise NotOurs("it was not made here")
    accepted_at = int.from_bytes(said[1:7], "big")
    if not now - lifetime <= accepted_at <= now + _DAY_MS:
        raise NotOurs("it is too old")
    which = int.from_bytes(said[23:25], "big")
    return ReturnPath(_message_id(said), accepted_at, None if which == _EVERYBODY else which)


def _octets(local: str) -> bytes:
    """The token's octets; only the one way of writing them is taken."""
    token = local.removeprefix(PREFIX)
    if len(token) != _LETTERS or token == local:
        raise NotOurs("it has another form")
    letters = token.upper()
    try:
        octets = b32decode(letters + "===")
    except (Error, ValueError) as error:
        raise NotOurs("it has another form") from error
    if b32encode(octets)[:_LETTERS].decode() != letters:
        raise NotOurs("it has another form")
    return octets


def _message_id(said: bytes) -> str:
    time, uuid = said[1:7].hex(), said[7:23].hex()
    parts = uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]
    return f"{_HEAD}{time}-{'-'.join(parts)}{_TAIL}"


def _mac(said: bytes, domain: str, key: VerpKey) -> bytes:
    return hmac.digest(key.secret, said + domain.encode(), "sha256")[:_MAC]
