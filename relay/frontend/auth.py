"""The exchanges of AUTH PLAIN (RFC 4616) and AUTH LOGIN: lines in, a user name and password out.

`ask` sends a challenge and gives the client's line; nothing else is known of the connection, so the
exchanges can be driven by a test or by a script. What the client sends is never logged, nor shown
by any `repr`.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from relay.frontend import replies
from relay.frontend.replies import Answer

MECHANISMS = ("PLAIN", "LOGIN")
Ask = Callable[[bytes], Awaitable[bytes]]

_USERNAME = b"334 " + b64encode(b"Username:") + b"\r\n"
_PASSWORD = b"334 " + b64encode(b"Password:") + b"\r\n"
_EMPTY = b"334 \r\n"
_LONGEST = 1_024  # characters of a user name or password


@dataclass(frozen=True, slots=True)
class Login:
    """What a client claims: who it is, and the proof."""

    username: str = field(repr=False)
    password: str = field(repr=False)


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


async def read_login(argument: str | None, ask: Ask) -> Login | Answer:
    """The exchange that `AUTH argument` begins, to its end.

    `AUTH_INVALID` is the answer to what is well-formed but cannot be right (a user name that is
    not UTF-8, an authorization identity other than the user): it counts as a failed login.
    """
    words = (argument or "").split()
    if not 1 <= len(words) <= 2:
        return replies.AUTH_SYNTAX
    mechanism = words[0].upper()
    if mechanism not in MECHANISMS:
        return replies.AUTH_MECHANISM
    initial = words[1].encode("utf-8", "surrogateescape") if len(words) == 2 else None
    try:
        if mechanism == "PLAIN":
            return await _plain(initial, ask)
        return await _login(initial, ask)
    except _Refused as refused:
        return refused.answer


async def _plain(initial: bytes | None, ask: Ask) -> Login:
    message = _decode(initial if initial is not None else await ask(_EMPTY))
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise _Refused(replies.AUTH_PLAIN_FORM)
    authorization, username, password = parts
    if authorization not in (b"", username):
        raise _Refused(replies.AUTH_INVALID)
    return _claim(username, password)


async def _login(initial: bytes | None, ask: Ask) -> Login:
    username = _decode(initial if initial is not None else await ask(_USERNAME))
    password = _decode(await ask(_PASSWORD))
    return _claim(username, password)


def _decode(line: bytes) -> bytes:
    if line == b"*":
        raise _Refused(replies.AUTH_CANCELLED)
    if line == b"=":
        return b""
    try:
        return b64decode(line, validate=True)
    except binascii.Error:
        raise _Refused(replies.AUTH_BASE64) from None


def _claim(username: bytes, password: bytes) -> Login:
    try:
        login = Login(username.decode(), password.decode())
    except UnicodeDecodeError:
        raise _Refused(replies.AUTH_INVALID) from None
    if max(len(login.username), len(login.password)) > _LONGEST or not login.username.isprintable():
        raise _Refused(replies.AUTH_INVALID)
    return login
