"""The envelope: what SMTP's MAIL and RCPT commands say about a message (RFC 5321, RFC 3461).

Addresses are `str`: the local part exactly as the client gave it, the domain in lower case
as A-labels (or a domain literal in brackets). The null reverse-path is the empty string.
"""

from dataclasses import dataclass
from typing import Literal

BodyType = Literal["7BIT", "8BITMIME"]
Return = Literal["", "FULL", "HDRS"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT command.

    `notify` holds the upper-case keywords of NOTIFY (RFC 3461 §4.1), empty where none was
    given. `orcpt` is the original recipient as `type;xtext`, empty where none was given.
    """

    address: str
    notify: tuple[str, ...] = ()
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One mail transaction: reverse-path, recipients and the parameters that travel with them."""

    reverse_path: str
    recipients: tuple[Recipient, ...]
    body: BodyType = "7BIT"
    smtputf8: bool = False
    ret: Return = ""
    envid: str = ""


def domain_of(address: str) -> str:
    """The domain of an address (what follows the last `@`), or `""` for the null reverse-path."""
    return address.rpartition("@")[2]
