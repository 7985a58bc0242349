"""The values of routing: where mail for a domain goes, from which addresses, and why it cannot.

Owns no decision. All values are frozen and hashable, so that a `Destination` or a `Host` may key a
pool of connections. `RoutingFailure` is the one way in which routing says no; it carries a reply in
the form of a peer's, so that `feedback.classify` judges it like any other (phase `routing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from relay.config.model import RouteLogin, Source
from relay.mail.replies import Reply
from relay.routing.tlsa import NO_TLSA, HostTlsa
from relay.routing.transport import DestinationTls

Family = Literal[4, 6]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where mail goes: to the MX hosts of the recipient's domain, to one smarthost, or (no further
    than this process) to the mailbox simulator.

    `tls` is the policy in force, after the route's word and the configuration set's:

    - `opportunistic`: TLS where the peer offers it, clear text where not or where it breaks;
    - `require`: TLS or no delivery, any certificate;
    - `verify`: TLS with a certificate that is valid for `host`, or no delivery;
    - `implicit`: TLS from the first octet on (a port such as 465), any certificate;
    - `implicit_verify`: the same with a certificate that is valid for `host`;
    - `none`: never TLS.

    `match` is the pattern of the route that won (`""`: no route matched, which means `mx`).
    `ca` is a PEM file of the authorities that a certificate is checked with, None for the system's.
    `host` is a name or an IP address without brackets, `""` for `mx`; `port` is 25 for `mx`.
    """

    kind: Literal["mx", "smarthost", "simulator"]
    host: str = ""
    port: int = 25
    tls: DestinationTls = "opportunistic"
    login: RouteLogin | None = field(default=None, repr=False)
    match: str = ""
    ca: Path | None = None

    def __str__(self) -> str:
        if self.kind == "mx":
            return "mx"
        if self.kind == "simulator":
            return "the mailbox simulator"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One source address of a pool, and why it may not be used (`excluded`; `""`: it may)."""

    source: Source
    ehlo: str
    weight: int
    excluded: str = ""
    address: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", str(self.source.address))

    @property
    def family(self) -> Family:
        return 4 if self.source.address.version == 4 else 6


@dataclass(frozen=True, slots=True)
class Plan:
    """How one configuration set sends to one domain: from `candidates` of `pool`, to `route`."""

    configuration_set: str
    pool: str
    candidates: tuple[Candidate, ...]
    route: Destination

    @property
    def eligible(self) -> tuple[Candidate, ...]:
        return tuple(candidate for candidate in self.candidates if not candidate.excluded)


@dataclass(frozen=True, slots=True)
class Host:
    """One address to connect to. `name` is what a certificate is checked against; `tlsa` says what
    DNS knows of its certificates, where that counts for the destination."""

    name: str
    address: str
    port: int = 25
    tlsa: HostTlsa = NO_TLSA

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port}"


class RoutingFailure(Exception):
    """There is no way to the destination: for now (`reply` is 4yz) or at all (5yz).

    `outcome` is the bounded word for metrics. `other_family` is set where the destination is
    reachable, only not from an address of the family that was asked for: a source of the other
    family may be tried at once.
    """

    def __init__(self, reply: Reply, outcome: str, *, other_family: bool = False) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.outcome = outcome
        self.other_family = other_family

    @property
    def permanent(self) -> bool:
        return self.reply.is_permanent


def no_source(pool: str, candidates: Sequence[Candidate]) -> Reply:
    """Why a pool cannot send now, as the reply under which its mail is deferred (X.4.4)."""
    reasons = "; ".join(f"{c.address}: {c.excluded}" for c in candidates if c.excluded)
    text = f"no source address of pool {pool} can send now"
    return Reply(451, "4.4.4", f"{text} ({reasons})"[:512] if reasons else text)
