"""Names and addresses of the configuration have one normal form, or are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.names import (
    parse_address,
    parse_bind_address,
    parse_domain,
    parse_endpoint,
    parse_identity,
    parse_nameserver,
    parse_network,
    parse_route_match,
    parse_route_target,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:25", "127.0.0.1:25"),
        ("[::1]:25", "[::1]:25"),
        ("[2001:DB8::0]:587", "[2001:db8::]:587"),
        ("MX.Example.com:25", "mx.example.com:25"),
        ("localhost:0", "localhost:0"),
    ],
)
def test_an_endpoint_has_a_normal_form(text: str, shown: str) -> None:
    assert str(parse_endpoint(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "25", ":25", "a:", "a:b", "a:65536", "::1:25", "[1.2.3.4]:25", "[::1]", "1.2.3:25",
     "a b:25", "[fe80::1%eth0]:25", "a:-1", "a:٢٥"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is host:port"):
        parse_endpoint(text)


def test_a_listener_binds_to_an_address_and_not_to_a_name() -> None:
    assert str(parse_bind_address("localhost:0")) == "localhost:0"
    with pytest.raises(ValueError, match="allowed is address:port"):
        parse_bind_address("mail.example.com:25")


def test_a_route_leads_to_mx_or_to_a_port_of_a_host() -> None:
    assert parse_route_target("MX") is None
    assert str(parse_route_target("[::1]:25")) == "[::1]:25"
    for text in ("host", "host:0", "", "mx:25:1"):
        with pytest.raises(ValueError, match="allowed is mx"):
            parse_route_target(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("*", "*"),
        ("Example.COM", "example.com"),
        ("*.Example.com", "*.example.com"),
        (".example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_what_a_route_is_for_has_a_normal_form(text: str, match: str) -> None:
    assert parse_route_match(text) == match


@pytest.mark.parametrize("text", ["", "**", "*example.com", "a.*.b", "*.", "user@example.com"])
def test_what_no_domain_can_match_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a domain"):
        parse_route_match(text)


@pytest.mark.parametrize(
    "text", ["", "a b", "a_b", "-a.b", "a..b", "127.0.0.1", "a@b", "a.1", "é" * 80]
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a domain name"):
        parse_domain(text)


def test_an_identity_is_a_domain_or_an_address_in_lower_case() -> None:
    assert parse_identity("Example.com") == "example.com"
    assert parse_identity("News@Example.com") == "news@example.com"
    for text in ("@example.com", "a@", "a b@example.com", "a@[192.0.2.1]", "a@1.2.3.4"):
        with pytest.raises(ValueError, match="allowed is a domain"):
            parse_identity(text)


def test_an_ipv4_address_inside_ipv6_is_the_ipv4_address() -> None:
    assert str(parse_address("::ffff:192.0.2.1")) == "192.0.2.1"
    with pytest.raises(ValueError, match="without a zone"):
        parse_address("fe80::1%eth0")


def test_a_network_with_bits_below_its_prefix_is_refused_with_the_one_that_was_meant() -> None:
    assert str(parse_network("10.0.0.5")) == "10.0.0.5/32"
    with pytest.raises(ValueError, match=r"did you mean 10\.0\.0\.0/8\?"):
        parse_network("10.1.2.3/8")


def test_a_name_server_is_an_address_whose_port_is_53_unless_it_says_otherwise() -> None:
    assert str(parse_nameserver("192.0.2.53")) == "192.0.2.53:53"
    assert str(parse_nameserver("::1")) == "[::1]:53"
    assert str(parse_nameserver("[::1]:5353")) == "[::1]:5353"
    for text in ("", "dns.example.com", "localhost:53", "192.0.2.53:0", "192.0.2.53:70000"):
        with pytest.raises(ValueError, match="allowed is an IP address"):
            parse_nameserver(text)


@given(st.text(max_size=40))
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    for parse in (parse_domain, parse_identity, parse_route_match, parse_endpoint):
        try:
            normal = str(parse(text))
        except ValueError:
            continue
        assert str(parse(normal)) == normal
