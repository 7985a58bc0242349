"""What an operator may ask of TLS with other relays: the values of each question and answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsRequest:
    """What must TLS with the mail hosts of `domain` be, for mail of a configuration set? Where none
    is named it is that of `default_configuration_set`, or the first one."""

    domain: str
    configuration_set: str = ""


@dataclass(frozen=True, slots=True)
class TlsHost:
    """A mail host: what is demanded of a connection to it, and the TLSA records that it has."""

    name: str
    address: str
    demand: str
    tlsa: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BrokenTls:
    """A host whose TLS is known to be broken: mail goes in clear text for `seconds` more."""

    worker: str
    site: str
    host: str
    reason: str
    seconds: int


@dataclass(frozen=True, slots=True)
class TlsOutlook:
    """What will happen with TLS to a domain. `policy` is what the domain demands, in words, and
    `policy_until` (UTC ms, 0: it has none) until when its MTA-STS policy holds at least;
    `problem` says why its hosts, or the policy that it announces, could not be had."""

    domain: str
    configuration_set: str
    word: str
    policy: str
    hosts: tuple[TlsHost, ...] = ()
    problem: str = ""
    policy_until: int = 0
    reports_to: tuple[str, ...] = ()
    broken: tuple[BrokenTls, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsCountsRequest:
    """Sessions by day, of one domain or (empty) of all."""

    domain: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class TlsReportRequest:
    """The report to a domain of one day, given in days since the epoch (UTC)."""

    domain: str
    day: int


@dataclass(frozen=True, slots=True)
class TlsReportText:
    """A report as it would be sent, or was: the JSON of RFC 8460."""

    text: str
