"""What the store keeps of TLS with other relays: policies of domains, and how sessions went."""

from dataclasses import replace

from relay.store.interface import Store
from relay.store.tls_values import DAY_MS, StoredPolicy, TlsDay, TlsOutcome, TlsTally
from tests.contract.making import Kind

_POLICY = StoredPolicy("a.test", "1", "enforce", ("mx.a.test", "*.b.test"), 86400, 1000, 1000)
_GOOD = TlsOutcome("a.test", "sts", "a.test", ("version: STSv1", "mode: enforce"))
_BAD = replace(
    _GOOD, result="certificate-expired", source="192.0.2.1", host="mx.a.test", address="192.0.2.9"
)


async def test_a_policy_is_found_by_its_domain_and_replaced(store: Store) -> None:
    assert await store.sts_policies.find("a.test") is None
    await store.sts_policies.put(_POLICY)
    assert await store.sts_policies.find("a.test") == _POLICY
    newer = replace(_POLICY, id="2", mode="none", mx=(), fetched_at=2000)
    await store.sts_policies.put(newer)
    assert await store.sts_policies.all(10) == [newer]


async def test_a_policy_is_there_for_who_opens_the_store_later(kind: Kind) -> None:
    await (await kind.open()).sts_policies.put(_POLICY)
    later = await kind.open()
    assert await later.sts_policies.find("a.test") == _POLICY


async def test_a_policy_is_forgotten_when_it_ends(store: Store) -> None:
    await store.sts_policies.put(_POLICY)
    assert await store.sts_policies.forget_ended(_POLICY.ends_at - 1) == 0
    assert await store.sts_policies.forget_ended(_POLICY.ends_at) == 1
    assert await store.sts_policies.find("a.test") is None


async def test_stale_policies_are_those_in_use_the_oldest_first(store: Store) -> None:
    for domain, fetched_at, used_at in (("a", 5, 90), ("b", 3, 90), ("c", 1, 10), ("d", 50, 90)):
        policy = replace(_POLICY, domain=domain, fetched_at=fetched_at, used_at=used_at)
        await store.sts_policies.put(policy)
    stale = await store.sts_policies.stale(fetched_before=50, used_since=50, limit=10)
    assert [policy.domain for policy in stale] == ["b", "a"]
    await store.sts_policies.used("c", 95)
    await store.sts_policies.used("b", 20)
    stale = await store.sts_policies.stale(fetched_before=50, used_since=50, limit=2)
    assert [policy.domain for policy in stale] == ["c", "b"]


async def test_sessions_are_added_up(store: Store) -> None:
    tallies = store.tls_tallies
    assert await tallies.add(7, [TlsTally(_GOOD, 2), TlsTally(_BAD, 1)], most=10) == 0
    assert await tallies.add(7, [TlsTally(_GOOD, 3)], most=10) == 0
    assert await tallies.add(8, [TlsTally(_GOOD, 1)], most=10) == 0
    assert set(await tallies.of(7, "a.test")) == {TlsTally(_GOOD, 5), TlsTally(_BAD, 1)}
    assert await tallies.days("", 10) == [
        TlsDay(8, "a.test", 1, 0),
        TlsDay(7, "a.test", 5, 1),
    ]


async def test_a_full_day_takes_nothing_new_and_counts_on_what_it_has(store: Store) -> None:
    tallies = store.tls_tallies
    assert await tallies.add(7, [TlsTally(_GOOD, 1)], most=1) == 0
    assert await tallies.add(7, [TlsTally(_BAD, 4), TlsTally(_GOOD, 1)], most=1) == 4
    assert await tallies.of(7, "a.test") == [TlsTally(_GOOD, 2)]


async def test_a_report_is_settled_once(store: Store) -> None:
    tallies = store.tls_tallies
    for day in (6, 7, 8):
        await tallies.add(day, [TlsTally(_GOOD, 1)], most=10)
    assert await tallies.unsettled(6, 8, 10) == [(6, "a.test"), (7, "a.test")]
    assert await tallies.settle(6, "a.test", 6 * DAY_MS, "sent") is True
    assert await tallies.settle(6, "a.test", 6 * DAY_MS, "sent") is False
    assert await tallies.unsettled(6, 8, 10) == [(7, "a.test")]
    assert (await tallies.days("a.test", 10))[-1].report == "sent"


async def test_old_days_are_forgotten_with_their_reports(store: Store) -> None:
    tallies = store.tls_tallies
    for day in (6, 7):
        await tallies.add(day, [TlsTally(_GOOD, 1)], most=10)
        await tallies.settle(day, "a.test", 0, "sent")
    assert await tallies.forget(7) == 1
    assert await tallies.of(6, "a.test") == []
    assert [day.report for day in await tallies.days("", 10)] == ["sent"]
