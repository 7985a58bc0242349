"""Fetching policies: over real TLS on loopback, and refusing whatever is not as it must be."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from relay.routing import https
from relay.routing.answers import AddressAnswer
from relay.routing.https import FetchError, PublicHosts
from relay.routing.mta_sts import LARGEST, PolicyError
from relay.routing.sts_fetch import PolicyFetcher
from tests.delivery.outgoing import Dns
from tests.routing.policy_host import POLICY, PolicyHost, response

_DNS = Dns(addresses={"mta-sts.a.test": ["127.0.0.1"]})
_CA = trustme.CA()


def _server(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CA.issue_cert(*names).configure_cert(context)
    return context


def _client(ca: trustme.CA = _CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
async def host() -> AsyncIterator[PolicyHost]:
    async with PolicyHost(_server("mta-sts.a.test")) as host:
        yield host


def _fetcher(host: PolicyHost, *, dns: Any = _DNS, private: bool = True) -> PolicyFetcher:
    return PolicyFetcher(PublicHosts(dns, allow_private=private), _client(), port=host.port)


async def test_a_policy_is_fetched_under_the_name_of_its_host(host: PolicyHost) -> None:
    assert await _fetcher(host).fetch("a.test") == POLICY
    (request,) = host.requests
    assert request.startswith("GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
    assert f"\r\nHost: mta-sts.a.test:{host.port}\r\n" in request


async def test_a_charset_beside_the_type_does_no_harm(host: PolicyHost) -> None:
    host.answer = response(kind='Text/Plain; charset="utf-8"')
    assert await _fetcher(host).fetch("a.test") == POLICY


async def test_a_certificate_for_another_name_is_refused() -> None:
    async with PolicyHost(_server("a.test")) as host:
        with pytest.raises(FetchError, match="certificate"):
            await _fetcher(host).fetch("a.test")
    assert host.requests == []


async def test_a_certificate_of_an_unknown_authority_is_refused(host: PolicyHost) -> None:
    hosts = PublicHosts(_DNS, allow_private=True)
    with pytest.raises(FetchError, match="certificate"):
        await PolicyFetcher(hosts, _client(trustme.CA()), port=host.port).fetch("a.test")


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "404 Not Found", "500 Oops", "204 No Content"]
)
async def test_only_200_gives_a_policy_and_no_redirect_is_followed(
    host: PolicyHost, status: str
) -> None:
    host.answer = response(status=status, more="Location: https://127.0.0.1/\r\n")
    with pytest.raises(FetchError, match=status[:3]):
        await _fetcher(host).fetch("a.test")
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        response(kind="text/html"),
        response(kind=""),
        response(more="Content-Encoding: gzip\r\n"),
        response(b"x" * (LARGEST + 1)),
    ],
    ids=["html", "no type", "encoded", "too large"],
)
async def test_what_is_served_in_another_way_is_not_valid(host: PolicyHost, answer: bytes) -> None:
    host.answer = answer
    with pytest.raises(PolicyError):
        await _fetcher(host).fetch("a.test")


async def test_a_policy_without_an_announced_length_is_bounded_too(host: PolicyHost) -> None:
    host.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 200_000
    with pytest.raises(PolicyError, match="larger"):
        await _fetcher(host).fetch("a.test")


async def test_what_is_not_http_is_a_failure(host: PolicyHost) -> None:
    host.answer = b"220 mx.a.test ESMTP\r\n"
    with pytest.raises(FetchError):
        await _fetcher(host).fetch("a.test")


async def test_a_host_that_never_answers_is_given_up(
    host: PolicyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "FETCH_SECONDS", 0.2)
    host.hangs = True
    with pytest.raises(FetchError, match="longer than"):
        await _fetcher(host).fetch("a.test")


async def test_the_next_address_is_tried_where_nobody_listens(host: PolicyHost) -> None:
    dns = Dns(addresses={"mta-sts.a.test": ["127.0.0.9", "127.0.0.1"]})
    assert await _fetcher(host, dns=dns).fetch("a.test") == POLICY


async def test_nothing_is_sent_into_private_networks(host: PolicyHost) -> None:
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"):
        dns = Dns(addresses={"mta-sts.a.test": [address]})
        with pytest.raises(FetchError, match="requests are not sent"):
            await _fetcher(host, dns=dns, private=False).fetch("a.test")
    assert host.requests == []


async def test_a_host_that_dns_does_not_know_is_a_failure(host: PolicyHost) -> None:
    with pytest.raises(FetchError, match="no address"):
        await _fetcher(host).fetch("unknown.test")

    class Broken(Dns):
        async def addresses(self, name: str, family: int) -> AddressAnswer:
            return AddressAnswer("failure", detail="timeout")

    with pytest.raises(FetchError, match="timeout"):
        await _fetcher(host, dns=Broken()).fetch("a.test")
