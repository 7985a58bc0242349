"""Where a message goes and from which addresses it may leave, for one configuration in force.

`plan` and `site` are free of I/O and cheap: they run for every attempt. `find_site` and `hosts` ask
DNS where they must. A router never changes: a reload makes a new one over the same resolver and
health. Failures are `RoutingFailure`s, with the reply that the sender would read.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from ipaddress import ip_address
from random import Random, SystemRandom

from relay.config.model import Config, Source
from relay.config.providers import providers_of
from relay.limits.shapes import Shapes
from relay.mail.replies import Reply
from relay.mail.simulated import simulator_domain
from relay.routing import mx, sources
from relay.routing.addresses import DestinationRule, OwnAddresses
from relay.routing.answers import AddressAnswer, TransportResolver
from relay.routing.dane import find_tlsa
from relay.routing.health import Availability
from relay.routing.plan import Candidate, Destination, Family, Host, Plan, RoutingFailure
from relay.routing.providers import Providers
from relay.routing.routes import RouteTable, RouteTarget
from relay.routing.sites import Policies, Site, Sites

SIMULATOR = "simulator"
"""What the mailbox simulator has in the place of a pool."""
_LOOPBACK = "127.0.0.1"


class Router:
    """Plans and resolves by one configuration. Shared by all attempts; holds no connection."""

    def __init__(
        self,
        config: Config,
        resolver: TransportResolver,
        health: Availability,
        rng: Random | None = None,
        policies: Policies | None = None,
    ) -> None:
        self._config = config
        self._resolver = resolver
        self._health = health
        self._rng = rng or SystemRandom()
        self.shapes = Shapes(config)
        simulator = simulator_domain(config.hostname) if config.simulator_addresses else ""
        self._routes = RouteTable(config.routes, simulator)
        self._sites = Sites(
            Providers(providers_of(config)), resolver, _own_names(config), policies=policies
        )
        self._rule = DestinationRule(
            OwnAddresses.of(config), config.delivery.allow_private_destinations
        )
        self._candidates: dict[str, tuple[int, tuple[Candidate, ...]]] = {}
        self._destinations: dict[tuple[str, str], Destination] = {}
        self._plans: dict[tuple[str, str, str], tuple[int, Plan]] = {}

    def __repr__(self) -> str:
        return (
            f"<Router {len(self._config.configuration_sets)} sets, {len(self._config.pools)} pools>"
        )

    def plan(self, domain: str, configuration_set: str, pool: str = "") -> Plan:
        """How mail of a configuration set goes to a recipient domain (lower case, A-labels).

        `pool` is the one that it was moved to; that of its set takes the place of one that is not
        configured any more. Raises a transient `RoutingFailure` where the set is no longer
        configured: its pool is unknown then, and mail never leaves from another set's addresses.
        """
        target = self._routes.find(domain)
        known = self._plans.get((configuration_set, pool, target.match))
        if known is not None and known[0] == self._health.version:
            return known[1]
        version, plan = self._health.version, self._make_plan(target, configuration_set, pool)
        self._plans[configuration_set, pool, target.match] = version, plan
        return plan

    def _make_plan(self, target: RouteTarget, configuration_set: str, pool: str) -> Plan:
        chosen = self._config.configuration_sets.get(configuration_set)
        if chosen is None:
            text = f"configuration set {configuration_set} is no longer configured"
            raise RoutingFailure(Reply(451, "4.3.5", text), "local")
        if target.is_simulator:
            route = self._destination(target, configuration_set)
            return Plan(configuration_set, SIMULATOR, (_inside(self._config.hostname),), route)
        name = pool if pool in self._config.pools else chosen.pool
        return Plan(
            configuration_set=configuration_set,
            pool=name,
            candidates=self._candidates_of(name),
            route=self._destination(target, configuration_set),
        )

    def has_source(self, pool: str) -> bool:
        """Whether a pool has a source that may send now; or mail that was moved to it another pool,
        because it is not configured any more."""
        if pool not in self._config.pools:
            return True
        return any(not candidate.excluded for candidate in self._candidates_of(pool))

    def _candidates_of(self, pool: str) -> tuple[Candidate, ...]:
        version = self._health.version
        known = self._candidates.get(pool)
        if known is None or known[0] != version:
            found = sources.candidates(
                self._config.pools[pool], self._config.hostname, self._health
            )
            known = self._candidates[pool] = (version, found)
        return known[1]

    def _destination(self, target: RouteTarget, configuration_set: str) -> Destination:
        key = (target.match, configuration_set)
        known = self._destinations.get(key)
        if known is None:
            chosen = self._config.configuration_sets[configuration_set]
            known = self._destinations[key] = target.destination(chosen)
        return known

    @staticmethod
    def choose_source(plan: Plan, rng: Random, avoid: Collection[str] = ()) -> Candidate | None:
        """See `sources.choose_source`."""
        return sources.choose_source(plan, rng, avoid)

    def site(self, plan: Plan, domain: str) -> Site | None:
        """Where mail to `domain` goes by `plan`, as far as that is known without asking DNS."""
        return self._sites.known(plan.route, domain)

    def known_providers(self) -> dict[str, str]:
        """The provider of each domain whose exchanges are known to belong to one."""
        return self._sites.providers()

    async def find_site(self, plan: Plan, domain: str) -> Site:
        """Where mail to `domain` goes by `plan`. Raises `RoutingFailure`."""
        return await self._sites.find(plan.route, domain)

    def known_site(self, destination: Destination, domain: str) -> Site | None:
        """Where mail to `domain` goes by `destination`, as far as that is known."""
        return self._sites.known(destination, domain)

    async def resolve(
        self, destination: Destination, domain: str, family: Family
    ) -> tuple[Host, ...]:
        """The hosts to try for mail to `domain`; see `hosts`."""
        return await self.hosts(destination, await self._sites.find(destination, domain), family)

    async def hosts(self, destination: Destination, site: Site, family: Family) -> tuple[Host, ...]:
        """The hosts of `site` to try, in order, that a source of `family` can connect to.

        Raises `RoutingFailure`; with `other_family` set, a source of the other family may do.
        """
        if site.kind == "smarthost":
            return await self._smarthost(destination, family)
        if site.kind == "simulator":
            return (Host(site.name, _LOOPBACK, 25),)
        if site.kind == "literal":
            return self._literal(site.name, site.port, family)
        return await self._mail_hosts(site, family)

    async def _smarthost(self, destination: Destination, family: Family) -> tuple[Host, ...]:
        """A smarthost is the operator's word: it may be private, and its absence never bounces."""
        try:
            address = ip_address(destination.host)
        except ValueError:
            answer = await self._resolver.addresses(destination.host, family)
        else:
            if address.version != family:
                raise _unreachable_smarthost(destination, family)
            return (Host(destination.host, destination.host, destination.port),)
        if answer.addresses:
            name, port = destination.host, destination.port
            return tuple(
                Host(name, str(address), port)
                for address in answer.addresses[: mx.MAX_ADDRESSES_EACH]
            )
        if answer.status == "failure":
            raise mx.no_answer(destination.host, "address", answer.detail)
        other: Family = 6 if family == 4 else 4
        if (
            answer.status == "nodata"
            and (await self._resolver.addresses(destination.host, other)).addresses
        ):
            raise _unreachable_smarthost(destination, family)
        text = f"the smarthost {destination.host} of route {destination.match} has no address"
        raise RoutingFailure(Reply(451, "4.4.4", text), "unreachable")

    def _literal(self, domain: str, port: int, family: Family) -> tuple[Host, ...]:
        """An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3)."""
        text = domain.strip("[]")
        is_v6 = text[:5].lower() == "ipv6:"
        try:
            address = ip_address(text[5:] if is_v6 else text)
        except ValueError:
            raise RoutingFailure(
                Reply(550, "5.1.2", f"{domain} is no address literal that mail can be sent to"),
                "unreachable",
            ) from None
        if self._rule.own.listens_at(address, port):
            raise mx.loop(domain)
        if refusal := self._rule.refusal(address):
            text = mx.refused_text(domain, f"it is {refusal}")
            raise RoutingFailure(Reply(550, "5.4.4", text), "unreachable")
        if address.version != family:
            raise mx.other_family(domain, family)
        return (Host(domain, str(address), port),)

    async def _mail_hosts(self, site: Site, family: Family) -> tuple[Host, ...]:
        found = mx.in_turn(site.exchanges, self._rng)
        here = await self._locate(found, family)
        try:
            hosts = mx.hosts(site.name, site.port, here, self._rule, self._rng)
        except mx.NoAddress:
            other: Family = 6 if family == 4 else 4
            elsewhere = await self._locate(found, other)
            if any(located.status == "found" for _, located in elsewhere):
                raise mx.other_family(site.name, family) from None
            for exchange, located in elsewhere:
                if located.status == "failure":
                    raise mx.no_answer(exchange.name, "address", located.detail) from None
            raise
        return await self._with_tlsa(site, hosts, here) if site.policy.dane else hosts

    async def _with_tlsa(
        self, site: Site, hosts: tuple[Host, ...], located: list[tuple[mx.Exchange, AddressAnswer]]
    ) -> tuple[Host, ...]:
        """The hosts with their TLSA records, asked for at the same time."""
        used = {host.name for host in hosts}
        answers = {exchange.name: answer for exchange, answer in located if exchange.name in used}
        found = await asyncio.gather(
            *(find_tlsa(self._resolver, n, site.port, answer) for n, answer in answers.items())
        )
        tlsa = dict(zip(answers, found, strict=True))
        return tuple(replace(host, tlsa=tlsa[host.name]) for host in hosts)

    async def _locate(
        self, found: Collection[mx.Exchange], family: Family
    ) -> list[tuple[mx.Exchange, AddressAnswer]]:
        """The addresses of at most 20 hosts, asked for at the same time."""
        answers = await asyncio.gather(
            *(self._resolver.addresses(exchange.name, family) for exchange in found)
        )
        return list(zip(found, answers, strict=True))


def _inside(hostname: str) -> Candidate:
    """The source of mail that stays in this process. It is no pool's: whatever rests, warms up or
    is at its limit, the simulator is there."""
    return Candidate(Source(address=_LOOPBACK), hostname, weight=1)


def _own_names(config: Config) -> frozenset[str]:
    """The names under which other hosts know this relay."""
    names = {config.hostname}
    for pool in config.pools.values():
        names.update(source.ehlo for source in pool.sources if source.ehlo)
    return frozenset(name.lower().rstrip(".") for name in names)


def _unreachable_smarthost(destination: Destination, family: Family) -> RoutingFailure:
    text = f"the smarthost {destination} has no IPv{family} address, as the source address has"
    return RoutingFailure(Reply(451, "4.4.4", text), "unreachable", other_family=True)
