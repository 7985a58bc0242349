"""What one key says against another: names that must exist, addresses that must not collide,
limits that make no sense together.

These checks read the plain document, not the typed configuration, so that they are told together
with all other problems. What a type already refuses they pass over in silence.
"""

from collections.abc import Callable, Iterator

from relay.config.document import Document
from relay.config.event_checks import check_destinations
from relay.config.model import Bounds
from relay.config.names import (
    RESERVED_CREDENTIAL,
    Endpoint,
    parse_address,
    parse_bind_address,
    parse_identity,
    parse_route_match,
)
from relay.config.problems import KeyPath, Problem, did_you_mean, key_text, listed
from relay.config.provider_checks import check_providers
from relay.config.providers import shipped_providers
from relay.config.reputation_checks import check_reputation
from relay.config.returns import LISTENER
from relay.config.shaping import DEFAULT
from relay.config.store import StoreConfig
from relay.config.transport_keys import transport_problems
from relay.config.units import parse_duration, parse_size
from relay.config.warmups import check_warmups


def cross_check(document: Document) -> list[Problem]:
    """Every problem between keys; an empty list where all is well."""
    return [problem for check in _CHECKS for problem in check(document)]


def _references(document: Document) -> Iterator[Problem]:
    """Names that point at an entry elsewhere."""
    sets = _Names(document, "configuration set", "configuration_sets")
    pools = _Names(document, "pool", "pools")
    destinations = _Names(document, "event destination", "events", needed=True)
    identities = _Names(document, "identity", "identities", parse_identity)
    yield from sets.check(("default_configuration_set",))
    yield from sets.check(("transport", "tls_reports", "configuration_set"))
    for name in document.names("configuration_sets"):
        yield from pools.check(("configuration_sets", name, "pool"))
        for entry in document.entries("configuration_sets", name, "events"):
            yield from destinations.check(entry)
    for name in document.names("identities"):
        yield from sets.check(("identities", name, "configuration_set"))
    for name in document.names("credentials"):
        yield from sets.check(("credentials", name, "configuration_set"))
        for entry in document.entries("credentials", name, "configuration_sets"):
            yield from sets.check(entry)
        for entry in document.entries("credentials", name, "identities"):
            yield from identities.check(entry)


class _Names:
    """The names of one section, in normal form, and the check that a value is one of them."""

    def __init__(
        self,
        document: Document,
        kind: str,
        section: str,
        form: Callable[[str], str] = str,
        *,
        needed: bool = False,
    ) -> None:
        """Where the section may be left out, names that it lacks are wrong without it too: such a
        one is `needed`. One that must be there is missed elsewhere."""
        self._document, self._kind, self._form = document, kind, form
        self._known = {_normal(name, form) for name in document.names(section)} - {None}
        self._needed = needed

    def check(self, path: KeyPath) -> Iterator[Problem]:
        wanted = _normal(self._document.text(path) or "", self._form)
        if not wanted or wanted in self._known or not (self._known or self._needed):
            return  # a wrong type, and a section that is missing, are told elsewhere
        known = [name for name in self._known if name]
        yield self._document.problem(
            path,
            f"no {self._kind} {self._document.show(path)}",
            listed(known) or "one that the configuration has",
            did_you_mean(wanted, known),
        )


def _normal(text: str, form: Callable[[str], str]) -> str | None:
    try:
        return form(text)
    except ValueError:
        return None


def _credential_defaults(document: Document) -> Iterator[Problem]:
    """A credential whose own default set is not among those that it may name."""
    for name in document.names("credentials"):
        path = ("credentials", name, "configuration_set")
        allowed = [
            document.text(entry)
            for entry in document.entries("credentials", name, "configuration_sets")
        ]
        if allowed and document.text(path) and document.text(path) not in allowed:
            yield document.problem(
                path,
                f"{document.show(path)} is not among its configuration_sets",
                listed(filter(None, allowed)),
            )


def _reserved(document: Document) -> Iterator[Problem]:
    """The name under which the relay counts the reports that it writes itself."""
    for name in document.names("credentials"):
        if name == RESERVED_CREDENTIAL:
            path = ("credentials", name)
            yield document.problem(path, f"the name {name}", "another: this one is the relay's own")


def _returns(document: Document) -> Iterator[Problem]:
    """The listener for what comes back: its name is not for others, and there must be something to
    come back."""
    if LISTENER in document.names("listeners"):
        path = ("listeners", LISTENER)
        yield document.problem(path, f"the name {LISTENER}", "another: returns is a section")
    if not isinstance(document.at(("returns",)), dict):
        return
    identities = document.names("identities")
    if identities and not any(document.text(("identities", n, "mail_from")) for n in identities):
        yield document.problem(
            ("returns",),
            "a listener for reports, and no identity with a mail_from that they could come to",
            "mail_from in one of the identities",
        )


def _same_name_twice(document: Document) -> Iterator[Problem]:
    """Identities and routes that are equal once in normal form."""
    forms: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("identities", parse_identity),
        ("routes", parse_route_match),
    )
    for section, form in forms:
        seen: dict[str, str] = {}
        for name in document.names(section):
            normal = _normal(name, form)
            if normal is None:
                continue
            if normal in seen:
                yield document.problem(
                    (section, name), f"is the same as {seen[normal]!r}", at_key=True
                )
            seen.setdefault(normal, name)


def _selectors(document: Document) -> Iterator[Problem]:
    for name in document.names("identities"):
        seen: set[str] = set()
        for entry in document.entries("identities", name, "dkim"):
            path = (*entry, "selector")
            selector = (document.text(path) or "").lower()
            if selector and selector in seen:
                yield document.problem(
                    path, f"{document.show(path)} is used twice", "a selector of its own"
                )
            seen.add(selector)


def _rule_names(document: Document) -> Iterator[Problem]:
    """Rules are told apart by name, in log lines and metrics."""
    for section in (("reactions",), ("bounces", "rules")):
        seen: set[str] = set()
        for entry in document.entries(*section):
            path = (*entry, "name")
            name = document.text(path) or ""
            if name and name in seen:
                yield document.problem(
                    path, f"{document.show(path)} is used twice", "a name of its own"
                )
            seen.add(name)


def _rules_for_providers(document: Document) -> Iterator[Problem]:
    """Rules for a provider that no definition names would never be met."""
    known = sorted({*document.names("providers"), *shipped_providers()} - {DEFAULT})
    rules = [*document.entries("reactions"), *document.entries("bounces", "rules")]
    for rule in rules:
        path = (*rule, "provider")
        for entry in document.entries(*path) or [path]:
            name = document.text(entry)
            if name and name not in known:
                yield document.problem(
                    entry,
                    f"no provider {document.show(entry)}",
                    listed(known),
                    did_you_mean(name, known),
                )


def _pools(document: Document) -> Iterator[Problem]:
    for name in document.names("pools"):
        sources = document.entries("pools", name, "sources")
        weights = [document.text((*source, "weight")) for source in sources]
        if sources and all(weight is not None and weight.strip("0") == "" for weight in weights):
            yield document.problem(
                ("pools", name, "sources"),
                "every weight is 0, so nothing can be sent",
                "at least one weight of 1 or more",
            )
        seen: set[object] = set()
        for source in sources:
            path = (*source, "address")
            try:
                address = parse_address(document.text(path))
            except ValueError:
                continue
            if address in seen:
                yield document.problem(
                    path, f"{document.show(path)} is twice in this pool", "each address once"
                )
            if address.is_multicast:
                yield document.problem(path, document.show(path), "an address of this host")
            seen.add(address)


def _addresses(document: Document) -> Iterator[Problem]:
    """Two of our own listeners on one address and port."""
    paths: list[KeyPath] = [("listeners", name, "address") for name in document.names("listeners")]
    # Where the metrics address is not written it has a default, which can collide too.
    paths += [("metrics", "address")]
    if isinstance(document.at(("simulator",)), dict):
        paths.append(("simulator", "address"))
    if isinstance(document.at(("returns",)), dict):
        paths.append(("returns", "address"))
    defaults = {
        ("metrics", "address"): "127.0.0.1:2580",
        ("simulator", "address"): "127.0.0.1:2526",
    }
    taken: list[tuple[Endpoint, KeyPath]] = []
    for path in paths:
        written = document.text(path) or defaults.get((str(path[0]), str(path[-1])))
        try:
            endpoint = parse_bind_address(written or "")
        except ValueError:
            continue
        for other, at in taken:
            if _collide(endpoint, other):
                yield document.problem(
                    path,
                    f"{endpoint} collides with {other} of {key_text(at)}",
                    "another address or port",
                )
                break
        taken.append((endpoint, path))


def _collide(one: Endpoint, other: Endpoint) -> bool:
    """Whether both would bind the same port; `0.0.0.0` and `[::]` take it on every address."""
    if one.port != other.port or one.port == 0:
        return False
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
    if one.host == other.host or "::" in (one.host, other.host):
        return True
    families = {endpoint.address.version for endpoint in (one, other) if endpoint.address}
    return len(families) == 1 and not everywhere.isdisjoint((one.host, other.host))


def _simulator(document: Document) -> Iterator[Problem]:
    if "simulator" in document.names() and document.at(("simulator",)) is None:
        yield document.problem(("simulator",), "nothing", "{} to run it, or leave the key out")
    path = ("simulator", "address")
    try:
        endpoint = parse_bind_address(document.text(path) or "")
    except ValueError:
        return
    if endpoint.address and not endpoint.address.is_loopback:
        yield document.problem(
            path, document.show(path), "a loopback address: it takes mail from anyone"
        )


def _routes(document: Document) -> Iterator[Problem]:
    routes = document.names("routes")
    simulator = f"simulator.{document.text(('hostname',)) or ''}".lower()
    for name in routes:
        if name.lower() == simulator and document.text(("simulator_addresses",)) != "false":
            yield document.problem(
                ("routes", name),
                "a route for the domain of the mailbox simulator",
                "another domain, or simulator_addresses: false",
            )
        tls, to = ("routes", name, "tls"), document.text(("routes", name, "to")) or ""
        if to.lower() == "mx" and document.at(("routes", name, "login")) is not None:
            yield document.problem(
                ("routes", name, "login"), "a login for mx", "a login for a smarthost only"
            )
        if to.lower() == "mx" and (document.text(tls) or "").startswith("implicit"):
            found = f"{document.show(tls)} for mx"
            yield document.problem(tls, found, "opportunistic, require, none, verify")
        if document.at(("routes", name, "login")) is not None and document.text(tls) == "none":
            yield document.problem(tls, "'none' with a login", "TLS, so that nobody reads it")
        ca = ("routes", name, "ca")
        if document.at(ca) is not None and document.text(tls) not in ("verify", "implicit_verify"):
            yield document.problem(
                ca,
                "a ca for a route that checks no certificate",
                "a ca with tls: verify or implicit_verify",
            )


def _sizes(document: Document) -> Iterator[Problem]:
    message = _number(document, ("bounds", "message_size"), parse_size, Bounds().message_size)
    smaller: tuple[tuple[KeyPath, float], ...] = (
        (("bounds", "header_size"), Bounds().header_size),
        (("store", "inline_size"), StoreConfig().inline_size),
    )
    for path, default in smaller:
        if _number(document, path, parse_size, default) > message:
            yield _too_large(document, path, ("bounds", "message_size"), f"{message:,.0f} bytes")
    in_flight = ("bounds", "bytes_in_flight")
    if _number(document, in_flight, parse_size, Bounds().bytes_in_flight) < _number(
        document, ("store", "inline_size"), parse_size, StoreConfig().inline_size
    ):
        yield document.problem(
            in_flight, "is less than store.inline_size", "room for many messages at once"
        )


def _times(document: Document) -> Iterator[Problem]:
    whole = ("bounds", "message_timeout")
    limit = _number(document, whole, parse_duration, Bounds().message_timeout)
    path = ("bounds", "data_timeout")
    if _number(document, path, parse_duration, Bounds().data_timeout) > limit:
        yield _too_large(document, path, whole, f"{limit:,.0f} seconds")


def _too_large(document: Document, path: KeyPath, whole: KeyPath, limit: str) -> Problem:
    """The problem stands at whichever of the two is written."""
    name, other = key_text(path), key_text(whole)
    if document.at(path) is None:
        return document.problem(whole, f"{document.show(whole)} is less than {name}")
    return document.problem(path, f"{document.show(path)} is more than {other}", f"at most {limit}")


def _number(
    document: Document, path: KeyPath, parse: Callable[[object], float], default: float
) -> float:
    try:
        return parse(document.text(path)) if document.text(path) else default
    except ValueError:
        return default


_CHECKS: tuple[Callable[[Document], Iterator[Problem]], ...] = (
    _references,
    _credential_defaults,
    _reserved,
    _returns,
    _same_name_twice,
    _selectors,
    _rule_names,
    check_providers,
    _rules_for_providers,
    _pools,
    _addresses,
    _simulator,
    _routes,
    transport_problems,
    _sizes,
    _times,
    check_warmups,
    check_reputation,
    check_destinations,
)
