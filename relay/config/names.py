"""Names and addresses as the configuration writes them: domains, identities, endpoints, routes.

Each parser gives the normal form (lower case, A-labels) or raises `ValueError` with a sentence
that says what is allowed. Nothing here asks DNS or the machine.
"""

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from relay.mail import address

RESERVED_CREDENTIAL = "relay"
"""The name under which the relay counts the reports that it writes itself."""

_BRACKETED = re.compile(r"\[(?P<host>[^\]]*)\]:(?P<port>[0-9]{1,5})")
_PLAIN = re.compile(r"(?P<host>[^:\[\]]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host (an IP address or a domain, in normal form, without brackets) and a port."""

    host: str
    port: int

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The IP address, where the host is one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_domain(text: str) -> str:
    """A domain name in lower case as A-labels (RFC 5321 §4.1.2, RFC 5890)."""
    try:
        name = address.parse_domain(text)
    except address.AddressError as error:
        raise ValueError("allowed is a domain name such as example.com") from error
    if name.rpartition(".")[2].isdigit():  # an IP address, not a name
        raise ValueError("allowed is a domain name such as example.com")
    return name


def parse_identity(text: str) -> str:
    """A domain, or a mail address `local@domain`; all in lower case."""
    try:
        if "@" not in text:
            return parse_domain(text)
        mailbox = address.suppression_key(address.parse_mailbox(text))
        parse_domain(mailbox.rpartition("@")[2])
    except ValueError as error:
        allowed = "allowed is a domain (example.com) or an address (news@example.com)"
        raise ValueError(allowed) from error
    return mailbox


def parse_endpoint(text: str) -> Endpoint:
    """`host:port`, the host a domain, an IPv4 address, or an IPv6 address in brackets."""
    allowed = "allowed is host:port, as 127.0.0.1:587, mx.example.com:25 or [::1]:587"
    match = _BRACKETED.fullmatch(text) or _PLAIN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(allowed)
    try:
        literal = parse_address(match["host"])
    except ValueError:
        literal = None
    if text.startswith("[") and not isinstance(literal, IPv6Address):
        raise ValueError(allowed)
    try:
        host = str(literal) if literal else parse_domain(match["host"])
    except ValueError as error:
        raise ValueError(allowed) from error
    return Endpoint(host, int(match["port"]))


def parse_bind_address(text: str) -> Endpoint:
    """Where to listen: an IP address of this host (or `localhost`) and a port; port 0 is any."""
    allowed = "allowed is address:port, as 0.0.0.0:587, 127.0.0.1:2587 or [::]:587"
    try:
        endpoint = parse_endpoint(text)
    except ValueError as error:
        raise ValueError(allowed) from error
    if endpoint.address is None and endpoint.host != "localhost":
        raise ValueError(allowed)
    return endpoint


def parse_nameserver(text: str) -> Endpoint:
    """A DNS server: an IP address, and a port where it is not 53."""
    allowed = "allowed is an IP address, with a port or without, as 192.0.2.53 or [::1]:5353"
    try:
        return Endpoint(str(parse_address(text)), 53)
    except ValueError:
        pass
    try:
        endpoint = parse_endpoint(text)
    except ValueError as error:
        raise ValueError(allowed) from error
    if endpoint.address is None or endpoint.port == 0:
        raise ValueError(allowed)
    return endpoint


def parse_route_target(text: str) -> Endpoint | None:
    """`mx` (None), or a smarthost as `host:port` with a port above 0."""
    if text.lower() == "mx":
        return None
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        endpoint = Endpoint("", 0)
    if endpoint.port == 0:
        raise ValueError("allowed is mx, or a smarthost as host:port (10.0.0.5:2525, [::1]:25)")
    return endpoint


def parse_route_match(text: str) -> str:
    """Which recipient domains a route is for.

    `example.com` is that domain, `*.example.com` (or `.example.com`) every domain below it,
    `[192.0.2.1]` an address literal, and `*` all that nothing else matches.
    """
    allowed = "allowed is a domain (example.com), all below one (*.example.com), or * for the rest"
    if text == "*":
        return text
    try:
        if text.startswith("["):
            return address.parse_mailbox(f"a@{text}").removeprefix("a@")
        below = text.startswith(("*.", "."))
        domain = parse_domain(text.removeprefix("*").removeprefix(".") if below else text)
    except ValueError as error:
        raise ValueError(allowed) from error
    return f"*.{domain}" if below else domain


def parse_address(value: object) -> IPv4Address | IPv6Address:
    """One IP address without a zone. An IPv4-mapped IPv6 address gives the IPv4 address."""
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    try:
        literal = ip_address(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError("allowed is an IPv4 or IPv6 address, as 192.0.2.1") from error
    if isinstance(literal, IPv6Address):
        if literal.scope_id:
            raise ValueError("allowed is an IPv6 address without a zone")
        return literal.ipv4_mapped or literal
    return literal


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """A network as `10.0.0.0/8`, or one address; bits below the prefix must be 0."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    text = value if isinstance(value, str) else ""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = f"; did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        meant = ""
    raise ValueError(f"allowed is a network such as 10.0.0.0/8 or one address{meant}")
