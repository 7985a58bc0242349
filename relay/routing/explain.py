"""What would become of a message, and why: every decision from sender to host, as one value.

Pure: it asks the same functions that real mail goes through. What needs I/O (levels of limits, the
suppression list, DNS) is filled in by the caller with `dataclasses.replace`; `limit_keys` says
which levels belong to it. Nothing is sent, charged or changed. Rendering is the caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay.config.identities import dkim_keys_for, find_identity, mail_from_for
from relay.config.model import Config
from relay.limits.limits import Level
from relay.limits.shapes import Shapes
from relay.limits.specs import ACCOUNT, connect_key, credential_key, delivery_keys, path_keys
from relay.limits.warmup import warmup_keys
from relay.mail.envelope import domain_of
from relay.mail.verp import PREFIX
from relay.routing.plan import Destination, Family, Host, Plan, RoutingFailure, no_source
from relay.routing.router import Router
from relay.routing.sites import Site
from relay.routing.transport import OPPORTUNISTIC, TransportPolicy, demand_on, in_words
from relay.store.fleet_values import NOWHERE, Elsewhere
from relay.store.pauses import Pause
from relay.store.values import SuppressionEntry

_TLS = {
    "opportunistic": "TLS where the peer offers it, clear text otherwise",
    "require": "TLS or no delivery; any certificate",
    "verify": "TLS with a certificate valid for the host, or no delivery",
    "implicit": "TLS from the first octet; any certificate",
    "implicit_verify": "TLS from the first octet with a certificate valid for the host",
    "none": "clear text only",
}


@dataclass(frozen=True, slots=True)
class ExplainedKey:
    """A DKIM key that would sign; its public half is at `selector`._domainkey.`domain`."""

    domain: str
    selector: str


@dataclass(frozen=True, slots=True)
class ExplainedSource:
    """A source of the pool; `excluded` is why it would not be chosen, `""` where it may be.

    `share` is the part of the attempts that it gets, from 0 to 1; `shape` is what it sends to the
    destination at most.
    """

    address: str
    family: Family
    ehlo: str
    weight: int
    share: float
    excluded: str = ""
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decisions about one message, in the order in which they are taken.

    `refusal` says why the message would not be accepted, `problem` why it could not be routed for
    now or at all; what cannot be known after either is empty. `carried_by` are other nodes that it
    is left to, because they have addresses of its pool and this node has none. Times are seconds.
    """

    sender: str
    recipient: str
    refusal: str = ""
    identity: str = ""
    configuration_set: str = ""
    configuration_set_from: str = ""
    keys: tuple[ExplainedKey, ...] = ()
    return_path: str = ""
    suppression: SuppressionEntry | None = None
    pool: str = ""
    sources: tuple[ExplainedSource, ...] = ()
    carried_by: tuple[str, ...] = ()
    route: str = ""
    destination: Destination | None = None
    site: str = ""
    provider: str = ""
    hosts: tuple[Host, ...] = ()
    tls_from: str = ""
    policy: TransportPolicy = OPPORTUNISTIC
    problem: str = ""
    limits: tuple[Level, ...] = ()
    limit_keys: tuple[str, ...] = ()
    retry: tuple[float, ...] = ()
    max_age: float = 0.0

    @property
    def tls(self) -> str:
        """The operator's word on TLS with what it means, and what the domain demands besides."""
        if self.destination is None:
            return ""
        word = f"{self.destination.tls} ({self.tls_from}): {_TLS[self.destination.tls]}"
        return f"{word}; {self.policy}" if self.policy != OPPORTUNISTIC else word

    def tls_with(self, host: Host) -> str:
        """What TLS with one of `hosts` must be, in words."""
        if self.destination is None:
            return ""
        return in_words(demand_on(host.name, self.destination.tls, self.policy, host.tlsa))


def explain(
    sender: str,
    recipient: str,
    *,
    config: Config,
    router: Router,
    configuration_set: str = "",
    credential: str = "",
    elsewhere: Elsewhere = NOWHERE,
    pauses: Sequence[Pause] = (),
) -> Explanation:
    """The decisions about mail from `sender` (in From) to `recipient`, both normalised.

    `configuration_set` is as X-SES-CONFIGURATION-SET would name it, `credential` as whom the client
    would log in; both may be empty. `pauses` are those in force.
    """
    identity = find_identity(config.identities, sender)
    if identity is None:
        return Explanation(sender, recipient, f"no identity of the configuration covers {sender}")
    name, why = _configuration_set(config, configuration_set, sender, credential)
    known = Explanation(
        sender, recipient, identity=identity, configuration_set=name, configuration_set_from=why
    )
    refusal = (
        _credential_refusal(config, credential, sender, name)
        or _set_refusal(config, name)
        or _paused(pauses, name, credential)
    )
    if refusal:
        return replace(known, refusal=refusal)
    plan = router.plan(domain_of(recipient), name)
    domain, keys = dkim_keys_for(config.identities, identity, sender)
    return replace(
        known,
        keys=tuple(ExplainedKey(domain, key.selector) for key in keys),
        return_path=_return_path(config, identity),
        pool=plan.pool,
        sources=_sources(plan),
        carried_by=elsewhere.pools.get(plan.pool, ()),
        route=plan.route.match or "none matches: mx",
        destination=plan.route,
        tls_from=_tls_from(config, plan),
        problem=_lack_of_sources(plan, elsewhere),
        limit_keys=_limit_keys(plan, credential),
        retry=config.retry.schedule,
        max_age=config.configuration_sets[name].max_age,
    )


def _return_path(config: Config, identity: str) -> str:
    """With a word in the place of the token, which only a message has; `""` where there is none."""
    domain = mail_from_for(config.identities, identity)
    return f"{PREFIX}TOKEN@{domain}" if domain else ""


def _tls_from(config: Config, plan: Plan) -> str:
    """Whose word on TLS counts."""
    if plan.route.kind == "simulator":
        return "it does not leave this host"
    route = config.routes.get(plan.route.match)
    if route is not None and route.tls is not None:
        return f"of route {plan.route.match}"
    return f"of configuration set {plan.configuration_set}"


def explain_queued(
    sender: str, recipient: str, plan: Plan, credential: str, elsewhere: Elsewhere = NOWHERE
) -> Explanation:
    """The decisions that are still to be taken about mail that is queued and goes by `plan`."""
    return Explanation(
        sender,
        recipient,
        configuration_set=plan.configuration_set,
        pool=plan.pool,
        sources=_sources(plan),
        carried_by=elsewhere.pools.get(plan.pool, ()),
        route=plan.route.match or "none matches: mx",
        destination=plan.route,
        problem=_lack_of_sources(plan, elsewhere),
        limit_keys=_limit_keys(plan, credential),
    )


def _lack_of_sources(plan: Plan, elsewhere: Elsewhere) -> str:
    if plan.eligible or plan.pool in elsewhere.pools:
        return ""
    return str(no_source(plan.pool, plan.candidates))


def _configuration_set(config: Config, named: str, sender: str, credential: str) -> tuple[str, str]:
    """The set that applies and why, in the order that admission follows; `""` where none does."""
    if named:
        return named, "named by the message"
    with_set = {name: i for name, i in config.identities.items() if i.configuration_set}
    identity = find_identity(with_set, sender)
    login = config.credentials.get(credential)
    usable = tuple(config.configuration_sets)
    if login is not None and login.configuration_sets:
        usable = tuple(name for name in usable if name in login.configuration_sets)
    wishes = (
        (with_set[identity].configuration_set if identity else None, f"of identity {identity}"),
        (login.configuration_set if login else None, f"of credential {credential}"),
        (config.default_configuration_set, "default_configuration_set"),
        (usable[0] if len(usable) == 1 else None, "the only one"),
    )
    return next(((name, why) for name, why in wishes if name and name in usable), ("", ""))


def _credential_refusal(config: Config, name: str, sender: str, configuration_set: str) -> str:
    """Why the credential may not send this; `""` where it may, or where none is given."""
    if not name:
        return ""
    credential = config.credentials.get(name)
    if credential is None:
        return f"credential {name} does not exist"
    if not credential.enabled:
        return f"credential {name} is disabled"
    allowed = {i: config.identities[i] for i in credential.identities if i in config.identities}
    if credential.identities and find_identity(allowed, sender) is None:
        return f"credential {name} may not send as {sender}"
    if credential.configuration_sets and configuration_set not in credential.configuration_sets:
        return f"credential {name} may not use configuration set {configuration_set}"
    return ""


def _set_refusal(config: Config, name: str) -> str:
    """Why the configuration set takes no mail; `""` where it does."""
    if not name:
        return "no configuration set applies: name one, or set default_configuration_set"
    chosen = config.configuration_sets.get(name)
    if chosen is None:
        return f"configuration set {name} does not exist"
    return "" if chosen.sending else f"configuration set {name} is paused (sending: false)"


def _paused(pauses: Sequence[Pause], configuration_set: str, credential: str) -> str:
    """Why mail is refused for what the reputation, or an operator, has paused; `""` where it is
    not."""
    streams = {("set", configuration_set), ("credential", credential)}
    for pause in pauses:
        if (pause.kind, pause.name) in streams:
            return f"sending is paused for {pause.key}: {pause.reason} (`relay reputation resume`)"
    return ""


def _sources(plan: Plan) -> tuple[ExplainedSource, ...]:
    total = sum(candidate.weight for candidate in plan.eligible)
    return tuple(
        ExplainedSource(
            address=candidate.address,
            family=candidate.family,
            ehlo=candidate.ehlo,
            weight=candidate.weight,
            share=0.0 if candidate.excluded or not total else candidate.weight / total,
            excluded=candidate.excluded,
        )
        for candidate in plan.candidates
    )


def at_site(explanation: Explanation, site: Site, shapes: Shapes) -> Explanation:
    """The explanation with what follows from the site: its provider, and what each source sends
    there at most, with the limits that this means."""
    keys: list[str] = []
    sources = []
    for source in explanation.sources if site.kind != "simulator" else ():
        shape = shapes.of(source.address, site.line)
        keys += path_keys(shape, source.address, site.line)
        keys += warmup_keys(source.address, site.provider)
        if shape.connection_rate:
            keys.append(connect_key(source.address, site.line))
        sources.append(replace(source, shape=str(shape)))
    return replace(
        explanation,
        policy=site.policy,
        site=site.name,
        provider=site.provider,
        sources=tuple(sources) or explanation.sources,
        limit_keys=tuple(dict.fromkeys([*explanation.limit_keys, *keys])),
    )


def _limit_keys(plan: Plan, credential: str) -> tuple[str, ...]:
    """The keys of every limit that the message meets, from acceptance to delivery."""
    keys = [ACCOUNT, *([credential_key(credential)] if credential else [])]
    if plan.route.kind == "simulator":
        return tuple(keys)
    for candidate in plan.candidates:
        keys += delivery_keys(plan.configuration_set, plan.pool, candidate.address)
        keys += warmup_keys(candidate.address)
    return tuple(dict.fromkeys(keys))


async def find_hosts(explanation: Explanation, router: Router) -> Explanation:
    """The explanation with the hosts that an eligible source would connect to; asks DNS."""
    if explanation.destination is None:
        return explanation
    families = {source.family for source in explanation.sources if not source.excluded}
    problem = explanation.problem
    for family in sorted(families):
        try:
            domain = domain_of(explanation.recipient)
            hosts = await router.resolve(explanation.destination, domain, family)
            site = router.known_site(explanation.destination, domain)
        except RoutingFailure as failure:
            problem = problem or str(failure.reply)
        else:
            known = replace(explanation, hosts=hosts)
            return known if site is None else at_site(known, site, router.shapes)
    return replace(explanation, problem=problem)
