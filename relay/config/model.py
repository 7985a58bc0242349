"""The configuration as typed, immutable values.

Every key that the YAML file may hold is declared here, with its default and its meaning; unknown
keys are refused. Named things (listeners, credentials, sets, pools) are mappings keyed by name.
`relay.config.load` turns a file into a `Config`; nothing else constructs one at run time.
"""

import os
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from relay.config.bounces import Bounces
from relay.config.events import EventDestination
from relay.config.fleet import Fleet
from relay.config.headers import FeedbackSender, Unsubscribe
from relay.config.message_log import MessageLog
from relay.config.names import (
    parse_address,
    parse_bind_address,
    parse_domain,
    parse_identity,
    parse_nameserver,
    parse_network,
    parse_route_match,
    parse_route_target,
)
from relay.config.passwords import check_hash, is_hash
from relay.config.paths import FilePath
from relay.config.reactions import ReactionRule
from relay.config.reputation import Reputation
from relay.config.returns import Returns
from relay.config.section import Section as _Section
from relay.config.shaping import Provider, Shaping
from relay.config.store import StoreConfig
from relay.config.suppression import Suppression, SuppressionReason
from relay.config.units import (
    MOST_DAYS,
    Rate,
    parse_days,
    parse_duration,
    parse_quota,
    parse_rate,
    parse_size,
)
from relay.mail.address import AddressError, parse_mailbox


def cores() -> int:
    """How many processor cores this process may run on."""
    return len(os.sched_getaffinity(0))


def _bind_address(text: str) -> str:
    return str(parse_bind_address(text))


def _nameserver(text: str) -> str:
    return str(parse_nameserver(text))


def _mailbox(text: str) -> str:
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise ValueError("allowed is a mail address such as postmaster@example.com") from error


def _route_target(text: str) -> str:
    return str(parse_route_target(text) or "mx")


def _secret(text: str) -> str:
    return check_hash(text) if is_hash(text) else text


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network)]
Address = Annotated[IPv4Address | IPv6Address, BeforeValidator(parse_address)]
Domain = Annotated[str, AfterValidator(parse_domain)]
IdentityName = Annotated[str, AfterValidator(parse_identity)]
BindAddress = Annotated[str, AfterValidator(_bind_address)]
NameServer = Annotated[str, AfterValidator(_nameserver)]
RouteMatch = Annotated[str, AfterValidator(parse_route_match)]
RouteTarget = Annotated[str, AfterValidator(_route_target)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Secret = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_secret)]
PasswordHash = Annotated[str, AfterValidator(check_hash)]
Switch = Annotated[bool, Field(strict=True)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Timeout = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size)]
Quota = Annotated[int, BeforeValidator(parse_quota)]
Days = Annotated[int, BeforeValidator(parse_days)]
RateLimit = Annotated[Rate, BeforeValidator(parse_rate)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
OnLimit = Literal["reject", "queue"]
TlsPolicy = Literal["opportunistic", "require", "none"]


class Tls(_Section):
    """Certificate and key that the listeners present. Re-read on reload."""

    certificate: FilePath = Field(description="PEM, the leaf first, then its chain")
    key: FilePath
    minimum_version: Literal["1.2", "1.3"] = "1.2"


class Listener(_Section):
    """One address on which clients connect."""

    address: BindAddress = Field(description="host:port, as 0.0.0.0:587 or [::]:587")
    tls: Literal["starttls", "implicit"] = "starttls"
    networks: tuple[Network, ...] = Field((), description="client networks allowed; empty: any")
    proxy_protocol: tuple[Network, ...] = Field(
        (), description="load balancers whose PROXY header is required and trusted; empty: off"
    )


class Bounds(_Section):
    """What one client, and all together, may ask of the front end."""

    message_size: Size = 40_000_000
    header_size: Size = 256_000
    recipients: int = Field(100, ge=1, le=100_000, description="recipients of one message")
    connections: int = Field(10_000, ge=1)
    connections_per_client: int = Field(500, ge=1)
    connections_per_credential: int = Field(1_000, ge=1)
    messages_per_session: int = Field(10_000, ge=1)
    login_timeout: Timeout = Field(60.0, description="from connecting to a successful AUTH")
    command_timeout: Timeout = Field(300.0, description="between two commands")
    data_timeout: Timeout = Field(180.0, description="between two chunks of one message")
    message_timeout: Timeout = Field(3600.0, description="for one message in all")
    failed_logins: int = Field(3, ge=1, description="failed AUTH in one session before it is cut")
    failed_login_delay: Duration = Field(1.0, description="before a failed AUTH is answered")
    block_after: int = Field(
        20, ge=1, description="failed AUTH of one client address until blocked"
    )
    block_for: Timeout = 600.0
    bytes_in_flight: Size = Field(256_000_000, description="message bytes in memory, all sessions")
    minimum_free_disk: Size = Field(200_000_000, description="below it, MAIL is answered 452")


class Sending(_Section):
    """A sending rate and a rolling 24-hour quota, both counted per recipient as SES does."""

    rate: RateLimit | None = None
    quota: Quota | None = None
    on_limit: OnLimit = Field("queue", description="reject as SES does (454), or accept and pace")


class Credential(Sending):
    """Who may log in, and what they may do then. Its secrets are given here or by the CLI."""

    password: Secret | None = Field(
        None, repr=False, description="usually ${file:…} or ${env:…}; or a hash of it"
    )
    password_hashes: tuple[PasswordHash, ...] = Field(
        (), repr=False, max_length=10, description="several are live together, for rotation"
    )
    identities: tuple[IdentityName, ...] = Field(
        (), description="identities it may send as; empty: all"
    )
    configuration_sets: tuple[Name, ...] = Field((), description="sets it may name; empty: all")
    configuration_set: Name | None = Field(None, description="used when the message names none")
    networks: tuple[Network, ...] = ()
    enabled: Switch = True


class DkimKey(_Section):
    """A private key (RSA or Ed25519, PEM) and the selector under which DNS has its public half."""

    selector: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
    key: FilePath
    canonicalization: Literal["relaxed/simple", "relaxed/relaxed"] = "relaxed/simple"


class Identity(_Section):
    """A domain or an address that mail may be sent from. The most specific one wins."""

    dkim: tuple[DkimKey, ...] = ()
    configuration_set: Name | None = None
    mail_from: Domain | None = Field(
        None,
        max_length=190,
        description="its mail goes out with a return-path of the relay's on this domain",
    )


class ConfigurationSet(_Section):
    """How a stream of mail is sent: through which pool, under which limits and TLS policy.

    `rate` and `quota` delay mail; they never refuse it.
    """

    pool: Name
    rate: RateLimit | None = None
    quota: Quota | None = None
    sending: Switch = Field(True, description="false pauses the set: its mail is refused by name")
    tls: TlsPolicy = "opportunistic"
    max_age: Duration = Field(50_400.0, ge=1, description="after which undelivered mail bounces")
    suppression: tuple[SuppressionReason, ...] | None = Field(
        None,
        max_length=3,
        description="entries that keep its mail from being sent; absent: as the account; []: none",
    )
    priority: Literal["high", "normal", "low"] = Field(
        "normal", description="16 : 4 : 1, where mail of several sets waits for its turn"
    )
    reputation: Reputation | None = Field(
        None, description="by which it is warned of and paused; absent: as reputation says"
    )
    movable: Switch = Field(True, description="whether operators may move its mail to other pools")
    feedback_id: FeedbackSender | None = Field(
        None, description="its mail has a Feedback-ID, whose last part this is"
    )
    unsubscribe: Unsubscribe | None = Field(None, description="its mail has List-Unsubscribe")
    events: tuple[Name, ...] = Field(
        (), max_length=10, description="destinations that are told what becomes of its mail"
    )


class WarmupCurve(_Section):
    """What may be sent on each day of a warm-up: `days` one by one, or a curve of `length` days
    from `first` to `target`. In recipients in any 24 hours."""

    days: tuple[Quota, ...] = Field((), max_length=MOST_DAYS, description="none less than before")
    length: Days | None = Field(None, description="2d to 366d")
    target: Quota | None = Field(None, description="on the last day")
    first: Quota = Field(50, description="on the first day")


class Warmup(WarmupCurve):
    """A schedule by which a new source address earns its reputation. `standard` is built in."""

    providers: Mapping[Name, WarmupCurve] = Field(
        {}, description="allowances of their own, within that of the address"
    )


class Source(_Section):
    """One source IP address of a pool."""

    address: Address
    ehlo: Domain | None = Field(None, description="EHLO name; default: the relay's hostname")
    weight: int = Field(1, ge=0, le=1000)
    rate: RateLimit | None = None
    quota: Quota | None = None
    warmup: Name | None = Field(None, description="standard, or one of warmups; absent: it is warm")


class Pool(_Section):
    """A dedicated IP pool: the source addresses that share the mail of its configuration sets."""

    sources: tuple[Source, ...] = Field(min_length=1)
    rate: RateLimit | None = None
    quota: Quota | None = None
    when_warming: Literal["overflow", "wait"] = Field(
        "overflow", description="what exceeds a warm-up: to warm addresses, or until it may go"
    )
    providers: Mapping[Name, Shaping] = Field({}, description="for its sources, by provider")


class RouteLogin(_Section):
    username: str
    password: Annotated[str, Field(min_length=1, max_length=512)] = Field(repr=False)


class Route(_Section):
    """Where mail for matching recipient domains goes. The most specific match wins."""

    to: RouteTarget = Field(description="mx, or a smarthost as host:port")
    tls: (
        Literal["opportunistic", "require", "none", "verify", "implicit", "implicit_verify"] | None
    ) = Field(
        None, description="default: what the configuration set says; verify checks the certificate"
    )
    ca: FilePath | None = Field(
        None, description="PEM of the authorities that verify believes, instead of the system's"
    )
    login: RouteLogin | None = None


class Delivery(_Section):
    """How outgoing connections behave."""

    connections: int = Field(500, ge=1, description="outgoing connections in all")
    connections_per_destination: int = Field(
        20, ge=1, description="of one source, where no definition of a provider says"
    )
    messages_per_connection: int = Field(100, ge=1, description="likewise")
    idle_timeout: Timeout = Field(10.0, description="before an unused connection is closed")
    connect_timeout: Timeout = 30.0
    command_timeout: Timeout = 300.0
    data_timeout: Timeout = Field(180.0, description="for one block of a message to be taken")
    final_timeout: Timeout = Field(600.0, description="for the reply to the final dot")
    working_set: int = Field(5_000, ge=10, description="queued deliveries held in memory")
    dialogues: Literal["all", "failures", "none"] = Field(
        "all", description="of which attempts the SMTP dialogue is kept"
    )
    keep_dialogues: Duration = Field(259_200.0, description="how long")
    most_dialogues: int = Field(
        500_000, ge=0, le=100_000_000, description="at a time, about 1 kB each"
    )
    allow_private_destinations: Switch = Field(
        False, description="let MX records lead to loopback and private addresses"
    )
    nameservers: tuple[NameServer, ...] = Field(
        (), max_length=16, description="address[:port] each; empty: those of /etc/resolv.conf"
    )


class TlsReports(_Section):
    """Daily reports to domains that ask how TLS with them went (TLSRPT, RFC 8460)."""

    send: Switch = False
    organization: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="who reports, for people; default: the relay's hostname"
    )
    contact: Mailbox | None = Field(None, description="whom a receiver may ask; required to send")
    sender: Mailbox | None = Field(
        None, description="the From of reports, of one of the identities; default: contact"
    )
    configuration_set: Name | None = Field(
        None, description="how reports are sent; default: default_configuration_set"
    )


class Transport(_Section):
    """Which policies of recipient domains for TLS are honoured."""

    mta_sts: Switch = Field(True, description="MTA-STS, RFC 8461")
    dane: Switch = Field(
        False, description="DANE, RFC 7672; needs name servers that validate DNSSEC"
    )
    trusted_nameservers: tuple[NameServer, ...] = Field(
        (),
        max_length=16,
        description="whose word on DNSSEC is believed though they are not on loopback",
    )
    tls_reports: TlsReports = TlsReports()


class Retry(_Section):
    """When a delivery that failed for now is tried again."""

    schedule: tuple[Timeout, ...] = Field(
        (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0),
        min_length=1,
        max_length=100,
        description="intervals; the last one repeats until the message is too old",
    )
    jitter: float = Field(0.1, ge=0, le=0.5, description="share of each interval, plus or minus")


class Metrics(_Section):
    address: BindAddress = Field("127.0.0.1:2580", description="for /metrics, /healthz and /readyz")


class Logging(_Section):
    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Simulator(_Section):
    """A mailbox simulator on loopback: a receiving server for development and tests."""

    address: BindAddress = "127.0.0.1:2526"
    mailbox: FilePath = Field(Path("mailbox"), validate_default=True)


class Shutdown(_Section):
    grace: Duration = Field(30.0, description="for sessions and deliveries in flight on SIGTERM")


class Config(_Section):
    """The whole configuration. Paths are absolute after loading (relative to the file)."""

    hostname: Domain
    data_dir: FilePath
    tls: Tls
    listeners: Mapping[Name, Listener] = Field(min_length=1)
    bounds: Bounds = Bounds()
    account: Sending = Sending()
    credentials: Mapping[Name, Credential] = {}
    identities: Mapping[IdentityName, Identity] = Field(min_length=1)
    configuration_sets: Mapping[Name, ConfigurationSet] = Field(min_length=1)
    default_configuration_set: Name | None = None
    pools: Mapping[Name, Pool] = Field(min_length=1)
    warmups: Mapping[Name, Warmup] = {}
    routes: Mapping[RouteMatch, Route] = {"*": Route(to="mx")}
    providers: Mapping[Name, Provider] = Field({}, description="over the shipped ones, key by key")
    delivery: Delivery = Delivery()
    transport: Transport = Transport()
    retry: Retry = Retry()
    reactions: tuple[ReactionRule, ...] = Field(
        (), max_length=1_000, description="what to do when a provider says this or that"
    )
    bounces: Bounces = Bounces()
    returns: Returns | None = Field(
        None, description="where reports and complaints come in; absent: nowhere"
    )
    events: Mapping[Name, EventDestination] = Field(
        {}, max_length=100, description="who is told what becomes of mail"
    )
    suppression: Suppression = Suppression()
    reputation: Reputation = Reputation()
    message_log: MessageLog = MessageLog()
    store: StoreConfig = StoreConfig()
    fleet: Fleet = Fleet()
    metrics: Metrics = Metrics()
    logging: Logging = Logging()
    simulator: Simulator | None = None
    simulator_addresses: Switch = Field(
        True, description="whether simulator.<hostname> is the mailbox simulator, as SES has one"
    )
    shutdown: Shutdown = Shutdown()
    workers: int = Field(
        default_factory=cores,
        ge=1,
        le=256,
        description="processes that carry mail; left out: one for each core",
    )
    received_header: Switch = True
