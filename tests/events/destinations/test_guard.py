"""Which addresses events may be sent to."""

from ipaddress import ip_address

import pytest

from relay.config.events import Webhook
from relay.events.destinations.guard import Forbidden, Guard, locate


def guard(*allow: str) -> Guard:
    config = Webhook.model_validate(
        {"type": "webhook", "url": "https://hooks.test/", "allow": list(allow)}
    )
    return Guard(config.allow)


INSIDE = [
    ("127.0.0.1", "a loopback address"),
    ("::1", "a loopback address"),
    ("10.1.2.3", "a private or reserved address"),
    ("192.168.1.1", "a private or reserved address"),
    ("fd00::1", "a private or reserved address"),
    ("169.254.1.1", "a link-local address"),
    ("169.254.169.254", "a metadata service"),
    ("168.63.129.16", "a metadata service"),
    ("100.100.100.200", "a metadata service"),
    ("fd00:ec2::254", "a metadata service"),
    ("fe80::1", "a link-local address"),
    ("::ffff:127.0.0.1", "a loopback address inside an IPv6 address"),
    ("64:ff9b::a9fe:a9fe", "a metadata service inside an IPv6 address"),
    ("0.0.0.0", "the unspecified address"),
]


@pytest.mark.parametrize(("address", "kind"), INSIDE)
def test_addresses_that_are_not_public_are_refused(address, kind):
    assert guard().refusal("hooks.test", ip_address(address)) == kind


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f::1"])
def test_public_addresses_are_told(address):
    assert guard().refusal("hooks.test", ip_address(address)) == ""


@pytest.mark.parametrize(("address", "kind"), INSIDE)
def test_a_host_that_is_allowed_by_name_may_be_inside_but_no_metadata_service(address, kind):
    refusal = guard("hooks.test").refusal("Hooks.Test.", ip_address(address))
    never = "metadata" in kind or "link-local" in kind
    assert refusal == (kind if never else "")


def test_a_name_that_is_allowed_allows_no_other():
    assert guard("hooks.test").refusal("evil.test", ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("fd00::/8", "fd00::1"),
        ("169.254.169.254", "169.254.169.254"),
    ],
)
def test_a_network_that_is_allowed_is_told(network, address):
    assert guard(network).refusal("hooks.test", ip_address(address)) == ""
    assert guard(network).refusal("hooks.test", ip_address("192.168.9.9"))


async def test_what_is_refused_says_what_to_do():
    with pytest.raises(Forbidden) as raised:
        await locate("localhost", 443, guard())
    assert "is a loopback address, which is not told unless `allow` of the destination has" in str(
        raised.value
    )
    with pytest.raises(Forbidden, match=r"^10\.0\.0\.1 is a private .* has 10\.0\.0\.1$"):
        await locate("10.0.0.1", 443, guard())


async def test_only_the_addresses_that_may_be_told_are_connected_to():
    assert await locate("127.0.0.1", 443, guard("127.0.0.0/8")) == ["127.0.0.1"]
    assert set(await locate("localhost", 443, guard("127.0.0.1"))) == {"127.0.0.1"}
