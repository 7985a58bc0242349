"""Counts how TLS with mail hosts went: for reports to domains (RFC 8460), and for `relay tls`.

A connection is counted once for each domain that it carries mail for. What is counted waits in
memory, bounded, and goes to the store once a minute: a process that is killed takes a minute with
it, which a report can bear. What has no room is left out and counted as lost.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

from relay.delivery.connections import Connection
from relay.delivery.path import Path
from relay.delivery.tls_sessions import TlsSession
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.transport import DOMAIN_POLICIES_HOLD
from relay.store.interface import StoreError, TlsTallyStore
from relay.store.tls_values import DAY_MS, TlsOutcome, TlsTally

FLUSH_SECONDS = 60.0
MOST_IN_MEMORY = 20_000
MOST_OF_A_DAY = 100_000
DOMAINS_OF_A_CONNECTION = 1_000


class TlsTallies:
    """`wall` gives UTC milliseconds."""

    def __init__(
        self,
        store: TlsTallyStore,
        metrics: Metrics,
        log: Logger,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._log = log
        self._wall = wall
        self._counts: Counter[tuple[int, TlsOutcome]] = Counter()

    def carried(self, connection: Connection, domain: str) -> None:
        """Mail for `domain` goes over a connection for the first time: what was learnt on the way
        to it counts for the first domain, what it is itself for each."""
        known = connection.domains
        if len(known) >= DOMAINS_OF_A_CONNECTION:
            return
        self.add(
            connection.path, domain, connection.sessions[-1:] if known else connection.sessions
        )
        known.add(domain)

    def add(self, path: Path, domain: str, sessions: Sequence[TlsSession]) -> None:
        """Count sessions for mail to `domain`. Where the operator alone has decided what TLS must
        be, nothing is: the domain had no say in it."""
        if path.site.kind != "mx" or path.destination.tls not in DOMAIN_POLICIES_HOLD:
            return
        for session in sessions:
            self._count(outcome_of(domain, path.source, session))

    def fetch_failed(self, domain: str, *, invalid: bool) -> None:
        """A policy that `domain` announces could not be had."""
        result = "sts-policy-invalid" if invalid else "sts-policy-fetch-error"
        self._count(TlsOutcome(domain, "sts", domain, result=result))

    def _count(self, outcome: TlsOutcome) -> None:
        policy_type, result = outcome.policy_type, outcome.result or "success"
        self._metrics.child(self._metrics.tls_policy_sessions, policy_type, result).inc()
        key = self._wall() // DAY_MS, outcome
        if key in self._counts or len(self._counts) < MOST_IN_MEMORY:
            self._counts[key] += 1
        else:
            self._metrics.tls_tallies_lost.inc()

    async def run(self) -> None:
        """Write down what was counted, every minute, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write down what was counted. What the store does not take now is tried again later."""
        counts, self._counts = self._counts, Counter()
        for day in sorted({day for day, _ in counts}):
            tallies = [TlsTally(what, n) for (of, what), n in counts.items() if of == day]
            try:
                lost = await self._store.add(day, tallies, MOST_OF_A_DAY)
            except StoreError as error:
                self._log.warning("counts of TLS sessions wait for the store", error=str(error))
                self._counts.update({(day, tally.outcome): tally.sessions for tally in tallies})
            else:
                self._metrics.tls_tallies_lost.inc(lost)


def outcome_of(domain: str, source: str, session: TlsSession) -> TlsOutcome:
    """What a session is counted as. Pure."""
    demand = session.demand
    policy = demand.policy_type, demand.policy_domain or domain, demand.policy
    if not session.result:
        return TlsOutcome(domain, *policy)
    detail = session.detail if demand.refusal else ""
    host = session.host
    return TlsOutcome(domain, *policy, session.result, detail, source, host.name, host.address)
