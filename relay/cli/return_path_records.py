"""What DNS must say of a MAIL FROM domain: where bounces come back to, and who may send for it.

A receiver takes the reverse-path's domain for SPF (RFC 7208 §2.4); a bounce goes to its MX. Of an
SPF record only what is written in it is compared, `ip4`, `ip6` and `all`: what it includes is the
business of others, and said to be so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import dns.exception
import dns.resolver

from relay.cli.txt_records import AskTxt, LookupFailed, resolver_of
from relay.config.model import Identity

AskMx = Callable[[str], list[str]]

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class CheckedDomain:
    """A MAIL FROM domain and what is wrong with it; `notes` are no faults."""

    domain: str
    identities: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def ask_mx(nameserver: str = "") -> AskMx:
    """A function that asks for the MX hosts of a name; none is an empty list."""
    resolver = resolver_of(nameserver)

    def ask(name: str) -> list[str]:
        try:
            answer = resolver.resolve(name, "MX", lifetime=_PATIENCE_S, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as error:
            raise LookupFailed(f"DNS gave no answer for {name}: {error}") from None
        return [str(record.exchange).rstrip(".") for record in answer]

    return ask


def domains_of(identities: Mapping[str, Identity]) -> dict[str, tuple[str, ...]]:
    """The MAIL FROM domains of a configuration, each with the identities that name it."""
    found: dict[str, list[str]] = {}
    for name, identity in identities.items():
        if identity.mail_from:
            found.setdefault(identity.mail_from, []).append(name)
    return {domain: tuple(names) for domain, names in found.items()}


def check_domain(
    domain: str,
    identities: tuple[str, ...],
    sources: Sequence[str],
    txt: AskTxt,
    mx: AskMx,
) -> CheckedDomain:
    """Compare DNS with what mail of `identities` from the addresses `sources` needs."""
    problems: list[str] = []
    notes: list[str] = []
    try:
        if not any(mx(domain)):
            problems.append("no MX record: bounces cannot come back")
        _check_spf([text for text in txt(domain) if _is_spf(text)], sources, problems, notes)
    except LookupFailed as error:
        problems.append(str(error))
    notes += [_not_aligned(name) for name in identities if not _is_aligned(domain, name)]
    return CheckedDomain(domain, identities, tuple(problems), tuple(notes))


def _is_spf(text: str) -> bool:
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def _check_spf(
    records: Sequence[str], sources: Iterable[str], problems: list[str], notes: list[str]
) -> None:
    if not records:
        problems.append("no SPF record: a TXT record as v=spf1 ip4:ADDRESS -all")
        return
    if len(records) > 1:
        problems.append(f"{len(records)} SPF records: receivers take none of them; leave one")
        return
    terms = [term.lower().removeprefix("+") for term in records[0].split()[1:]]
    missing = [source for source in sources if not any(_covers(term, source) for term in terms)]
    if not missing:
        return
    told = ", ".join(missing)
    if any(_refers(term) for term in terms):
        notes.append(f"the SPF record names {told} only by what it refers to, if at all")
    else:
        problems.append(f"the SPF record does not allow {told}")


def _covers(term: str, source: str) -> bool:
    """Whether a term allows an address by itself."""
    if term == "all":
        return True
    kind, _, network = term.partition(":")
    if kind not in ("ip4", "ip6"):
        return False
    try:
        return ip_address(source) in ip_network(network, strict=False)
    except ValueError:
        return False


def _refers(term: str) -> bool:
    """Whether a term leads to other names."""
    name = term.partition("=")[0].partition(":")[0].partition("/")[0]
    return name in ("include", "redirect", "a", "mx", "exists", "ptr")


def _is_aligned(domain: str, identity: str) -> bool:
    """Whether SPF counts for DMARC of the identity's own domain (relaxed, RFC 7489 §3.1.2), as far
    as names alone say: one is the other, or above it."""
    own = identity.rpartition("@")[2]
    return domain == own or domain.endswith(f".{own}") or own.endswith(f".{domain}")


def _not_aligned(identity: str) -> str:
    return f"not below {identity.rpartition('@')[2]}: its mail passes DMARC by DKIM alone"
