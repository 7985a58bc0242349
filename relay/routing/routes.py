"""Which route mail for a recipient domain takes: the most specific match wins.

In order: the domain itself (`example.com`, or an address literal `[192.0.2.1]`); the nearest parent
given as `*.example.com` or `.example.com` (subdomains only, not `example.com`); `*`; and where
nothing matches, the domain's MX. Pure. Never resolves a name. What it cannot read raises
`ValueError` with a sentence that says what is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import idna

from relay.config.model import ConfigurationSet, Route, RouteLogin
from relay.routing.plan import Destination, DestinationTls

_ALLOWED = "allowed is mx, or a smarthost as host:port, such as smtp.example.com:587 or [::1]:25"


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """A route as read from the configuration; `tls` is None where the configuration set decides."""

    match: str
    host: str = ""
    port: int = 25
    tls: DestinationTls | None = None
    login: RouteLogin | None = None

    def destination(self, configuration_set: ConfigurationSet) -> Destination:
        """The destination with the TLS policy in force: the route's beats the set's."""
        return Destination(
            kind="smarthost" if self.host else "mx",
            host=self.host,
            port=self.port,
            tls=self.tls or configuration_set.tls,
            login=self.login,
            match=self.match,
        )


class RouteTable:
    """The routes of a configuration, compiled for look-up by recipient domain."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._exact: dict[str, RouteTarget] = {}
        self._below: dict[str, RouteTarget] = {}
        self._default = RouteTarget(match="")
        for pattern, route in routes.items():
            self._add(pattern.strip().lower().rstrip("."), read_route(pattern, route))

    def _add(self, pattern: str, target: RouteTarget) -> None:
        if pattern == "*":
            self._default = target
        elif pattern.startswith(("*.", ".")):
            self._below[_a_label(pattern.removeprefix("*").removeprefix("."))] = target
        else:
            self._exact[_a_label(pattern)] = target

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
    if route.to.strip().lower() == "mx":
        return RouteTarget(pattern, tls=route.tls, login=route.login)
    host, port = read_smarthost(route.to)
    return RouteTarget(pattern, host, port, route.tls, route.login)


def read_smarthost(text: str) -> tuple[str, int]:
    """`host:port` as host (a name, or an IP address without brackets) and port."""
    host, colon, digits = text.strip().rpartition(":")
    port = int(digits) if digits.isascii() and digits.isdigit() else 0
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or not 0 < port < 65536 or (":" in host and not bracketed):
        raise ValueError(f"route to {text!r}: {_ALLOWED}")
    if bracketed:
        try:
            return str(ip_address(host.removeprefix("IPv6:"))), port
        except ValueError:
            raise ValueError(f"route to {text!r}: {host!r} is no IP address; {_ALLOWED}") from None
    return _a_label(host.lower().rstrip(".")), port


def _a_label(domain: str) -> str:
    """Non-ASCII names as recipients carry them (RFC 5891); ASCII ones unchanged."""
    if domain.isascii():
        return domain
    return idna.encode(domain, uts46=True).decode("ascii")
