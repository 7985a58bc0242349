"""Plans for attempts, and destinations that are not MX hosts."""

from random import Random
from typing import Any

import pytest

from relay.routing.plan import Destination, Host, RoutingFailure
from relay.routing.router import Router

SECTIONS = {
    "pools": {
        "red": {"sources": [{"address": "198.51.100.2"}, {"address": "198.51.100.3"}]},
        "blue": {"sources": [{"address": "198.51.100.4", "ehlo": "blue.example.com"}]},
    },
    "configuration_sets": {"a": {"pool": "red"}, "b": {"pool": "blue", "tls": "require"}},
    "routes": {"*": {"to": "mx"}, "internal.test": {"to": "10.0.0.5:2525"}},
}


@pytest.fixture
def make_router(make_config: Any, healthy: Any, make_dns: Any) -> Any:
    def make(dns: Any = None, health: Any = None, **sections: Any) -> Router:
        config = make_config(**{**SECTIONS, **sections})
        return Router(config, dns or make_dns(), health or healthy, Random(1))

    return make


def test_each_configuration_set_leaves_from_its_own_pool(make_router: Any) -> None:
    router = make_router()
    red, blue = router.plan("example.org", "a"), router.plan("example.org", "b")
    assert [c.address for c in red.candidates] == ["198.51.100.2", "198.51.100.3"]
    assert [(c.address, c.ehlo) for c in blue.candidates] == [("198.51.100.4", "blue.example.com")]
    assert red.route == Destination("mx", match="*")
    assert blue.route.tls == "require"


def test_no_other_pool_and_no_default_address_stands_in_for_a_pool_without_sources(
    make_router: Any, make_health: Any
) -> None:
    health = make_health({"198.51.100.4": "this host does not have the address"})
    router = make_router(health=health)
    plan = router.plan("example.org", "b")
    assert plan.eligible == ()
    assert router.choose_source(plan, Random(1)) is None


def test_a_plan_follows_the_health_of_its_sources_at_once(
    make_router: Any, make_health: Any
) -> None:
    health = make_health()
    router = make_router(health=health)
    assert len(router.plan("example.org", "a").eligible) == 2
    health.faults["198.51.100.2"] = "gone"
    health.version += 1
    assert [c.address for c in router.plan("example.org", "a").eligible] == ["198.51.100.3"]


def test_mail_of_a_set_that_left_the_configuration_waits(make_router: Any) -> None:
    with pytest.raises(RoutingFailure) as failure:
        make_router().plan("example.org", "gone")
    assert not failure.value.permanent
    assert "gone" in failure.value.reply.text


def test_plans_to_the_same_destination_share_it(make_router: Any) -> None:
    router = make_router()
    assert router.plan("a.test", "a").route is router.plan("b.test", "a").route
    assert router.plan("internal.test", "a").route != router.plan("internal.test", "b").route


async def test_a_smarthost_given_by_address_needs_no_dns_and_may_be_private(
    make_router: Any, make_dns: Any
) -> None:
    dns = make_dns()
    router = make_router(dns)
    hosts = await router.resolve(router.plan("internal.test", "a").route, "internal.test", 4)
    assert hosts == (Host("10.0.0.5", "10.0.0.5", 2525),)
    assert dns.asked == []


async def test_a_smarthost_given_by_name_is_resolved_and_keeps_its_name(
    make_router: Any, make_dns: Any
) -> None:
    smarthost = Destination("smarthost", "smtp.internal.test", 587)
    router = make_router(make_dns(addresses={"smtp.internal.test": ["10.0.0.7", "fd00::7"]}))
    assert await router.resolve(smarthost, "example.org", 4) == (
        Host("smtp.internal.test", "10.0.0.7", 587),
    )
    assert [h.address for h in await router.resolve(smarthost, "example.org", 6)] == ["fd00::7"]


@pytest.mark.parametrize(
    ("host", "records", "enhanced", "other_family"),
    [
        ("10.0.0.5", None, "4.4.4", True),
        ("smtp.test", None, "4.4.4", False),
        ("smtp.test", "failure", "4.4.3", False),
        ("smtp.test", ["10.0.0.5"], "4.4.4", True),
    ],
)
async def test_a_smarthost_that_cannot_be_reached_never_makes_mail_bounce(
    make_router: Any,
    make_dns: Any,
    host: str,
    records: Any,
    enhanced: str,
    other_family: bool,
) -> None:
    dns = make_dns(addresses={"smtp.test": records} if records else {})
    with pytest.raises(RoutingFailure) as failure:
        await make_router(dns).resolve(Destination("smarthost", host, 25), "example.org", 6)
    assert not failure.value.permanent
    assert failure.value.reply.enhanced == enhanced
    assert failure.value.other_family == other_family


@pytest.mark.parametrize(
    ("literal", "family", "address"),
    [("[8.8.8.8]", 4, "8.8.8.8"), ("[ipv6:2001:4860::8]", 6, "2001:4860::8")],
)
async def test_an_address_literal_is_its_own_host(
    make_router: Any, literal: str, family: Any, address: str
) -> None:
    hosts = await make_router().resolve(Destination("mx"), literal, family)
    assert hosts == (Host(literal, address, 25),)


@pytest.mark.parametrize(
    ("literal", "enhanced"),
    [
        ("[127.0.0.1]", "5.4.4"),
        ("[169.254.169.254]", "5.4.4"),
        ("[IPv6:::ffff:10.0.0.1]", "5.4.4"),
        ("[x-tag:whatever]", "5.1.2"),
        ("[]", "5.1.2"),
        ("[::1]", "5.4.4"),
    ],
)
async def test_an_address_literal_cannot_lead_into_the_private_network(
    make_router: Any, literal: str, enhanced: str
) -> None:
    with pytest.raises(RoutingFailure) as failure:
        await make_router().resolve(Destination("mx"), literal, 4)
    assert failure.value.permanent
    assert failure.value.reply.enhanced == enhanced


async def test_an_address_literal_of_the_other_family_asks_for_another_source(
    make_router: Any,
) -> None:
    with pytest.raises(RoutingFailure) as failure:
        await make_router().resolve(Destination("mx"), "[8.8.8.8]", 6)
    assert failure.value.other_family


def test_a_router_shows_what_it_holds(make_router: Any) -> None:
    assert repr(make_router()) == "<Router 2 sets, 2 pools>"


async def test_a_smarthost_without_any_address_sends_no_mail_from_one_family_to_the_other_and_back(
    make_router: Any, make_dns: Any
) -> None:
    router = make_router(make_dns(addresses={"smtp.internal.test": "nodata"}))
    for family in (4, 6):
        with pytest.raises(RoutingFailure) as failure:
            await router.resolve(
                Destination("smarthost", "smtp.internal.test", 25), "example.org", family
            )
        assert failure.value.reply.is_transient
        assert not failure.value.other_family


async def test_the_simulator_is_reached_without_pools_sources_routes_or_dns(
    make_router: Any, make_health: Any
) -> None:
    domain = "simulator.relay.example.com"
    health = make_health({"198.51.100.4": "this host does not have the address"})
    router = make_router(health=health, routes={"*": {"to": "10.0.0.5:25"}, domain: {"to": "mx"}})
    plan = router.plan(domain, "b", "red")
    assert plan.route == Destination("simulator", tls="none", match=domain)
    assert [c.address for c in plan.eligible] == ["127.0.0.1"]
    site = router.site(plan, domain)
    assert (site.kind, site.name, site.label) == ("simulator", domain, "other")
    assert await router.hosts(plan.route, site, 4) == (Host(domain, "127.0.0.1", 25),)


@pytest.mark.parametrize(
    "domain", ["simulator.relay.example.com", "a.simulator.relay.example.com", "simulator.test"]
)
def test_without_simulator_addresses_and_beside_them_routes_decide(
    make_router: Any, domain: str
) -> None:
    router = make_router(simulator_addresses=False)
    assert router.plan(domain, "a").route.kind == "mx"
    if domain != "simulator.relay.example.com":
        assert make_router().plan(domain, "a").route.kind == "mx"
