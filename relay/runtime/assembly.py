"""What one configuration gives rise to, built whole before any of it is put in force.

Everything here that can fail (keys, certificates) fails in `assemble`, with every problem named, so
that a reload applies all of a configuration or nothing.
"""

import ssl
from dataclasses import dataclass

from relay.config.model import Config
from relay.config.names import parse_nameserver
from relay.config.resolv_conf import untrusted_name_servers
from relay.delivery.tls import AuthorityError, TlsContexts
from relay.frontend.tls import TlsError, server_context
from relay.mail.simulated import simulator_domain
from relay.mail.verp import VerpKey
from relay.routing.answers import TransportResolver
from relay.routing.health import SourceHealth
from relay.routing.router import Router
from relay.routing.sites import Policies
from relay.signing.keys import KeyFileError, KeyRing
from relay.signing.make import record_name, record_text
from relay.signing.return_path_keys import load_or_make
from relay.signing.return_paths import ReturnPaths, uses_return_paths


class AssemblyError(Exception):
    """A configuration whose files cannot be used. `problems` has a sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts that belong to one configuration, and change with it."""

    config: Config
    keyring: KeyRing
    router: Router
    tls: ssl.SSLContext
    contexts: TlsContexts
    return_paths: ReturnPaths
    return_path_keys: tuple[VerpKey, ...] = ()


def assemble(
    config: Config,
    resolver: TransportResolver,
    health: SourceHealth,
    policies: Policies | None = None,
) -> Assembly:
    """Read keys and certificates (blocking) and plan routes. Raises `AssemblyError`."""
    problems: list[str] = []
    keyring: KeyRing | None = None
    tls: ssl.SSLContext | None = None
    return_path_keys: tuple[VerpKey, ...] = ()
    try:
        keyring = KeyRing.load(config)
    except KeyFileError as error:
        problems += error.problems
    try:
        if uses_return_paths(config):
            return_path_keys = load_or_make(config.data_dir)
    except KeyFileError as error:
        problems += error.problems
    try:
        tls = server_context(config.tls)
    except TlsError as error:
        problems.append(str(error))
    if config.transport.dane and (servers := untrusted_name_servers(config)):
        told = ", ".join(str(server) for server in servers)
        problems.append(
            f"transport.dane rests on the word of the name servers, and {told} may be spoken for:"
            " allowed are those on loopback and transport.trusted_nameservers"
        )
    contexts: TlsContexts | None = None
    try:
        contexts = TlsContexts.make(
            own={route.ca for route in config.routes.values() if route.ca is not None}
        )
    except AuthorityError as error:
        problems.append(str(error))
    if keyring is None or tls is None or contexts is None or problems:
        raise AssemblyError(tuple(problems))
    router = Router(config, resolver, health, policies=policies)
    simulator = simulator_domain(config.hostname) if config.simulator_addresses else ""
    return_paths = ReturnPaths(config.identities, return_path_keys, simulator)
    return Assembly(config, keyring, router, tls, contexts, return_paths, return_path_keys)


def published_records(keyring: KeyRing) -> dict[str, str]:
    """The DKIM records that the keys call for, by DNS name: what the simulator verifies with."""
    return {record_name(key.domain, key.selector): record_text(key.private) for key in keyring}


def name_servers(config: Config) -> tuple[tuple[str, int], ...] | None:
    """The name servers (address and port) that are configured; None for those of the host."""
    endpoints = [parse_nameserver(text) for text in config.delivery.nameservers]
    return tuple((endpoint.host, endpoint.port) for endpoint in endpoints) or None
