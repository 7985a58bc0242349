"""The rules of RFC 5321 §5.1: from the MX records of a domain to the hosts to try, in order.

Pure: answers of DNS in, hosts or a `RoutingFailure` out; chance (equal preference) is injected.
What may bounce and what must wait is decided here and nowhere else:

| DNS says | mail |
|---|---|
| the domain does not exist (NXDOMAIN) | bounces, 550 5.1.2 |
| the domain takes no mail (null MX, RFC 7505) | bounces, 556 5.1.10 |
| no host for mail has any address | bounces, 550 5.4.4 |
| we are the best host ourselves | bounces, 554 5.4.6 |
| no answer, SERVFAIL or a timeout where a host might be | waits, 451 4.4.3 |
| hosts only at addresses that are refused, or of the other IP family | waits, 451 4.4.4 |

The address of the domain itself stands in for MX records only where DNS says that there are none;
never where it did not answer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random

from relay.mail.replies import Reply
from relay.routing.addresses import DestinationRule, IpAddress
from relay.routing.answers import AddressAnswer, MxAnswer
from relay.routing.plan import Family, Host, RoutingFailure

MAX_EXCHANGES = 20
MAX_ADDRESSES_EACH = 8


@dataclass(frozen=True, slots=True)
class Exchange:
    """One host that takes mail for a domain; lower preference comes first."""

    preference: int
    name: str


def exchanges(domain: str, answer: MxAnswer, own_names: Collection[str]) -> tuple[Exchange, ...]:
    """The hosts of a domain by preference and name, the 20 best at most: the same for all domains
    that have the same hosts.

    Where this relay is among them, it and all that are not better than it are left out (mail would
    come back). Raises `RoutingFailure`.
    """
    if answer.status == "nxdomain":
        raise nonexistent(domain)
    if answer.status == "failure":
        raise no_answer(domain, "MX", answer.detail)
    if answer.status == "nodata":
        if domain in own_names:
            raise loop(domain)
        return (Exchange(0, domain),)
    if all(name == "" for _, name in answer.records):
        text = f"{domain} does not accept mail (it has a null MX record)"
        raise RoutingFailure(Reply(556, "5.1.10", text), "domain_unknown")
    found = {Exchange(preference, name) for preference, name in answer.records if name}
    hosts = [exchange for exchange in found if not _is_address(exchange.name)]
    if not hosts:
        text = f"the MX records of {domain} name IP addresses, not hosts"
        raise RoutingFailure(Reply(550, "5.4.4", text), "unreachable")
    kept = better_than(hosts, [e.preference for e in hosts if e.name in own_names])
    if not kept:
        raise loop(domain)
    kept.sort(key=lambda exchange: (exchange.preference, exchange.name))
    return tuple(kept[:MAX_EXCHANGES])


def better_than(hosts: Sequence[Exchange], own: Sequence[int]) -> list[Exchange]:
    """The hosts preferred to the best of our `own` preferences; all where we are not among them."""
    if not own:
        return list(hosts)
    limit = min(own)
    return [exchange for exchange in hosts if exchange.preference < limit]


def in_turn(hosts: Sequence[Exchange], rng: Random) -> tuple[Exchange, ...]:
    """The order in which hosts are tried: by preference, and where that is equal at random, to
    spread the load."""
    shuffled = list(hosts)
    rng.shuffle(shuffled)
    return tuple(sorted(shuffled, key=lambda exchange: exchange.preference))


def hosts(
    domain: str,
    port: int,
    located: Sequence[tuple[Exchange, AddressAnswer]],
    rule: DestinationRule,
    rng: Random,
) -> tuple[Host, ...]:
    """The addresses to try, in the order of `located`; several of one host in random order.

    Raises `RoutingFailure` where none is left. "No address of this family" is told by
    `NoAddress`, since the other family may have one.
    """
    own = [
        exchange.preference
        for exchange, answer in located
        if any(rule.own.listens_at(address, port) for address in answer.addresses)
    ]
    kept = better_than([exchange for exchange, _ in located], own)
    if not kept:
        raise loop(domain)
    found: dict[IpAddress, Host] = {}  # an address that two names share is tried once
    refused: list[str] = []
    for exchange, answer in located:
        if exchange in kept:
            for address in _some(answer.addresses, rng):
                if refusal := rule.refusal(address):
                    refused.append(f"{exchange.name} has {refusal}, {address}")
                else:
                    found.setdefault(address, Host(exchange.name, str(address), port))
    if found:
        return tuple(found.values())
    for exchange, answer in located:
        if exchange in kept and answer.status == "failure":
            raise no_answer(exchange.name, "address", answer.detail)
    if refused:
        raise RoutingFailure(Reply(451, "4.4.4", refused_text(domain, refused[0])), "unreachable")
    raise NoAddress(domain, [exchange.name for exchange in kept])


def _some(addresses: Sequence[IpAddress], rng: Random) -> list[IpAddress]:
    if len(addresses) < 2:
        return list(addresses)
    return rng.sample(addresses, min(len(addresses), MAX_ADDRESSES_EACH))


class NoAddress(RoutingFailure):
    """No host of the domain has an address (of the family that was asked for)."""

    def __init__(self, domain: str, names: Sequence[str]) -> None:
        known = ", ".join(names[:3])
        text = (
            f"{domain} has neither an MX record nor an address"
            if list(names) == [domain]
            else f"none of the mail hosts of {domain} has an address ({known})"
        )
        super().__init__(Reply(550, "5.4.4", text), "unreachable")


def other_family(domain: str, family: Family) -> RoutingFailure:
    """The domain has hosts, but none that a source of this family can reach."""
    text = f"no mail host of {domain} has an IPv{family} address, as the source address has"
    return RoutingFailure(Reply(451, "4.4.4", text), "unreachable", other_family=True)


def nonexistent(domain: str) -> RoutingFailure:
    text = f"the domain {domain} does not exist"
    return RoutingFailure(Reply(550, "5.1.2", text), "domain_unknown")


def no_answer(name: str, what: str, detail: str) -> RoutingFailure:
    """DNS did not answer, which says nothing about the domain: the mail waits."""
    text = f"DNS gave no {what} answer for {name}" + (f" ({detail})" if detail else "")
    return RoutingFailure(Reply(451, "4.4.3", text), "dns")


def loop(domain: str) -> RoutingFailure:
    text = f"mail for {domain} would come back to this relay: it is the domain's best mail host"
    return RoutingFailure(Reply(554, "5.4.6", text), "unreachable")


def refused_text(domain: str, what: str) -> str:
    return (
        f"mail for {domain} is not sent: {what}; "
        "set delivery.allow_private_destinations, or a route for the domain, to allow it"
    )


def _is_address(name: str) -> bool:
    """An IP address where a host name belongs; some write it with a final dot, as a name."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
