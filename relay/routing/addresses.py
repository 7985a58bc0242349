"""Which addresses mail may be sent to on the word of DNS or of a recipient.

Whoever owns a domain writes its MX records, and could make the relay connect to services inside
its own network. So addresses that are not public (loopback, private, link-local with the metadata
services of clouds, multicast, and IPv6 forms that embed one of these) are refused unless
`delivery.allow_private_destinations` is true. Smarthosts that the configuration names are not
judged here. Pure.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from relay.config.listening import every_listener
from relay.config.model import Config
from relay.config.names import parse_bind_address

IpAddress = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
# All that is given to networks of the world; what lies beside it (site-local addresses, NAT64 of
# one's own, IPv4-compatible ones) leads inside, or nowhere.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Of clouds: most; Azure; Alibaba; Oracle; AWS and Google over IPv6.
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)


def not_public(address: IpAddress) -> str:
    """What makes the address one that DNS may not lead to, as a noun; `""` for a public one."""
    inner = _embedded(address)
    if inner is not None and (kind := not_public(inner)):
        return f"{kind} inside an IPv6 address"
    if address in _METADATA:
        return "a metadata service"
    kinds = (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (inner is None and not _is_global(address), "a private or reserved address"),
    )
    return next((kind for holds, kind in kinds if holds), "")


def _is_global(address: IpAddress) -> bool:
    return address.is_global and (address.version == 4 or address in _GLOBAL_UNICAST)


def _embedded(address: IpAddress) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Where this relay itself can be reached: `listening` holds (address or None for all, port)."""

    addresses: frozenset[IpAddress]
    listening: frozenset[tuple[IpAddress | None, int]]

    @classmethod
    def of(cls, config: Config) -> "OwnAddresses":
        """What the listeners and the sources of a configuration say."""
        addresses: set[IpAddress] = {
            source.address for pool in config.pools.values() for source in pool.sources
        }
        listening: set[tuple[IpAddress | None, int]] = set()
        for listener in every_listener(config).values():
            endpoint = parse_bind_address(listener.address)
            address = endpoint.address or ip_address("127.0.0.1")  # the one name is localhost
            if address.is_unspecified:
                listening.add((None, endpoint.port))
            else:
                listening.add((address, endpoint.port))
                addresses.add(address)
        return cls(frozenset(addresses), frozenset(listening))

    def listens_at(self, address: IpAddress, port: int) -> bool:
        """Whether a connection there would come back to this relay: a mail loop."""
        if (address, port) in self.listening:
            return True
        return (None, port) in self.listening and (
            address in self.addresses or address.is_loopback or address.is_unspecified
        )


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """Judges addresses that DNS or an address literal gave."""

    own: OwnAddresses
    allow_private: bool

    def refusal(self, address: IpAddress) -> str:
        """Why mail may not be sent there, as a noun; `""` where it may."""
        if self.allow_private:
            return ""
        return not_public(address) or (
            "an address of this relay" if address in self.own.addresses else ""
        )
