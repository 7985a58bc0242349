"""What DNS answered, as values, and the protocol of whoever asks it.

An answer is never an exception: a name that does not exist, a name without such records and a
server that cannot be reached lead to different decisions, which are taken in `routing.mx`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Protocol

from relay.routing.plan import Family

Status = Literal["found", "nodata", "nxdomain", "failure"]
"""`nodata`: the name exists without such records. `failure`: SERVFAIL, timeout, no server."""


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """The MX records of a domain as (preference, name); names in lower case, `""` for the root."""

    status: Status
    records: tuple[tuple[int, str], ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The A or AAAA records of a name, in the order of the server."""

    status: Status
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    detail: str = ""


class Resolver(Protocol):
    """Asks DNS. Answers within a bounded time and never raises but for cancellation."""

    async def mx(self, domain: str) -> MxAnswer: ...

    async def addresses(self, name: str, family: Family) -> AddressAnswer: ...
