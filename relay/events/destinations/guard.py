"""Which addresses events may be sent to over HTTP.

Whoever can change a name in DNS could otherwise have the relay send requests into its own network.
So only public addresses are told, unless `allow` names the host or has its network. The addresses
that are checked are the ones that are connected to. A host that is allowed by name may be on
loopback or in a private network; link-local addresses and those of metadata services need their
network in the list, for nobody means them by a name.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from relay.config.events import AllowedHost
from relay.routing.addresses import not_public

IpAddress = IPv4Address | IPv6Address
MOST_ADDRESSES = 4
_NEVER_BY_NAME = ("a metadata service", "a link-local address", "a multicast address")


class Forbidden(Exception):
    """The host is not to be told; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Guard:
    """`allow` as in the configuration."""

    allow: tuple[AllowedHost, ...] = ()

    def refusal(self, host: str, address: IpAddress) -> str:
        """What the address is that may not be told, as a noun; `""` where it may."""
        kind = not_public(address)
        if not kind:
            return ""
        plain = (address.ipv4_mapped or address) if address.version == 6 else address
        for entry in self.allow:
            if isinstance(entry, str):
                if entry == host.lower().rstrip(".") and not kind.startswith(_NEVER_BY_NAME):
                    return ""
            elif entry.version == plain.version and plain in entry:
                return ""
        return kind


async def locate(
    host: str, port: int, guard: Guard, thread: ThreadPoolExecutor | None = None
) -> list[str]:
    """Addresses of a host that may be told, in the order in which they are tried. The resolver of
    this machine is asked, so that names of its hosts file and of containers are found; it may take
    long, and does so in `thread`. Raises `Forbidden`, and `OSError` where it has no address."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(thread, ask)
    addresses = list(
        dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    )
    refusals = [guard.refusal(host, address) for address in addresses]
    if allowed := [str(a) for a, refusal in zip(addresses, refusals, strict=True) if not refusal]:
        return allowed[:MOST_ADDRESSES]
    first = addresses[0]
    where = str(first) if host == str(first) else f"{host} ({first})"
    raise Forbidden(
        f"{where} is {refusals[0]}, which is not told unless `allow` of the destination has"
        f" {_what_to_allow(host, first, refusals[0])}"
    )


def _what_to_allow(host: str, address: IpAddress, kind: str) -> str:
    by_name = not kind.startswith(_NEVER_BY_NAME) and host != str(address)
    return f"{host} or {address}" if by_name else str(address)
