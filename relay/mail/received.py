"""The trace field that this relay puts on top of a message (RFC 5321 §4.4, RFC 3848).

What the client said of itself is written only where it is a host name or an address literal; all
else becomes `unknown`, so that nothing of a client's choice can end a line or a comment. The user
name is never written.
"""

import re
from functools import lru_cache

from relay.mail.dates import format_date

MAXIMUM_HOPS = 100  # Received fields, beyond which a message loops (RFC 5321 §6.3)

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?").fullmatch
_LITERAL = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f.:]{2,45}\]").fullmatch
_TLS = re.compile(r"[A-Za-z0-9_. ]{1,40}").fullmatch


def received_field(
    *,
    helo: str,
    client: str,
    by: str,
    message_id: str,
    at: int,
    tls: str = "",
    authenticated: bool = True,
    smtputf8: bool = False,
    recipient: str = "",
) -> bytes:
    """A `Received` field with its CRLF.

    `helo` is what the client called itself, `client` its IP address, `by` this relay's name, `at`
    UTC milliseconds, `tls` a version such as `TLSv1.3` or empty. `recipient` is written where the
    message has just one (otherwise it would tell each of the others).
    """
    named = recipient and recipient.isprintable() and (smtputf8 or recipient.isascii())
    addressee = f"\r\n\tfor <{recipient}>" if named else ""
    protocol = _protocol(bool(tls), authenticated, smtputf8)
    return (
        f"Received: {_origin(helo, client, tls)}\r\n"
        f"\tby {by} with {protocol}\r\n\tid {message_id}{addressee};\r\n\t{format_date(at)}\r\n"
    ).encode()


@lru_cache(maxsize=1_024)
def _origin(helo: str, client: str, tls: str) -> str:
    """Where it came from: the same for all messages of a session."""
    name = helo if _HOST(helo) or _LITERAL(helo) else "unknown"
    literal = f"[IPv6:{client}]" if ":" in client else f"[{client}]"
    address = literal if _LITERAL(literal) else "unknown"
    encryption = f"\r\n\t(using {tls})" if _TLS(tls) else ""
    return f"from {name} ({address}){encryption}"


def _protocol(tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """The name of the transmission type (RFC 3848, RFC 6531 §4.3)."""
    return ("UTF8SMTP" if smtputf8 else "ESMTP") + "S" * tls + "A" * authenticated
