"""What will happen with TLS to a domain: asked of the same parts that real mail goes through."""

from collections.abc import Iterable
from dataclasses import dataclass

from relay.admin.control import Refused
from relay.admin.tls_values import TlsHost, TlsOutlook, TlsRequest
from relay.config.model import Config
from relay.config.names import parse_domain
from relay.mail.tls_report import report_places
from relay.routing.answers import TransportResolver
from relay.routing.plan import Destination, Family, Host, RoutingFailure
from relay.routing.router import Router
from relay.routing.sites import Site
from relay.routing.transport import demand_on, in_words


@dataclass(frozen=True, slots=True)
class Outlook:
    """`told` is what an operator reads; `site` is where the mail goes, empty where that is not
    known."""

    told: TlsOutlook
    site: str = ""


async def look_out(
    request: TlsRequest, config: Config, router: Router, resolver: TransportResolver
) -> Outlook:
    """Asks DNS, and a policy host where it must. Raises `Refused` for names that are none."""
    domain, name = _names(request, config)
    plan = router.plan(domain, name)
    word = plan.route.tls
    places = report_places((await resolver.texts(f"_smtp._tls.{domain}")).texts)
    try:
        site = await router.find_site(plan, domain)
        hosts = await _hosts(router, plan.route, site)
    except RoutingFailure as failure:
        problem = str(failure.reply)
        return Outlook(TlsOutlook(domain, name, word, "", problem=problem, reports_to=places))
    told = TlsOutlook(
        domain=domain,
        configuration_set=name,
        word=word,
        policy=str(site.policy),
        hosts=tuple(
            TlsHost(
                host.name,
                host.address,
                in_words(demand_on(host.name, word, site.policy, host.tlsa)),
                tuple(map(str, host.tlsa.records)),
            )
            for host in hosts
        ),
        reports_to=places,
    )
    return Outlook(told, site.name)


def _names(request: TlsRequest, config: Config) -> tuple[str, str]:
    """The domain in normal form and the configuration set."""
    try:
        domain = parse_domain(request.domain)
    except ValueError as error:
        raise Refused(f"{request.domain!r}: {error}") from None
    first = next(iter(config.configuration_sets))
    name = request.configuration_set or config.default_configuration_set or first
    if name not in config.configuration_sets:
        raise Refused(f"configuration set {name} does not exist", "not_found")
    return domain, name


async def _hosts(router: Router, destination: Destination, site: Site) -> Iterable[Host]:
    """The hosts of both address families. Raises `RoutingFailure` where there is none of either."""
    families: tuple[Family, ...] = (4, 6)
    hosts: list[Host] = []
    failure: RoutingFailure | None = None
    for family in families:
        try:
            hosts += await router.hosts(destination, site, family)
        except RoutingFailure as error:
            failure = failure or error
    if failure is not None and not hosts:
        raise failure
    return hosts
