import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.frontend.proxy import SIGNATURE, ProxyError, client_of, needed


def read(octets: bytes) -> tuple[str | None, bytes]:
    """The client, and what follows the header: what would still be in the socket."""
    seen = b""
    while more := needed(seen):
        taken, octets = octets[:more], octets[more:]
        if not taken:
            raise ProxyError("ended")
        seen += taken
    return client_of(seen), octets


def v2(source: str, destination: str, *, command: int = 0x21, tlvs: bytes = b"") -> bytes:
    source_, destination_ = ip_address(source), ip_address(destination)
    family = 0x11 if source_.version == 4 else 0x21
    addresses = source_.packed + destination_.packed + struct.pack("!HH", 50_000, 587) + tlvs
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses)) + addresses


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 587\r\n", "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 50000 587\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (v2("192.0.2.1", "198.51.100.1"), "192.0.2.1"),
        (v2("192.0.2.1", "198.51.100.1", tlvs=b"\x03\x00\x04abcd"), "192.0.2.1"),
        (v2("2001:db8::1", "2001:db8::2"), "2001:db8::1"),
        (v2("192.0.2.1", "198.51.100.1", command=0x20), None),
    ],
)
def test_exactly_the_header_is_read(header: bytes, client: str | None):
    assert read(header + b"\x16\x03\x01hello") == (client, b"\x16\x03\x01hello")


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.test\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 192.0.2.1 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n",
        b"PROXY TCP4 evil.test 192.0.2.2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x21\x11\x00\x02ab",
        SIGNATURE + b"\x31\x11\x00\x00",
        SIGNATURE + b"\x21\x31\x00\x00",
    ],
)
def test_what_is_no_header_is_refused(header: bytes):
    with pytest.raises(ProxyError):
        read(header)


@given(st.binary(max_size=200))
def test_no_octets_fail_otherwise(octets: bytes):
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"):
        try:
            client, _ = read(start + octets)
        except ProxyError:
            continue
        assert client is None or ip_address(client)
