"""What `relay init` was told, read into a plan: pure, and all mistakes at once."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from relay.config.names import (
    Endpoint,
    parse_address,
    parse_bind_address,
    parse_domain,
    parse_identity,
    parse_route_match,
    parse_route_target,
)

_IMPLICIT_TLS_PORTS = frozenset({465, 2465})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_Value = TypeVar("_Value")


class InitError(Exception):
    """Why nothing was set up: sentences for the person who asked, one a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """The options of `relay init`, as text.

    `listen` holds `ADDRESS:PORT`; ports 465 and 2465 get implicit TLS, others STARTTLS, unless
    `/implicit` or `/starttls` follows. `sources` holds `ADDRESS` (the pool `default`) or
    `POOL=ADDRESS`: each pool gets a configuration set of its own name. `routes` holds
    `MATCH=TARGET`. The first of `password_files` has the password of the first of `credentials`,
    and so on; a credential without one is given a password that is made. `data_dir` is relative
    to the directory. `force` replaces an existing `relay.yaml`, and the certificate where
    an earlier run made it and it does not serve any more; keys stay.
    """

    hostname: str
    listen: tuple[str, ...] = ("127.0.0.1:2587",)
    identities: tuple[str, ...]
    sources: tuple[str, ...]
    routes: tuple[str, ...] = ("*=mx",)
    credentials: tuple[str, ...] = ("app",)
    password_files: tuple[Path, ...] = ()
    metrics: str = "127.0.0.1:2580"
    data_dir: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The options in normal form. `listen` maps names to (endpoint, tls)."""

    hostname: str
    listen: dict[str, tuple[Endpoint, str]]
    identities: tuple[str, ...]
    pools: dict[str, tuple[str, ...]]
    routes: dict[str, str]
    credentials: tuple[str, ...]
    metrics: Endpoint


def read_options(options: InitOptions) -> Plan:
    """The plan; raises `InitError` with everything that cannot be read."""
    problems: list[str] = []

    def read(name: str, text: str, parse: Callable[[str], _Value]) -> _Value | None:
        try:
            return parse(text)
        except ValueError as error:
            problems.append(f"--{name} {text!r}: {error}")
            return None

    def read_all(name: str, texts: Sequence[str], parse: Callable[[str], _Value]) -> list[_Value]:
        values = [value for text in texts if (value := read(name, text, parse)) is not None]
        if not texts:
            problems.append(f"--{name}: at least one is needed")
        return values

    hostname = read("hostname", options.hostname, parse_domain)
    listen = read_all("listen", options.listen, _listen)
    identities = read_all("identity", options.identities, parse_identity)
    sources = read_all("source", options.sources, _source)
    routes = read_all("route", options.routes, _route)
    credentials = read_all("credential", options.credentials, _name)
    metrics = read("metrics", options.metrics, parse_bind_address)
    problems += _repeated("identity", identities) + _repeated("credential", credentials)
    problems += _repeated("source", (f"{pool}={address}" for pool, address in sources))
    problems += _repeated("route", (match for match, _ in routes))
    if len(options.password_files) > len(options.credentials):
        problems.append("--password-file: there are more of them than of --credential")
    if problems or hostname is None or metrics is None:
        raise InitError(problems)
    return Plan(
        hostname,
        _named(listen),
        tuple(identities),
        {
            pool: tuple(address for other, address in sources if other == pool)
            for pool in dict.fromkeys(pool for pool, _ in sources)
        },
        dict(routes),
        tuple(credentials),
        metrics,
    )


def _listen(text: str) -> tuple[Endpoint, str]:
    address, slash, tls = text.partition("/")
    endpoint = parse_bind_address(address)
    if slash and tls not in ("starttls", "implicit"):
        raise ValueError("allowed after the slash is starttls or implicit")
    return endpoint, tls or ("implicit" if endpoint.port in _IMPLICIT_TLS_PORTS else "starttls")


def _named(listen: Iterable[tuple[Endpoint, str]]) -> dict[str, tuple[Endpoint, str]]:
    """Names for listeners: `submission` and `submissions`, as IANA calls them; `…2` for more."""
    named: dict[str, tuple[Endpoint, str]] = {}
    for endpoint, tls in listen:
        base = "submissions" if tls == "implicit" else "submission"
        count = sum(1 for _, other in named.values() if other == tls)
        named[base if count == 0 else f"{base}-{count + 1}"] = endpoint, tls
    return named


def _source(text: str) -> tuple[str, str]:
    pool, equals, address = text.rpartition("=")
    return (_name(pool) if equals else "default"), str(parse_address(address))


def _route(text: str) -> tuple[str, str]:
    match, equals, target = text.partition("=")
    if not equals:
        raise ValueError("allowed is MATCH=TARGET, as *=mx or example.com=10.0.0.5:25")
    return parse_route_match(match), str(parse_route_target(target) or "mx")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("allowed is a name of letters, digits, - and _, at most 64 of them")
    return text


def _repeated(option: str, values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for value in values:
        if value in seen:
            repeated[value] = None
        seen.add(value)
    return [f"--{option} {value}: given twice" for value in repeated]
