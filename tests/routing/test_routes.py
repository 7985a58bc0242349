"""Which route wins for a recipient domain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import ConfigurationSet, Route, RouteLogin
from relay.routing.routes import RouteTable, read_route

ROUTES = {
    "example.com": Route(to="10.0.0.1:25"),
    "*.example.com": Route(to="10.0.0.2:25"),
    "*.deep.example.com": Route(to="10.0.0.3:25"),
    "*": Route(to="10.0.0.9:25"),
}


@pytest.mark.parametrize(
    ("domain", "match"),
    [
        ("example.com", "example.com"),
        ("a.example.com", "*.example.com"),
        ("deep.example.com", "*.example.com"),
        ("a.deep.example.com", "*.deep.example.com"),
        ("a.b.c.example.com", "*.example.com"),
        ("notexample.com", "*"),
        ("com", "*"),
        ("[192.0.2.1]", "*"),
    ],
)
def test_the_most_specific_route_wins(domain: str, match: str) -> None:
    assert RouteTable(ROUTES).find(domain).match == match


def test_without_a_matching_route_mail_goes_to_the_mx() -> None:
    target = RouteTable({"other.test": Route(to="10.0.0.1:25")}).find("example.com")
    destination = target.destination(ConfigurationSet(pool="main"))
    assert (destination.kind, destination.match, destination.port) == ("mx", "", 25)


def test_a_route_written_in_unicode_or_capitals_matches_the_domain_on_the_wire() -> None:
    table = RouteTable({"Bücher.example": Route(to="10.0.0.1:25")})
    assert table.find("xn--bcher-kva.example").host == "10.0.0.1"


@pytest.mark.parametrize(
    ("to", "host", "port"),
    [
        ("127.0.0.1:2526", "127.0.0.1", 2526),
        ("smtp.Example.com:587", "smtp.example.com", 587),
        ("[2001:db8::1]:25", "2001:db8::1", 25),
    ],
)
def test_a_smarthost_is_a_name_or_an_address_with_a_port(to: str, host: str, port: int) -> None:
    target = read_route("*", Route(to=to))
    assert (target.host, target.port) == (host, port)


@pytest.mark.parametrize("to", ["", "smtp.example.com", "host:0", "host:99999", "::1:25"])
def test_a_smarthost_that_cannot_be_read_is_refused_with_what_is_allowed(to: str) -> None:
    with pytest.raises(ValueError, match="allowed is mx, or a smarthost"):
        RouteTable({"*": Route(to=to)})


def test_the_tls_policy_of_the_route_beats_that_of_the_configuration_set() -> None:
    strict = ConfigurationSet(pool="main", tls="require")
    own = read_route("*", Route(to="10.0.0.1:465", tls="implicit"))
    none = read_route("*", Route(to="10.0.0.1:25"))
    assert own.destination(strict).tls == "implicit"
    assert none.destination(strict).tls == "require"


def test_the_password_of_a_smarthost_shows_in_no_repr() -> None:
    login = RouteLogin(username="me", password="hunter2")
    destination = read_route("*", Route(to="10.0.0.1:25", login=login)).destination(
        ConfigurationSet(pool="main")
    )
    assert destination.login == login
    assert "hunter2" not in repr(destination)


@given(st.from_regex(r"[a-z0-9.\[\]-]{0,255}", fullmatch=True))
def test_every_domain_finds_a_route(domain: str) -> None:
    assert RouteTable(ROUTES).find(domain).host.startswith("10.0.0.")
