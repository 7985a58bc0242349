"""What the configuration asks of this machine, and whether the machine has it.

Reads files and binds sockets to port 0 for a moment; changes nothing. Nearly all of it is told
as warnings, because a configuration may be checked on another machine than it runs on, and a
source address may come up later. What no machine could use is an error. Raises nothing.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from relay.config.certificate import certificate_problems
from relay.config.dkim_keys import dkim_key_problem
from relay.config.document import Document, is_secret
from relay.config.event_checks import destination_problems
from relay.config.identities import dkim_keys_for, find_identity
from relay.config.model import Config
from relay.config.names import (
    Endpoint,
    parse_bind_address,
    parse_identity,
    parse_route_match,
)
from relay.config.passwords import is_hash
from relay.config.problems import KeyPath, Problem
from relay.config.references import referenced_file
from relay.config.resolv_conf import host_name_servers, untrusted_name_servers

_NET_BIND_SERVICE = 10  # the bit of CAP_NET_BIND_SERVICE, linux/capability.h


def check_machine(
    config: Config, document: Document | None = None, *, now: datetime | None = None
) -> list[Problem]:
    """Problems of `config` on this machine, with the places in `document` where it is given."""
    places = document or Document(Path("configuration"), {}, {}, {})
    moment = now or datetime.now(UTC)
    return [
        *_sources(config, places),
        *_bind_addresses(config, places),
        *_tls(config, places, moment),
        *_dkim(config, places),
        *_private_files(config, places),
        *_data_dir(config, places),
        *_store(config, places),
        *_dnssec(config, places),
        *_authorities(config, places),
        *_reports(config, places),
        *destination_problems(config, places),
    ]


def _sources(config: Config, document: Document) -> Iterator[Problem]:
    for name, pool in config.pools.items():
        for index, source in enumerate(pool.sources):
            if reason := _cannot_bind(str(source.address)):
                path = ("pools", name, "sources", index, "address")
                yield document.problem(
                    path,
                    f"{source.address} {reason}",
                    hint="mail is not sent from it until it is there",
                    warning=True,
                )


def _bind_addresses(config: Config, document: Document) -> Iterator[Problem]:
    wanted: list[tuple[KeyPath, str]] = [
        (("listeners", name, "address"), listener.address)
        for name, listener in config.listeners.items()
    ]
    wanted.append((("metrics", "address"), config.metrics.address))
    if config.returns:
        wanted.append((("returns", "address"), config.returns.address))
    if config.simulator:
        wanted.append((("simulator", "address"), config.simulator.address))
    lowest = _lowest_free_port()
    for path, text in wanted:
        endpoint = parse_bind_address(text)
        if reason := _cannot_bind(_bind_host(endpoint)):
            yield document.problem(path, f"{endpoint.host} {reason}", warning=True)
        if 0 < endpoint.port < lowest:
            yield document.problem(
                path,
                f"port {endpoint.port} needs a privilege that this user does not have",
                f"ports from {lowest} up",
                "run with CAP_NET_BIND_SERVICE, as deploy/relay.service does",
                warning=True,
            )


def _bind_host(endpoint: Endpoint) -> str:
    return "127.0.0.1" if endpoint.host == "localhost" else endpoint.host


def _cannot_bind(host: str) -> str:
    """Why no socket can be bound to the address `host`, or nothing where one can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return "is not an address of this host"
        return f"cannot be bound: {error.strerror or error}"
    return ""


def _lowest_free_port() -> int:
    """The lowest port that this process may bind; 1024 where the system does not say."""
    if os.geteuid() == 0:
        return 1
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        if int(effective.split()[1], 16) >> _NET_BIND_SERVICE & 1:
            return 1
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, StopIteration, ValueError):
        return 1024


def _tls(config: Config, document: Document, now: datetime) -> Iterator[Problem]:
    for part, found, hint in certificate_problems(config.tls, config.hostname, now):
        yield document.problem(("tls", part), found, hint=hint, warning=True)


def _dkim(config: Config, document: Document) -> Iterator[Problem]:
    for path, file in _dkim_keys(config, document):
        if told := dkim_key_problem(file):
            yield document.problem(path, told.found, told.allowed, warning=not told.fatal)


def _dkim_keys(config: Config, document: Document) -> Iterator[tuple[KeyPath, Path]]:
    """Every DKIM key file, at the identity's name as the file has it, which may differ in case."""
    written: dict[str, str] = {}
    for name in document.names("identities"):
        with suppress(ValueError):
            written[parse_identity(name)] = name
    for name, identity in config.identities.items():
        for index, key in enumerate(identity.dkim):
            yield ("identities", written.get(name, name), "dkim", index, "key"), key.key


def _private_files(config: Config, document: Document) -> Iterator[Problem]:
    """Files with secrets in them that more than their owner can read."""
    files = [(("tls", "key"), config.tls.key), *_dkim_keys(config, document)]
    literal = False
    for path, text in document.written.items():
        if file := referenced_file(text, document.file.parent):
            files.append((path, file))
        elif is_secret(path) and not text.startswith("${") and not is_hash(text):
            literal = True
    if config.store.holds_password and not _is_referenced(document, ("store", "url"), ("store",)):
        literal = True
    if config.store.password_file is not None:
        files.append((("store", "password_file"), config.store.password_file))
    if literal:
        files.append(((), document.file))
    for path, file in files:
        mode = _mode(file)
        if mode & 0o077:
            who = "others" if mode & 0o007 else "its group"
            holds = " and holds a password" if path == () else ""
            yield document.problem(
                path,
                f"{file} can be read by {who}{holds} (mode {mode:04o})",
                hint=f"chmod 600 {file}",
                warning=True,
            )


def _is_referenced(document: Document, *paths: KeyPath) -> bool:
    """Whether the value stands elsewhere, in a file or in the environment."""
    return any(document.written.get(path, "").startswith("${") for path in paths)


def _store(config: Config, document: Document) -> Iterator[Problem]:
    """A password that is not there; a database to which mail and password would go in clear; and
    a queue of before, which nobody sends."""
    file = config.store.password_file
    if file is not None and not os.access(file, os.R_OK):
        yield document.problem(
            ("store", "password_file"), f"{file} cannot be read by this user", warning=True
        )
    if config.store.url is None:
        return
    path = ("store", "url") if ("store", "url") in document.places else ("store",)
    if os.path.exists(config.data_dir / "relay.db"):
        yield document.problem(
            path,
            f"{config.data_dir} has a queue in files, and nobody sends its mail while this is set",
            hint="relay store copy takes it into an empty database (docs/fleet.md)",
            warning=True,
        )
    if config.store.is_local or config.store.demands_encryption:
        return
    yield document.problem(
        path,
        "the database is on another machine, and nothing demands that the way be encrypted",
        hint="add ?sslmode=verify-full&sslrootcert=FILE to the URL",
        warning=True,
    )


def _data_dir(config: Config, document: Document) -> Iterator[Problem]:
    directory = config.data_dir

    def tell(found: str, hint: str = "") -> Problem:
        return document.problem(("data_dir",), found, hint=hint, warning=True)

    if os.path.exists(directory):
        if not os.path.isdir(directory):
            yield tell(f"{directory} is not a directory")
        elif not os.access(directory, os.W_OK | os.X_OK):
            yield tell(f"{directory} is not writable by this user")
        if (mode := _mode(directory)) & 0o077:
            yield tell(f"{directory} is open to others (mode {mode:04o})", f"chmod 700 {directory}")
        return
    parent = next((above for above in directory.parents if os.path.exists(above)), None)
    if parent is None or not os.access(parent, os.W_OK | os.X_OK):
        yield tell(f"{directory} is not there and this user cannot make it")


def _authorities(config: Config, document: Document) -> Iterator[Problem]:
    """Files of authorities that routes verify certificates with."""
    written: dict[str, str] = {}
    for name in document.names("routes"):
        with suppress(ValueError):
            written[parse_route_match(name)] = name
    for name, route in config.routes.items():
        if route.ca is None:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(route.ca)
        except OSError as error:
            holds_none = isinstance(error, ssl.SSLError)
            yield document.problem(
                ("routes", written.get(name, name), "ca"),
                f"{route.ca}: {'it holds no certificates' if holds_none else error.strerror}",
                "a PEM file with certificates of authorities",
            )


def _dnssec(config: Config, document: Document) -> Iterator[Problem]:
    """DANE with the name servers of the host, whose word may not be worth anything."""
    if not config.transport.dane or config.delivery.nameservers:
        return  # what the configuration names itself is checked without the machine
    servers = ", ".join(str(server) for server in untrusted_name_servers(config))
    if servers or not host_name_servers():
        yield document.problem(
            ("transport", "dane"),
            f"true with name servers that are not on loopback ({servers or 'none is set up'})",
            "a validating name server on loopback, or one of transport.trusted_nameservers",
        )


def _reports(config: Config, document: Document) -> Iterator[Problem]:
    """TLS reports that go out without a signature, unless a smarthost signs them."""
    keys = config.transport.tls_reports
    sender = keys.sender or keys.contact
    if not (keys.send and sender):
        return
    identity = find_identity(config.identities, sender) or ""
    if not dkim_keys_for(config.identities, identity, sender)[1]:
        yield document.problem(
            ("transport", "tls_reports", "send"),
            f"true, and no DKIM key signs mail of {sender}",
            hint="receivers throw away reports that are not signed (RFC 8460 section 3)",
            warning=True,
        )


def _mode(file: Path) -> int:
    """The permission bits; 0 where the file cannot be looked at (told elsewhere)."""
    try:
        return file.stat().st_mode & 0o777
    except OSError:
        return 0
