"""Where the mail of a domain goes, as receivers see themselves: its site.

A *site* is a set of mail exchanges with their preferences. All domains with the same set are one
site, however many they are, and share its connections; all sites of one provider share the
provider's limits. A smarthost is a site of its own, and so is an address literal.

Owns the sites that are known, each for as long as DNS allows. Who asks for a domain that is known
gets its site at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from math import inf
from typing import Literal, Protocol
from weakref import WeakValueDictionary

from relay.routing import mx
from relay.routing.answers import MxAnswer, Resolver
from relay.routing.mx import Exchange
from relay.routing.plan import Destination
from relay.routing.providers import Providers
from relay.routing.transport import OPPORTUNISTIC, TransportPolicy

KNOWN_SITES = 20_000  # domains
OTHER = "other"

Kind = Literal["mx", "smarthost", "literal", "simulator"]
SiteKey = tuple[Kind, tuple[Exchange, ...], int, str, TransportPolicy]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Site:
    """Where mail goes: to `exchanges`, in the order of their preference.

    `name` tells it from others: its first exchange (with a digest of all, where there are several),
    or the smarthost, or the literal.
    `provider` is the name of the definition that it belongs to, `""` where there is none. `policy`
    is what the destination demands; sites that differ only in it share their limits.
    """

    kind: Kind
    name: str
    exchanges: tuple[Exchange, ...]
    port: int = 25
    provider: str = ""
    policy: TransportPolicy = OPPORTUNISTIC
    line: str = field(init=False, repr=False, compare=False)
    """The word that limits use: the provider's name, else the site's."""
    key: "SiteKey" = field(init=False, repr=False, compare=False)
    """What makes it the same as another."""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", self.provider or self.name)
        key = (self.kind, self.exchanges, self.port, self.provider, self.policy)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "_hash", hash(key))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self.name

    def without_policy(self) -> "Site":
        """The same site for mail that its policy must not stop."""
        return self if self.policy == OPPORTUNISTIC else replace(self, policy=OPPORTUNISTIC)

    @property
    def label(self) -> str:
        """The provider as metrics name it: one of few words."""
        return self.provider or OTHER


class Policies(Protocol):
    """Who finds out what domains demand."""

    async def find(self, domain: str, answer: MxAnswer) -> tuple[TransportPolicy, float]:
        """The policy of `domain`, whose MX answer is given, and the monotonic time until which it
        may be believed. Within a bounded time; raises `RoutingFailure` where mail must wait since
        the policy cannot be found out."""


class NoPolicies:
    """Where nothing is asked of domains."""

    async def find(self, domain: str, answer: MxAnswer) -> tuple[TransportPolicy, float]:
        return OPPORTUNISTIC, inf


class Sites:
    """The sites of one configuration. `clock` gives the monotonic seconds of `Resolver`."""

    def __init__(
        self,
        providers: Providers,
        resolver: Resolver,
        own_names: Collection[str],
        *,
        policies: Policies | None = None,
        clock: Callable[[], float] = time.monotonic,
        size: int = KNOWN_SITES,
    ) -> None:
        self._providers = providers
        self._resolver = resolver
        self._own_names = own_names
        self._policies = policies or NoPolicies()
        self._clock = clock
        self._size = size
        self._known: OrderedDict[str, tuple[float, Site]] = OrderedDict()
        self._smarthosts: dict[tuple[str, int], Site] = {}
        self._in_use: WeakValueDictionary[SiteKey, Site] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<Sites of {len(self._known)} domains>"

    def known(self, destination: Destination, domain: str) -> Site | None:
        """The site for mail to `domain` by `destination`, as far as that needs no question."""
        if destination.kind == "smarthost":
            return self._smarthost(destination)
        if destination.kind == "simulator":
            return simulator_site(destination.match)
        entry = self._known.get(domain)
        if entry is not None:
            if self._clock() < entry[0]:
                return entry[1]
            del self._known[domain]
            return None
        return literal_site(domain) if domain.startswith("[") else None

    def providers(self) -> dict[str, str]:
        """The provider of each domain that is known, and has one."""
        return {d: site.provider for d, (_, site) in self._known.items() if site.provider}

    async def find(self, destination: Destination, domain: str) -> Site:
        """The site for mail to `domain` by `destination`. Raises `RoutingFailure` where DNS says
        that there is none, or does not say."""
        known = self.known(destination, domain)
        if known is not None:
            return known
        answer = await self._resolver.mx(domain)
        if answer.status == "nxdomain":
            await self._confirm_nonexistent(domain)
        exchanges = mx.exchanges(domain, answer, self._own_names)
        policy, believed_until = await self._policies.find(domain, answer)
        provider = self._providers.of_domain(domain) or self._providers.of_exchanges(
            exchange.name for exchange in exchanges
        )
        site = Site("mx", _site_name(exchanges), exchanges, destination.port, provider, policy)
        site = self._in_use.setdefault(site.key, site)
        self._remember(domain, site, min(answer.until, believed_until))
        return site

    async def _confirm_nonexistent(self, domain: str) -> None:
        """Ask a second question before a domain is called unknown: it suppresses addresses.

        Some servers answer NXDOMAIN for a type that they do not know. Only two like answers count.
        """
        answer = await self._resolver.addresses(domain, 4)
        if answer.status != "nxdomain":
            raise mx.no_answer(domain, "consistent", "NXDOMAIN for MX, another answer for A")

    def _remember(self, domain: str, site: Site, until: float) -> None:
        self._known[domain] = until, site
        self._known.move_to_end(domain)
        while len(self._known) > self._size:
            self._known.popitem(last=False)

    def _smarthost(self, destination: Destination) -> Site:
        key = destination.host, destination.port
        site = self._smarthosts.get(key)
        if site is None:
            exchanges = (Exchange(0, destination.host),)
            site = Site("smarthost", str(destination), exchanges, destination.port)
            self._smarthosts[key] = site
        return site


@cache
def simulator_site(domain: str) -> Site:
    """The site of the mailbox simulator, whose domain this is."""
    return Site("simulator", domain, (Exchange(0, domain),))


def literal_site(domain: str) -> Site:
    """The site of an address literal, as `[192.0.2.1]`."""
    return Site("literal", domain, (Exchange(0, domain),))


def _site_name(exchanges: Sequence[Exchange]) -> str:
    """Never like the name of a provider, which has no dot in it; nor, where there are several, like
    that of another set that begins alike: whoever names a stranger's host beside his own must not
    be heard as the stranger."""
    name = exchanges[0].name
    if len(exchanges) == 1:
        return name if "." in name else f"{name}."
    whole = " ".join(f"{exchange.preference} {exchange.name}" for exchange in exchanges)
    return f"{name}.+{sha256(whole.encode()).hexdigest()[:8]}"
