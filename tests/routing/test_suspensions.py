"""Which mail an operator's order means."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from relay.config.model import Source
from relay.routing.plan import Candidate, Destination, Plan
from relay.routing.suspensions import Suspensions, described
from relay.store.values import Suspension, SuspensionKind

NOW = 1_800_000_000_000


def order(kind: SuspensionKind, name: str, until: int | None = None) -> Suspension:
    return Suspension(kind, name, "they asked us to", "ann", NOW, until)


def plan(*sources: tuple[str, str]) -> Plan:
    return Plan(
        "news",
        "main",
        tuple(
            Candidate(Source(address=ip_address(address)), "relay.test", 1, excluded)
            for address, excluded in sources
        ),
        Destination("mx"),
    )


BOTH = plan(("192.0.2.1", ""), ("192.0.2.2", ""))
ONE_LEFT = plan(("192.0.2.1", "suspended"), ("192.0.2.2", ""))
NONE_LEFT = plan(("192.0.2.1", "suspended"), ("192.0.2.2", "suspended"))


@pytest.mark.parametrize(
    "entry",
    [
        order("set", "news"),
        order("credential", "app"),
        order("domain", "x.test"),
        order("provider", "google"),
    ],
)
def test_each_kind_of_order_means_its_mail_and_no_other(entry: Suspension) -> None:
    suspensions = Suspensions([entry])
    assert suspensions.of("news", "app", "x.test", BOTH, "google") == (entry,)
    assert suspensions.of("bills", "web", "y.test", BOTH, "yahoo") == ()
    assert suspensions.of("bills", "web", "y.test", BOTH) == ()


def test_without_orders_everything_goes() -> None:
    assert Suspensions().of("news", "app", "x.test", NONE_LEFT) == ()


def test_a_suspended_source_is_no_reason_while_another_can_send() -> None:
    suspensions = Suspensions([order("source", "192.0.2.1")])
    assert suspensions.of("news", "app", "x.test", ONE_LEFT) == ()


def test_mail_waits_for_all_sources_of_its_pool_and_goes_when_one_is_back() -> None:
    first, last = order("source", "192.0.2.2", NOW + 5), order("source", "192.0.2.1")
    assert Suspensions([last, first]).of("news", "app", "x.test", NONE_LEFT) == (
        first,
        last,
    )


def test_a_source_that_is_missing_may_be_back_at_any_time() -> None:
    missing = plan(("192.0.2.1", "suspended"), ("192.0.2.2", "this host does not have it"))
    suspensions = Suspensions([order("source", "192.0.2.1")])
    assert suspensions.of("news", "app", "x.test", missing) == ()


def test_why_it_waits_names_who_ordered_it_and_until_when() -> None:
    entry = order("source", "192.0.2.1", NOW)
    assert described(entry) == "suspended by ann until 2027-01-15 08:00:00Z: they asked us to"
    assert "until it is resumed" in described(replace(entry, until=None))
    assert Suspensions([entry]).sources == {"192.0.2.1": described(entry)}


def test_people_are_told_every_order_the_longest_first() -> None:
    """Or they lift one, and wonder why nothing goes."""
    domain = replace(order("domain", "x.test"), until=5_000)
    news = replace(order("set", "news"), until=9_000)
    first, second = (order("source", address) for address in ("192.0.2.1", "192.0.2.2"))
    first, second = replace(first, until=7_000), replace(second, until=8_000)
    all_four = Suspensions([domain, news, first, second, order("provider", "yahoo")])
    assert all_four.all_of("news", "app", "x.test", NONE_LEFT, "google") == (
        news,
        first,
        domain,
        second,
    )
    assert all_four.all_of("bills", "app", "y.test", BOTH) == ()
