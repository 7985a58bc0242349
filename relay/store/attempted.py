"""What an attempt came to, recipient by recipient: told in the transaction that settles it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt found of a recipient who did not get the message, for those who tell of it.

    `bounced`: given up; else it is tried again. `bounce_type` and `bounce_subtype` are SES's words,
    `category` the finer one, `rule` the name of the rule that said so (`""`: none knew the reply).
    `status` is the peer's enhanced code, `reply` all that it said, `remote` who it was.
    """

    address: str
    bounced: bool
    bounce_type: str
    bounce_subtype: str
    category: str
    rule: str
    status: str
    reply: str
    remote: str


@dataclass(frozen=True, slots=True)
class Way:
    """Which way mail went: for the tags of events, metrics and reputation. `provider` is the name
    of a provider definition, or `other`; `remote` is the host's name, `remote_address` its IP
    address, `tls` the version of TLS. All may be empty."""

    pool: str = ""
    source: str = ""
    provider: str = ""
    remote: str = ""
    remote_address: str = ""
    tls: str = ""


NO_WAY = Way()


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt ended at `at` (UTC ms), or a delivery was given up without one (`number` 0).

    `delivered` are the addresses that have the message now, with `reply`, what the peer said to
    that; `verdicts` are about all others of the delivery. `expires_at`: when who remains is given
    up.
    """

    at: int
    number: int
    delivered: tuple[str, ...] = ()
    reply: str = ""
    verdicts: tuple[Verdict, ...] = ()
    seconds: float = 0.0
    way: Way = NO_WAY
    expires_at: int = 0
