"""RFC 5321 §5.1: from what DNS says to the hosts to try."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.classify import classify
from relay.routing.answers import MxAnswer
from relay.routing.mx import MAX_EXCHANGES, Exchange, exchanges, in_turn
from relay.routing.plan import Destination, RoutingFailure
from relay.routing.router import Router

MX = Destination("mx")


def found(*records: tuple[int, str]) -> MxAnswer:
    return MxAnswer("found", records)


def order(answer: MxAnswer, own: tuple[str, ...] = (), seed: int = 1) -> list[str]:
    return [e.name for e in in_turn(exchanges("example.org", answer, own), Random(seed))]


def test_hosts_are_tried_in_order_of_preference() -> None:
    answer = found((20, "c.test"), (5, "a.test"), (10, "b.test"))
    assert order(answer) == ["a.test", "b.test", "c.test"]


def test_hosts_of_equal_preference_share_the_load() -> None:
    answer = found((10, "a.test"), (10, "b.test"), (20, "c.test"))
    orders = {tuple(order(answer, seed=seed)) for seed in range(30)}
    assert orders == {("a.test", "b.test", "c.test"), ("b.test", "a.test", "c.test")}


def test_a_domain_without_mx_stands_for_itself() -> None:
    assert exchanges("example.org", MxAnswer("nodata"), ()) == (Exchange(0, "example.org"),)


@pytest.mark.parametrize(
    ("answer", "code", "enhanced", "outcome"),
    [
        (MxAnswer("nxdomain"), 550, "5.1.2", "domain_unknown"),
        (found((0, "")), 556, "5.1.10", "domain_unknown"),
        (MxAnswer("failure", detail="timeout"), 451, "4.4.3", "dns"),
        (found((10, "192.0.2.1"), (20, "2001:db8::1")), 550, "5.4.4", "unreachable"),
        (found((10, "relay.test"), (20, "b.test")), 554, "5.4.6", "unreachable"),
    ],
)
def test_where_there_is_no_host_the_reply_says_why(
    answer: MxAnswer, code: int, enhanced: str, outcome: str
) -> None:
    with pytest.raises(RoutingFailure) as failure:
        order(answer, own=("relay.test",))
    assert (failure.value.reply.code, failure.value.reply.enhanced) == (code, enhanced)
    assert failure.value.outcome == outcome
    assert classify(failure.value.reply, "routing").outcome == outcome
    assert failure.value.permanent == (code >= 500)


def test_an_mx_that_is_an_ip_address_is_passed_over() -> None:
    assert order(found((10, "192.0.2.1"), (20, "b.test"))) == ["b.test"]


def test_a_null_mx_among_others_is_passed_over() -> None:
    assert order(found((0, ""), (20, "b.test"))) == ["b.test"]


def test_only_hosts_better_than_ourselves_are_kept() -> None:
    answer = found((5, "a.test"), (10, "relay.test"), (10, "b.test"), (20, "c.test"))
    assert order(answer, own=("relay.test",)) == ["a.test"]


def test_a_domain_that_is_our_own_name_is_a_loop_without_mx_too() -> None:
    with pytest.raises(RoutingFailure, match="come back to this relay"):
        exchanges("relay.test", MxAnswer("nodata"), ("relay.test",))


def test_at_most_twenty_hosts_are_looked_at_the_best_ones() -> None:
    answer = found(*((n, f"mx{n:03}.test") for n in reversed(range(100))))
    assert order(answer) == [f"mx{n:03}.test" for n in range(MAX_EXCHANGES)]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b", "c", "me", "10.0.0.1"])),
        max_size=30,
    ),
    st.integers(),
)
def test_whatever_the_records_the_order_holds_and_we_are_never_a_host(
    records: list[tuple[int, str]], seed: int
) -> None:
    answer = MxAnswer("found" if records else "nodata", tuple(records))
    try:
        hosts = in_turn(exchanges("example.org", answer, ("me",)), Random(seed))
    except RoutingFailure:
        assert {name for _, name in records} & {"me", "", "10.0.0.1"}
        return
    assert [e.preference for e in hosts] == sorted(e.preference for e in hosts)
    assert hosts
    assert len(set(hosts)) == len(hosts)
    assert not {"me", "", "10.0.0.1"} & {e.name for e in hosts}


# With addresses, through the router


def router(make_config: Any, healthy: Any, dns: Any, **sections: Any) -> Router:
    return Router(make_config(**sections), dns, healthy, Random(1))


async def fails(router: Router, domain: str, family: Any = 4) -> RoutingFailure:
    with pytest.raises(RoutingFailure) as failure:
        await router.resolve(MX, domain, family)
    return failure.value


async def test_mx_hosts_are_resolved_to_addresses_of_the_family_of_the_source(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns(
        {"example.org": [(10, "a.test"), (20, "b.test")]},
        {"a.test": ["8.8.8.8", "2001:4860::8"], "b.test": ["9.9.9.9"]},
    )
    relay = router(make_config, healthy, dns)
    four = await relay.resolve(MX, "example.org", 4)
    six = await relay.resolve(MX, "example.org", 6)
    assert [(h.name, h.address, h.port) for h in four] == [
        ("a.test", "8.8.8.8", 25),
        ("b.test", "9.9.9.9", 25),
    ]
    assert [h.address for h in six] == ["2001:4860::8"]


async def test_a_domain_with_an_address_and_no_mx_takes_mail_itself(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    relay = router(make_config, healthy, make_dns(addresses={"example.org": ["8.8.8.8"]}))
    assert [h.address for h in await relay.resolve(MX, "example.org", 4)] == ["8.8.8.8"]


async def test_the_address_of_the_domain_is_not_even_asked_for_when_the_mx_question_failed(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns({"example.org": "failure"}, {"example.org": ["8.8.8.8"]})
    failure = await fails(router(make_config, healthy, dns), "example.org")
    assert (failure.reply.code, failure.reply.enhanced) == (451, "4.4.3")
    assert dns.asked == ["example.org MX"]


async def test_a_domain_is_unknown_only_if_two_questions_say_so(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns({"odd.test": "nxdomain"}, {"odd.test": ["8.8.8.8"]})
    relay = router(make_config, healthy, dns)
    assert (await fails(relay, "odd.test")).reply.enhanced == "4.4.3"
    assert (await fails(relay, "gone.test")).reply.enhanced == "5.1.2"
    assert dns.asked[-2:] == ["gone.test MX", "gone.test 4"]


async def test_mail_waits_when_the_only_reachable_looking_host_did_not_resolve(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns({"example.org": [(10, "a.test"), (20, "gone.test")]}, {"a.test": "failure"})
    assert (await fails(router(make_config, healthy, dns), "example.org")).reply.code == 451


async def test_a_host_that_did_not_resolve_is_passed_over_where_another_did(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns(
        {"example.org": [(10, "a.test"), (20, "b.test")]},
        {"a.test": "failure", "b.test": ["9.9.9.9"]},
    )
    hosts = await router(make_config, healthy, dns).resolve(MX, "example.org", 4)
    assert [h.name for h in hosts] == ["b.test"]


async def test_mx_hosts_without_any_address_make_the_mail_bounce(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns({"example.org": [(10, "gone.test")]})
    failure = await fails(router(make_config, healthy, dns), "example.org")
    assert (failure.reply.code, failure.reply.enhanced) == (550, "5.4.4")


async def test_a_domain_reachable_only_by_the_other_family_says_so(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns({"example.org": [(10, "a.test")]}, {"a.test": ["2001:4860::8"]})
    failure = await fails(router(make_config, healthy, dns), "example.org", 4)
    assert failure.other_family
    assert not failure.permanent


async def test_an_mx_at_an_address_where_this_relay_listens_is_a_loop(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    listeners = {"mx": {"address": "0.0.0.0:25"}}
    dns = make_dns(
        {
            "loop.test": [(10, "us.test"), (10, "a.test")],
            "ok.test": [(5, "a.test"), (9, "us.test")],
        },
        {"us.test": ["198.51.100.2"], "a.test": ["8.8.8.8"]},
    )
    relay = router(
        make_config,
        healthy,
        dns,
        listeners=listeners,
        delivery={"allow_private_destinations": True},
    )
    assert (await fails(relay, "loop.test")).reply.enhanced == "5.4.6"
    assert [h.name for h in await relay.resolve(MX, "ok.test", 4)] == ["a.test"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.2.1"],
)
async def test_dns_cannot_lead_mail_into_the_private_network(
    make_config: Any, healthy: Any, make_dns: Any, address: str
) -> None:
    dns = make_dns({"evil.test": [(10, "a.test")]}, {"a.test": [address]})
    failure = await fails(router(make_config, healthy, dns), "evil.test")
    assert (failure.reply.code, failure.reply.enhanced) == (451, "4.4.4")
    assert address in failure.reply.text
    assert "delivery.allow_private_destinations" in failure.reply.text
    allowed = router(make_config, healthy, dns, delivery={"allow_private_destinations": True})
    assert [h.address for h in await allowed.resolve(MX, "evil.test", 4)] == [address]


async def test_an_address_that_two_hosts_share_is_tried_once(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns(
        {"example.org": [(10, "a.test"), (20, "b.test")]},
        {"a.test": ["8.8.8.8"], "b.test": ["8.8.8.8", "9.9.9.9"]},
    )
    hosts = await router(make_config, healthy, dns).resolve(MX, "example.org", 4)
    assert [(h.name, h.address) for h in hosts] == [("a.test", "8.8.8.8"), ("b.test", "9.9.9.9")]


async def test_a_private_address_among_public_ones_is_passed_over(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    dns = make_dns({"evil.test": [(10, "a.test")]}, {"a.test": ["10.0.0.1", "8.8.8.8"]})
    hosts = await router(make_config, healthy, dns).resolve(MX, "evil.test", 4)
    assert [h.address for h in hosts] == ["8.8.8.8"]


async def test_a_host_with_a_thousand_addresses_is_tried_at_a_few(
    make_config: Any, healthy: Any, make_dns: Any
) -> None:
    many = [f"8.8.{n >> 8}.{n & 255}" for n in range(1000)]
    dns = make_dns({"big.test": [(10, "a.test")]}, {"a.test": many})
    assert len(await router(make_config, healthy, dns).resolve(MX, "big.test", 4)) == 8
