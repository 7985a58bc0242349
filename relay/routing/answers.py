"""What DNS answered, as values, and the protocol of whoever asks it.

An answer is never an exception: a name that does not exist, a name without such records and a
server that cannot be reached lead to different decisions, which are taken in `routing.mx`.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Protocol

from relay.routing.plan import Family
from relay.routing.tlsa import Tlsa

Status = Literal["found", "nodata", "nxdomain", "failure"]
"""`nodata`: the name exists without such records. `failure`: SERVFAIL, timeout, no server."""


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """The MX records of a domain as (preference, name); names in lower case, `""` for the root.

    `secure`: a name server that is trusted for it has validated the answer with DNSSEC. It may be
    believed `until` then, in monotonic seconds.
    """

    status: Status
    records: tuple[tuple[int, str], ...] = ()
    detail: str = ""
    secure: bool = False
    until: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The A or AAAA records of a name, in the order of the server.

    `canonical` is the name that they stand at, in lower case, where that is another (CNAME).
    """

    status: Status
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    detail: str = ""
    secure: bool = False
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """The TXT records of a name, the strings of each put together."""

    status: Status
    texts: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TlsaAnswer:
    """The TLSA records of a name."""

    status: Status
    records: tuple[Tlsa, ...] = ()
    detail: str = ""
    secure: bool = False


class Resolver(Protocol):
    """Asks DNS. Answers within a bounded time and never raises but for cancellation."""

    async def mx(self, domain: str) -> MxAnswer: ...

    async def addresses(self, name: str, family: Family) -> AddressAnswer: ...


class TransportResolver(Resolver, Protocol):
    """Asks for what domains publish about TLS too."""

    async def texts(self, name: str) -> TextAnswer: ...

    async def tlsa(self, name: str) -> TlsaAnswer: ...
