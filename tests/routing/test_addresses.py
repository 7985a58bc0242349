"""Which addresses DNS may lead mail to."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.routing.addresses import OwnAddresses, not_public


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("169.254.169.254", "a metadata service"),
        ("169.254.1.1", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fd00:ec2::254", "a metadata service"),
        ("100.100.100.200", "a metadata service"),
        ("fd00:ec3::254", "a private or reserved address"),
        ("10.0.0.1", "a private or reserved address"),
        ("100.64.0.1", "a private or reserved address"),
        ("224.0.0.1", "a multicast address"),
        ("255.255.255.255", "a private or reserved address"),
        ("::ffff:127.0.0.1", "a loopback address inside an IPv6 address"),
        ("::ffff:169.254.169.254", "a metadata service inside an IPv6 address"),
        ("64:ff9b::a00:1", "a private or reserved address inside an IPv6 address"),
        ("2002:7f00:1::", "a loopback address inside an IPv6 address"),
        ("64:ff9b:1::7f00:1", "a private or reserved address"),
        ("::127.0.0.1", "a private or reserved address"),
        ("fec0::1", "a private or reserved address"),
    ],
)
def test_an_address_that_is_not_public_is_named_for_what_it_is(address: str, kind: str) -> None:
    assert not_public(ip_address(address)) == kind


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    assert not_public(ip_address(address)) == ""


@given(st.ip_addresses())
def test_no_address_that_is_not_global_passes(address: IPv4Address | IPv6Address) -> None:
    if not_public(address) == "":
        assert address.is_global or getattr(address, "ipv4_mapped", None) is not None
        assert not address.is_loopback


def test_a_wildcard_listener_is_at_every_address_of_this_relay(make_config: Any) -> None:
    own = OwnAddresses.of(
        make_config(listeners={"a": {"address": "[::]:25"}, "b": {"address": "192.0.2.9:2525"}})
    )
    assert own.listens_at(ip_address("198.51.100.2"), 25)
    assert own.listens_at(ip_address("127.0.0.1"), 25)
    assert own.listens_at(ip_address("192.0.2.9"), 2525)
    assert not own.listens_at(ip_address("192.0.2.9"), 2526)
    assert not own.listens_at(ip_address("8.8.8.8"), 25)


def test_the_listener_for_what_comes_back_is_one_of_this_relay_too(make_config: Any) -> None:
    own = OwnAddresses.of(make_config(returns={"address": "192.0.2.9:25"}))
    assert own.listens_at(ip_address("192.0.2.9"), 25)
