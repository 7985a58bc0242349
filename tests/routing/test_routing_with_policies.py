"""A router over a name server that validates: hosts with TLSA records, sites with a policy."""

from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest

from relay.routing.domain_policies import DomainPolicies
from relay.routing.explain import explain, find_hosts
from relay.routing.mta_sts import StsPolicy
from relay.routing.resolver import DnsResolver
from relay.routing.router import Router
from relay.routing.sts_policies import Found
from relay.routing.transport import TransportPolicy
from tests.nameserver import SERVFAIL, Answer, NameServer

_TLSA = f"3 1 1 {'ab' * 32}"


class _Sts:
    """Knows the policies of some domains."""

    def __init__(self) -> None:
        self.known: dict[str, StsPolicy] = {}

    async def find(self, domain: str) -> Found:
        return Found(self.known.get(domain), float("inf"))


@pytest.fixture
def sts() -> _Sts:
    return _Sts()


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as server:
        for domain in ("a.test", "b.test"):
            server.zone[domain, "MX"] = ["10 mx.host.test."]
        server.zone["secure.test", "MX"] = Answer(["10 mx.host.test."], authentic=True)
        server.zone["mx.host.test", "A"] = Answer(["8.8.8.8"], authentic=True)
        server.zone["_25._tcp.mx.host.test", "TLSA"] = Answer([_TLSA], authentic=True)
        yield server


@pytest.fixture
async def router(
    server: NameServer, sts: Any, make_config: Any, healthy: Any
) -> AsyncIterator[Router]:
    config = make_config()
    resolver = DnsResolver([server.address], dnssec=True, lifetime_s=2.0, hosts=dict)
    policies = DomainPolicies(sts, dane=True)
    router = Router(config, resolver, healthy, Random(1), policies=policies)
    router.config = config  # type: ignore[attr-defined]
    yield router
    await resolver.close()


def _plan(router: Any, domain: str) -> Any:
    return router.plan(domain, next(iter(router.config.configuration_sets)))


async def _hosts(router: Router, domain: str) -> Any:
    plan = _plan(router, domain)
    return await router.hosts(plan.route, await router.find_site(plan, domain), 4)


async def test_hosts_of_a_secure_domain_have_their_tlsa_records(router: Router) -> None:
    (host,) = await _hosts(router, "secure.test")
    assert host.tlsa.status == "found"
    assert [str(record) for record in host.tlsa.records] == [_TLSA]


async def test_hosts_of_another_domain_are_not_asked_about(
    router: Router, server: NameServer
) -> None:
    (host,) = await _hosts(router, "a.test")
    assert host.tlsa.status == "none"
    assert "_25._tcp.mx.host.test TLSA" not in server.asked


async def test_a_host_whose_records_cannot_be_looked_up_stays_among_the_hosts_as_that(
    router: Router, server: NameServer
) -> None:
    server.zone["_25._tcp.mx.host.test", "TLSA"] = SERVFAIL
    (host,) = await _hosts(router, "secure.test")
    assert host.tlsa.status == "failed"


async def test_domains_share_a_site_unless_one_has_a_policy_of_its_own(
    router: Router, sts: _Sts
) -> None:
    sts.known["b.test"] = StsPolicy("b.test", "1", "enforce", ("mx.host.test",), 86400)
    first, second, third = [
        await router.find_site(_plan(router, domain), domain)
        for domain in ("a.test", "b.test", "secure.test")
    ]
    assert len({first, second, third}) == 3
    assert {site.line for site in (first, second, third)} == {first.line}  # limits are shared
    assert second.policy == TransportPolicy(sts.known["b.test"])
    assert third.policy == TransportPolicy(dane=True)


async def test_the_explanation_says_what_is_demanded_of_each_host_and_on_whose_word(
    router: Any, sts: _Sts
) -> None:
    sts.known["b.test"] = StsPolicy("b.test", "7", "enforce", ("mx.other.test",), 86400)
    sender = f"ann@{next(iter(router.config.identities))}"
    for domain, policy, demand in (
        (
            "a.test",
            "opportunistic (of configuration set",
            "TLS where it is offered, else clear text",
        ),
        ("b.test", "MTA-STS enforce (id 7, mx mx.other.test)", "not used: the MTA-STS policy"),
        ("secure.test", "TLSA records of its hosts count", "a certificate that its TLSA records"),
    ):
        known = explain(sender, f"bob@{domain}", config=router.config, router=router)
        found = await find_hosts(known, router)
        assert policy in found.tls
        (host,) = found.hosts
        assert demand in found.tls_with(host)
