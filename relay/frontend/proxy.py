"""The PROXY protocol, versions 1 and 2: who is behind the load balancer. Pure.

A header is required from, and believed of, the networks that the listener names; from anyone else
the connection is closed unread. `needed` says how many octets to read next, so that exactly the
header is read from the socket and TLS finds its first octet untouched.
Specification: haproxy doc/proxy-protocol.txt.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_LONGEST = 107
_V1_SHORTEST = 15  # "PROXY UNKNOWN\r\n"
_V2_FIXED = 16
_V2_LONGEST = 2_048  # addresses and TLVs; what load balancers send stays well below
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


class ProxyError(ValueError):
    """Not a PROXY header, or one that does not say who the client is."""


def needed(seen: bytes) -> int:
    """How many more octets to read at most; 0 when the header is whole. Raises `ProxyError`."""
    if len(seen) < _V1_SHORTEST:
        return _V1_SHORTEST - len(seen)
    if seen.startswith(SIGNATURE):
        if len(seen) < _V2_FIXED:
            return _V2_FIXED - len(seen)
        (length,) = struct.unpack_from("!H", seen, 14)
        if length > _V2_LONGEST:
            raise ProxyError("the header is too long")
        return _V2_FIXED + int(length) - len(seen)
    if not seen.startswith(b"PROXY "):
        raise ProxyError("no PROXY header")
    if seen.endswith(b"\r\n"):
        return 0
    if len(seen) >= _V1_LONGEST:
        raise ProxyError("the header is too long")
    return 1


def client_of(header: bytes) -> str | None:
    """The client's address, or None where the load balancer speaks for itself (health check)."""
    return _v2(header) if header.startswith(SIGNATURE) else _v1(header)


def _v1(header: bytes) -> str | None:
    try:
        words = header[:-2].decode("ascii").split(" ")
        if words[1] == "UNKNOWN":
            return None
        _, family, source, destination, source_port, destination_port = words
        client, server = ip_address(source), ip_address(destination)
        ports = int(source_port), int(destination_port)
    except (ValueError, IndexError) as problem:
        raise ProxyError("malformed version 1 header") from problem
    version = {"TCP4": 4, "TCP6": 6}.get(family)
    if {client.version, server.version} != {version} or not all(0 <= p <= 65_535 for p in ports):
        raise ProxyError("malformed version 1 header")
    return str(client)


def _v2(header: bytes) -> str | None:
    command, family = header[12], header[13]
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise ProxyError("unknown version or command")
    if family == _TCP4 and len(header) >= _V2_FIXED + 12:
        return str(IPv4Address(header[16:20]))
    if family == _TCP6 and len(header) >= _V2_FIXED + 36:
        return str(IPv6Address(header[16:32]))
    raise ProxyError("not a TCP connection over IPv4 or IPv6")
