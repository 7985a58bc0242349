"""What one process knows of the policies of domains for TLS: the parts, and how they are wired."""

import time
from collections.abc import Callable

from relay.config.model import Config
from relay.delivery.tls import TlsContexts
from relay.observe.logging import Logger
from relay.routing.domain_policies import DomainPolicies
from relay.routing.https import PublicHosts
from relay.routing.resolver import DnsResolver
from relay.routing.sts_fetch import PolicyFetcher
from relay.routing.sts_policies import Found, StsPolicies
from relay.store.interface import StsPolicyStore


class OutboundTls:
    """`problem` is told of policies that domains announce and that could not be had."""

    def __init__(
        self,
        config: Config,
        contexts: TlsContexts,
        resolver: DnsResolver,
        store: StsPolicyStore,
        log: Logger,
        *,
        problem: Callable[[str, Found], None] = lambda domain, found: None,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.contexts = contexts
        self._resolver = resolver
        self._problem = problem
        self.sts = StsPolicies(
            resolver=resolver, fetch=self._fetcher(config).fetch, store=store, log=log, wall=wall
        )

    def policies(self, config: Config) -> DomainPolicies:
        """Those that are honoured under `config`."""
        sts = self.sts if config.transport.mta_sts else None
        return DomainPolicies(sts, dane=config.transport.dane, problem=self._problem)

    def reconfigure(self, config: Config) -> None:
        """Put a configuration in force for what is fetched from now on."""
        self.sts.reconfigure(self._fetcher(config).fetch)

    async def close(self) -> None:
        await self.sts.close()

    def _fetcher(self, config: Config) -> PolicyFetcher:
        allow = config.delivery.allow_private_destinations
        hosts = PublicHosts(self._resolver, allow_private=allow)
        return PolicyFetcher(hosts, self.contexts.verified)
