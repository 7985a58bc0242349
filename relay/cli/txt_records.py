"""TXT records from DNS: a question and its answer, or a sentence that says why there is none."""

from collections.abc import Callable
from ipaddress import ip_address

import dns.exception
import dns.resolver

from relay.cli.failures import USAGE, CommandFailed
from relay.config.names import parse_endpoint

AskTxt = Callable[[str], list[str]]

_PATIENCE_S = 10.0


class LookupFailed(Exception):
    """DNS did not answer. Its text says how."""


def ask_txt(nameserver: str = "") -> AskTxt:
    """A function that asks for the TXT records of a name, each with its strings joined.

    No record, or no such name, is an empty list.
    """
    resolver = resolver_of(nameserver)

    def ask(name: str) -> list[str]:
        try:
            answer = resolver.resolve(name, "TXT", lifetime=_PATIENCE_S, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise LookupFailed(f"DNS gave no answer for {name}: {error}") from None
        return [b"".join(record.strings).decode("utf-8", "backslashreplace") for record in answer]

    return ask


def resolver_of(nameserver: str) -> dns.resolver.Resolver:
    """A resolver that asks one server (ADDRESS or ADDRESS:PORT); the host's where it is empty."""
    if not nameserver:
        try:
            return dns.resolver.Resolver()
        except dns.exception.DNSException as error:
            raise CommandFailed(f"this host has no usable resolver: {error}") from None
    address, port = nameserver, 53
    try:
        ip_address(nameserver)
    except ValueError:
        try:
            endpoint = parse_endpoint(nameserver)
            address, port = str(ip_address(endpoint.host)), endpoint.port
        except ValueError:
            raise CommandFailed(
                f"--nameserver {nameserver!r} is not ADDRESS or ADDRESS:PORT", USAGE
            ) from None
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [address]
    resolver.port = port
    return resolver
