"""Counting how TLS went: by domain, in batches, bounded, never losing what the store refused."""

from pathlib import Path
from typing import Any, cast

import pytest

from relay.delivery import tls_tally
from relay.delivery.connections import Connection
from relay.delivery.path import Path as Way
from relay.delivery.tls_sessions import TlsSession
from relay.delivery.tls_tally import TlsTallies, outcome_of
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.mx import Exchange
from relay.routing.plan import Destination, Host
from relay.routing.sites import Site
from relay.routing.tlsa import HostTlsa
from relay.routing.transport import OPPORTUNISTIC, TransportPolicy, demand_on
from relay.store.interface import StoreUnavailable
from relay.store.sqlite.store import SqliteStore
from relay.store.tls_values import DAY_MS, TlsOutcome, TlsTally

_HOST = Host("mx.test", "192.0.2.9")
_PLAIN = demand_on("mx.test", "opportunistic", OPPORTUNISTIC)
_GOOD = TlsSession(_HOST, _PLAIN)
_BAD = TlsSession(_HOST, _PLAIN, "certificate-expired", "what the library said")


def _way(tls: Any = "opportunistic", kind: Any = "mx") -> Way:
    site = Site(kind, "mx.test", (Exchange(0, "mx.test"),))
    return Way("192.0.2.1", 4, "relay.test", Destination("mx", tls=tls), site)


class _Store:
    """Takes what it is given, unless it is broken."""

    def __init__(self) -> None:
        self.taken: dict[tuple[int, TlsOutcome], int] = {}
        self.broken = False

    async def add(self, day: int, tallies: list[TlsTally], most: int) -> int:
        if self.broken:
            raise StoreUnavailable("no disk")
        for tally in tallies:
            key = day, tally.outcome
            self.taken[key] = self.taken.get(key, 0) + tally.sessions
        return 0


@pytest.fixture
def store() -> _Store:
    return _Store()


def _tallies(store: Any, wall: Any = lambda: 7 * DAY_MS) -> TlsTallies:
    return TlsTallies(store, Metrics(), make_logger("json", "error"), wall)


def _connection(*sessions: TlsSession) -> Connection:
    connection = Connection(_way(), cast("Any", "peer"))
    connection.sessions = sessions
    return connection


async def test_a_connection_counts_once_for_each_domain_and_its_trouble_for_the_first(
    store: _Store,
) -> None:
    tallies = _tallies(store)
    connection = _connection(_BAD, _GOOD)
    for domain in ("a.test", "b.test"):
        tallies.carried(connection, domain)
    await tallies.flush()
    assert connection.domains == {"a.test", "b.test"}
    good = [TlsOutcome(d, "no-policy-found", d) for d in ("a.test", "b.test")]
    bad = TlsOutcome(
        "a.test", "no-policy-found", "a.test", (), "certificate-expired",
        "", "192.0.2.1", "mx.test", "192.0.2.9",
    )  # fmt: skip
    assert store.taken == {(7, good[0]): 1, (7, good[1]): 1, (7, bad): 1}


async def test_what_the_operator_alone_decided_is_not_counted(store: _Store) -> None:
    tallies = _tallies(store)
    tallies.add(_way("none"), "a.test", [_GOOD])
    tallies.add(_way("require", "smarthost"), "a.test", [_GOOD])
    await tallies.flush()
    assert store.taken == {}


async def test_what_the_store_refuses_is_offered_again(store: _Store) -> None:
    tallies = _tallies(store)
    store.broken = True
    tallies.add(_way(), "a.test", [_GOOD, _GOOD])
    await tallies.flush()
    store.broken = False
    tallies.add(_way(), "a.test", [_GOOD])
    await tallies.flush()
    assert list(store.taken.values()) == [3]


async def test_each_session_counts_for_its_own_day(store: _Store) -> None:
    now = [8 * DAY_MS - 1]
    tallies = _tallies(store, lambda: now[0])
    tallies.add(_way(), "a.test", [_GOOD])
    now[0] += 1
    tallies.add(_way(), "a.test", [_GOOD])
    await tallies.flush()
    assert sorted(day for day, _ in store.taken) == [7, 8]


async def test_memory_is_bounded_and_what_has_no_room_is_counted_as_lost(
    store: _Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_tally, "MOST_IN_MEMORY", 2)
    tallies = _tallies(store)
    for domain in ("a.test", "b.test", "c.test", "a.test"):
        tallies.add(_way(), domain, [_GOOD])
    tallies.fetch_failed("d.test", invalid=False)
    await tallies.flush()
    assert sorted(store.taken.values()) == [1, 2]
    assert tallies._metrics.registry.get_sample_value("relay_tls_tallies_lost_total") == 2


async def test_a_policy_that_cannot_be_had_is_counted(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.open()
    tallies = _tallies(store.tls_tallies)
    tallies.fetch_failed("a.test", invalid=False)
    tallies.fetch_failed("a.test", invalid=True)
    await tallies.flush()
    results = {tally.outcome.result for tally in await store.tls_tallies.of(7, "a.test")}
    await store.close()
    assert results == {"sts-policy-fetch-error", "sts-policy-invalid"}


def test_under_dane_the_policy_is_that_of_the_host() -> None:
    failed = HostTlsa("failed", base="mx.test", detail="timeout")
    demand = demand_on("mx.test", "opportunistic", TransportPolicy(dane=True), failed)
    session = TlsSession(_HOST, demand, "dnssec-invalid", demand.refusal)
    outcome = outcome_of("a.test", "192.0.2.1", session)
    assert (outcome.domain, outcome.policy_type, outcome.policy_domain) == (
        "a.test", "tlsa", "mx.test",
    )  # fmt: skip
    assert "timeout" in outcome.detail
