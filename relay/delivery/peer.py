"""Who is at the other end of a connection, and what it offers (its reply to EHLO)."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A receiving server as one connection knows it.

    `name` is the MX or smarthost name, `address` the IP address in use. `size` is the most octets
    that it takes in one message, 0 where it does not say (RFC 1870). `tls` is the protocol version
    of the connection, empty on one in clear text.
    """

    name: str
    address: str
    port: int = 25
    tls: str = ""
    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    offers_size: bool = False
    size: int = 0

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port}"


def describe_peer(
    name: str, address: str, port: int, tls: str, extensions: Mapping[str, str]
) -> Peer:
    """A peer from its EHLO keywords (lower case) and their parameters; none after HELO."""
    size = extensions.get("size", "").strip()
    return Peer(
        name=name,
        address=address,
        port=port,
        tls=tls,
        pipelining="pipelining" in extensions,
        eight_bit="8bitmime" in extensions,
        smtputf8="smtputf8" in extensions,
        dsn="dsn" in extensions,
        offers_size="size" in extensions,
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 20 else 0,
    )
