"""What transport to a destination must be: the policy of a domain, the demand on a host.

A *policy* is what the recipient's domain publishes (MTA-STS, and whether DANE applies). A *demand*
is what one connection to one host must fulfil, once the operator's word (route, configuration set)
and the policy are put together. Pure; all values are frozen and hashable, so that they may key a
pool of connections.

| the operator's word | MTA-STS and DANE of the domain |
|---|---|
| `opportunistic`, `require`, `verify` | are kept on top of it, and can only make it stricter |
| `implicit`, `implicit_verify`, `none`, a smarthost | are not looked at: the operator has decided |

DANE beats MTA-STS where a host has both, also where DANE fails (RFC 8461 §2).
"""

from dataclasses import dataclass, replace
from typing import Literal

from relay.routing.mta_sts import StsPolicy
from relay.routing.tlsa import NO_TLSA, HostTlsa, Tlsa

DestinationTls = Literal[
    "opportunistic", "require", "verify", "implicit", "implicit_verify", "none"
]
Encryption = Literal["never", "offered", "always", "implicit"]
Trust = Literal["anybody", "authority", "dane"]
PolicyType = Literal["no-policy-found", "sts", "tlsa"]
"""As TLS reports name them (RFC 8460 §4.4)."""

DOMAIN_POLICIES_HOLD: frozenset[str] = frozenset({"opportunistic", "require", "verify"})


@dataclass(frozen=True, slots=True)
class TransportPolicy:
    """What a recipient domain publishes. `dane`: its MX answer was authenticated by DNSSEC, so
    that TLSA records of its hosts count. `sts`: its MTA-STS policy, enforced or tested."""

    sts: StsPolicy | None = None
    dane: bool = False

    def __str__(self) -> str:
        """In words; empty where nothing is demanded."""
        sts = self.sts
        known = f"MTA-STS {sts.mode} (id {sts.id}, mx {', '.join(sts.mx)})" if sts else ""
        dane = "DNSSEC, so TLSA records of its hosts count" if self.dane else ""
        return "; ".join(filter(None, (known, dane)))


OPPORTUNISTIC = TransportPolicy()


@dataclass(frozen=True, slots=True)
class Demand:
    """What one connection must fulfil.

    - `encryption`: `never`; `offered` (TLS where the peer can, clear text where not); `always`;
      `implicit` (from the first octet).
    - `trust`: whose certificate will do: `anybody`'s, one that an `authority` of ours vouches for
      and that names the host, or (`dane`) whatever `tlsa` records name. Where there are `tlsa`
      records they must name it in any case.
    - `refusal`: why this host must not be used at all, as a clause; `""` where it may be.
    - `trial`: what an MTA-STS policy in testing would demand. It is tried first; what fails then is
      counted, and not refused.
    - `reason`: on whose word, for people: `MTA-STS of example.org`.
    - `policy_type`, `policy_domain`, `policy`: the same, as TLS reports have it.
    """

    encryption: Encryption
    trust: Trust = "anybody"
    tlsa: tuple[Tlsa, ...] = ()
    base: str = ""
    refusal: str = ""
    trial: "Demand | None" = None
    reason: str = ""
    policy_type: PolicyType = "no-policy-found"
    policy_domain: str = ""
    policy: tuple[str, ...] = ()

    @property
    def may_fall_back(self) -> bool:
        """Whether mail may go in clear text where TLS is missing or broken."""
        return self.encryption == "offered" and not self.refusal


_OPERATOR: dict[DestinationTls, Demand] = {
    "opportunistic": Demand("offered", reason="opportunistic"),
    "require": Demand("always", reason="the operator requires TLS"),
    "verify": Demand("always", "authority", reason="the operator requires a valid certificate"),
    "implicit": Demand("implicit", reason="the operator requires TLS"),
    "implicit_verify": Demand(
        "implicit", "authority", reason="the operator requires a valid certificate"
    ),
    "none": Demand("never", reason="the operator wants no TLS"),
}


def demand_on(
    host: str, word: DestinationTls, policy: TransportPolicy, tlsa: HostTlsa = NO_TLSA
) -> Demand:
    """What a connection to the mail host named `host` must fulfil."""
    own = _OPERATOR[word]
    if word not in DOMAIN_POLICIES_HOLD or policy == OPPORTUNISTIC:
        return own
    if policy.dane and tlsa.status != "none":
        return _dane(host, own, tlsa)
    if policy.sts is not None and policy.sts.mode != "none":
        return _mta_sts(host, own, policy.sts)
    return own


_IN_WORDS: dict[Encryption, str] = {
    "never": "clear text only",
    "offered": "TLS where it is offered, else clear text",
    "always": "TLS or no delivery",
    "implicit": "TLS from the first octet or no delivery",
}
_TRUST_IN_WORDS: dict[Trust, str] = {
    "anybody": "any certificate",
    "authority": "a certificate that is valid for the host",
    "dane": "a certificate that its TLSA records name",
}


def in_words(demand: Demand) -> str:
    """What a connection must fulfil, and on whose word, for people."""
    if demand.refusal:
        return f"not used: {demand.refusal} ({demand.reason})"
    trust = "" if demand.encryption == "never" else f", {_TRUST_IN_WORDS[demand.trust]}"
    both = " and that its TLSA records name" if demand.tlsa and demand.trust == "authority" else ""
    return f"{_IN_WORDS[demand.encryption]}{trust}{both} ({demand.reason})"


def _dane(host: str, own: Demand, tlsa: HostTlsa) -> Demand:
    records = tuple(str(record) for record in tlsa.records)
    strict = Demand(
        "always",
        "dane",
        reason=f"DANE of {host}",
        policy_type="tlsa",
        policy_domain=tlsa.base or host,
        policy=records,
    )
    if tlsa.status == "failed":
        return replace(strict, refusal=f"its TLSA records could not be looked up ({tlsa.detail})")
    usable = tlsa.usable
    if not usable:
        # TLS is mandatory, and nothing can be checked but what the operator wants (RFC 7672 §2.2).
        text = f"{strict.reason} (no record is usable: any certificate)"
        return replace(strict, trust=own.trust, reason=text)
    trust: Trust = "authority" if own.trust == "authority" else "dane"
    return replace(strict, trust=trust, tlsa=usable, base=tlsa.base or host)


def _mta_sts(host: str, own: Demand, policy: StsPolicy) -> Demand:
    reason = f"MTA-STS of {policy.domain}"
    fits = policy.allows(host)
    refusal = "" if fits else f"the MTA-STS policy of {policy.domain} does not name it"
    strict = Demand(
        "always",
        "authority",
        refusal=refusal,
        reason=reason,
        policy_type="sts",
        policy_domain=policy.domain,
        policy=policy.strings,
    )
    if policy.mode == "enforce":
        return strict
    return replace(own, trial=strict, reason=f"{own.reason}; {reason} is only tested")
