"""Which route mail for a recipient domain takes: the most specific match wins.

In order: the domain itself (`example.com`); the nearest parent given as `*.example.com` (its
subdomains, not `example.com` itself); `*`; and where nothing matches, the domain's MX. An address
literal such as `[192.0.2.1]` matches `*` only. No route has a say on the domain of the mailbox
simulator. Pure. Never resolves a name. What it cannot read
raises `ValueError` with a sentence that says what is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.config.model import ConfigurationSet, Route, RouteLogin
from relay.config.names import parse_route_match, parse_route_target
from relay.routing.plan import Destination
from relay.routing.transport import DestinationTls


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """A route as read from the configuration; `tls` is None where the configuration set decides.
    `is_simulator`: it leads to the mailbox simulator, and no further than this process."""

    match: str
    host: str = ""
    port: int = 25
    tls: DestinationTls | None = None
    login: RouteLogin | None = None
    ca: Path | None = None
    is_simulator: bool = False

    def destination(self, configuration_set: ConfigurationSet) -> Destination:
        """The destination with the TLS policy in force: the route's beats the set's."""
        if self.is_simulator:
            return Destination(kind="simulator", tls="none", match=self.match)
        return Destination(
            kind="smarthost" if self.host else "mx",
            host=self.host,
            port=self.port,
            tls=self.tls or configuration_set.tls,
            login=self.login,
            match=self.match,
            ca=self.ca,
        )


class RouteTable:
    """The routes of a configuration, compiled for look-up by recipient domain. `simulator` is the
    domain of the mailbox simulator, `""` where there is none."""

    def __init__(self, routes: Mapping[str, Route], simulator: str = "") -> None:
        self._exact: dict[str, RouteTarget] = {}
        self._below: dict[str, RouteTarget] = {}
        self._default = RouteTarget(match="")
        for pattern, route in routes.items():
            self._add(parse_route_match(pattern), read_route(pattern, route))
        if simulator:
            self._add(simulator, RouteTarget(simulator, is_simulator=True))

    def _add(self, pattern: str, target: RouteTarget) -> None:
        if pattern == "*":
            self._default = target
        elif pattern.startswith("*."):
            self._below[pattern[2:]] = target
        else:
            self._exact[pattern] = target

    def find(self, domain: str) -> RouteTarget:
        """The target for `domain`, which is in lower case with A-labels, or a literal."""
        found = self._exact.get(domain)
        if found is not None:
            return found
        if self._below and not domain.startswith("["):
            parent = domain.partition(".")[2]
            while parent:
                found = self._below.get(parent)
                if found is not None:
                    return found
                parent = parent.partition(".")[2]
        return self._default


def read_route(pattern: str, route: Route) -> RouteTarget:
    """A route of the configuration as a target. Raises `ValueError` where `to` cannot be read."""
    endpoint = parse_route_target(route.to)
    if endpoint is None:
        return RouteTarget(pattern, tls=route.tls, login=route.login, ca=route.ca)
    return RouteTarget(pattern, endpoint.host, endpoint.port, route.tls, route.login, route.ca)
