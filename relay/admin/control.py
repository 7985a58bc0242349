"""What an operator may ask of a relay: the values of each question and answer.

`Control` is what a running relay answers by itself (the runtime implements it). `Operations` is
what rests on the store alone: `relay.admin.operations.StoreOperations` implements it once, for the
runtime, which serves it on the control socket, and for the command line, which runs it in its own
process where no relay does.

All values are frozen and travel as JSON with the field names given here; these names are stable
(`relay … --json` prints them). Times are UTC milliseconds since the epoch, spans are seconds. No
value holds a stored secret; a `Login` holds a password made a moment ago, once.

A request that cannot be met raises `Refused` with a sentence for the operator.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from relay.admin.reactions import ClearReactions
from relay.admin.tls_values import TlsOutlook, TlsRequest
from relay.admin.unclassified import UnclassifiedRequest
from relay.feedback.restraints import Restraint
from relay.store.values import (
    Attempt,
    QueueEntry,
    QueueFilter,
    SuppressionEntry,
    Suspension,
    UnclassifiedReply,
)

if TYPE_CHECKING:
    from relay.admin.events import EventOperations
    from relay.admin.explained import MessageExplanation
    from relay.admin.messages import MessageOperations
    from relay.admin.nodes import DrainStatus, NodeOperations, PublishedNow
    from relay.admin.pools import PoolOperations
    from relay.admin.reputation import ReputationOperations
    from relay.admin.summaries import SummaryOperations
    from relay.admin.suppression import SuppressionOperations
    from relay.admin.suspensions import SuspensionOperations
    from relay.admin.tls import TlsOperations
    from relay.admin.top import Look

T = TypeVar("T")
RefusalKind = Literal["invalid", "not_found", "conflict", "unavailable", "internal"]


class Refused(Exception):
    """What was asked cannot be done. `str(error)` is one sentence that says why, and what to do."""

    def __init__(self, message: str, kind: RefusalKind = "invalid") -> None:
        super().__init__(message)
        self.kind: RefusalKind = kind


# Health


@dataclass(frozen=True, slots=True)
class Health:
    """Whether all is well; `reasons` says what is not, one sentence each."""

    ok: bool
    reasons: tuple[str, ...] = ()


# Status


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """One listener: the address that it is bound to and its open client sessions."""

    name: str
    address: str
    tls: str
    connections: int = 0


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source address of a pool. `reason` says why it is not used; empty where it is."""

    pool: str
    address: str
    weight: int
    available: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What one configuration set has queued. `oldest_accepted_at` is 0 where nothing is."""

    configuration_set: str
    queued: int
    held: int
    oldest_accepted_at: int
    quarantined: int = 0
    suspended: int = 0


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """The level of one limit. `key` is as `set:NAME`, `pool:NAME`, `source:ADDRESS`.

    `used` counts recipients in the limit's window (24 hours for a quota). `free_at` is when the
    next recipient may go, 0 for now. Of a rate that nodes of a fleet share, `share` is the part of
    this node, of which it has `used` so many.
    """

    key: str
    kind: Literal["rate", "quota"]
    limit: str
    used: int
    free_at: int = 0
    share: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One process that carries mail, and how many clients it serves now."""

    name: str
    pid: int
    connections: int


@dataclass(frozen=True, slots=True)
class Status:
    """A running relay at a glance. While the store cannot be reached `store_error` says why,
    `store_away_since` (UTC ms) since when, and what is in the store is as it was seen last."""

    version: str
    hostname: str
    pid: int
    started_at: int
    config_path: str
    config_epoch: int
    config_loaded_at: int
    last_reload_error: str
    health: Health
    readiness: Health
    listeners: tuple[ListenerStatus, ...] = ()
    metrics_address: str = ""
    queue: tuple[QueueStatus, ...] = ()
    workers: tuple[WorkerStatus, ...] = ()
    working_set: int = 0
    outbound_connections: int = 0
    sources: tuple[SourceStatus, ...] = ()
    limits: tuple[LimitStatus, ...] = ()
    suppressions: int = 0
    store_error: str = ""
    store_away_since: int = 0
    suspensions: tuple[Suspension, ...] = ()
    free_bytes: int = 0
    certificate_expires_at: int = 0


# Configuration


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The end of a reload. Where `accepted` is False the old configuration stays in force, and
    `problems` says why; otherwise `problems` are warnings. `epoch` is the one in force now."""

    accepted: bool
    epoch: int
    problems: tuple[str, ...] = ()


# Explaining


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """What would become of a message from `sender` to `recipient`?"""

    sender: str
    recipient: str
    configuration_set: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedKey:
    """A DKIM key that would sign."""

    domain: str
    selector: str
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedSource:
    """A source of the pool. `excluded` says why it would not be chosen; empty where it may be.
    `shape` is what it sends to the destination at most."""

    address: str
    ehlo: str
    weight: int
    excluded: str = ""
    shape: str = ""


@dataclass(frozen=True, slots=True)
class ExplainedHost:
    """A host that would be connected to, in this order; `tls` says what TLS with it must be."""

    name: str
    address: str
    port: int
    tls: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decisions about one message, in the order in which they are taken.

    `refusal` is the reply that a client would get, empty where the message is accepted; what
    cannot be known then (no identity, no set) is empty. `return_path` is `""` where the client's
    own envelope sender stays; else TOKEN in it stands for what is another one for each message.
    `carried_by` are other nodes that it is left to, for they have addresses of its pool.
    """

    sender: str
    recipient: str
    refusal: str = ""
    identity: str = ""
    configuration_set: str = ""
    configuration_set_from: str = ""
    keys: tuple[ExplainedKey, ...] = ()
    return_path: str = ""
    suppression: SuppressionEntry | None = None
    pool: str = ""
    sources: tuple[ExplainedSource, ...] = ()
    carried_by: tuple[str, ...] = ()
    route: str = ""
    destination: str = ""
    site: str = ""
    provider: str = ""
    hosts: tuple[ExplainedHost, ...] = ()
    hosts_problem: str = ""
    tls: str = ""
    limits: tuple[LimitStatus, ...] = ()
    reactions: tuple[Restraint, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    retry: tuple[float, ...] = ()
    max_age: float = 0.0


# Sending a test message


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A wish for a one-time password of a configured credential."""

    credential: str


@dataclass(frozen=True, slots=True)
class Login:
    """A password that is good for one login until `expires_at`, and where to use it."""

    username: str
    password: str
    expires_at: int
    listeners: tuple[ListenerStatus, ...]

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, expires_at={self.expires_at})"


# What rests on the store


@dataclass(frozen=True, slots=True)
class Changed:
    """How many entries an operation changed.

    Long work on the queue is done in parts: where `after` is not 0 there is more to do, and whoever
    asked goes on with a filter that has this `after` and `upto`.
    """

    count: int
    after: int = 0
    upto: int = 0


Whereabouts = Literal["queued", "delivered", "bounced", "partly bounced", "gone"]


@dataclass(frozen=True, slots=True)
class QueueDetail:
    """One message with all its deliveries that are still queued, and how attempts went.

    `whereabouts` says what became of one that has left the queue, as far as attempts are kept; the
    fields that only a queued message has are empty then. `gone` is one of which the end was not
    kept (`delivery.dialogues`). A line of a dialogue is [milliseconds, who, text].
    """

    message_id: str
    accepted_at: int
    expires_at: int
    credential: str
    configuration_set: str
    identity: str
    reverse_path: str
    recipients: tuple[str, ...]
    size: int
    header: str
    tags: tuple[tuple[str, str], ...]
    deliveries: tuple[QueueEntry, ...]
    attempts: tuple[Attempt, ...] = ()
    whereabouts: Whereabouts = "queued"
    ended_at: int = 0


@dataclass(frozen=True, slots=True)
class BounceRequest:
    """Deliveries to give up; their senders are told `reason`, where there is one."""

    which: QueueFilter
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Deliveries to send through another pool; an empty name is the pool of their set."""

    which: QueueFilter
    pool: str


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A message by its id."""

    message_id: str


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """A credential by its name in the configuration."""

    credential: str


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A password for a credential; only its hash is kept."""

    credential: str
    password: str

    def __repr__(self) -> str:
        return f"NewSecret(credential={self.credential!r})"


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """A credential: what the configuration says, and the secrets that can log in with it.

    `secret_created_at` are the times of the secrets kept in the store and not revoked.
    `in_config` is False for secrets whose credential is no longer configured (they are refused).
    """

    name: str
    in_config: bool
    enabled: bool
    password_in_config: bool
    secret_created_at: tuple[int, ...] = ()
    revoked_secrets: int = 0
    identities: tuple[str, ...] = ()
    configuration_sets: tuple[str, ...] = ()
    configuration_set: str = ""


MAX_BATCH = 1_000
"""Entries of one suppression request. More are sent as several."""


class Operations(Protocol):
    """What rests on the store alone. Every method raises `Refused`."""

    async def queue(self, which: QueueFilter) -> list[QueueEntry]: ...

    async def message(self, request: MessageRequest) -> QueueDetail: ...

    async def retry(self, which: QueueFilter) -> Changed:
        """Make the deliveries due now."""

    async def hold(self, which: QueueFilter) -> Changed:
        """Keep the deliveries in the queue, without attempts, until they are released."""

    async def release(self, which: QueueFilter) -> Changed: ...

    async def bounce(self, which: QueueFilter, reason: str = "") -> Changed:
        """Give the deliveries up, and report to their senders as for any other bounce."""

    async def move(self, which: QueueFilter, pool: str) -> Changed:
        """Have the deliveries go through another pool from their next attempt on."""

    @property
    def suppressions(self) -> "SuppressionOperations": ...

    @property
    def nodes(self) -> "NodeOperations": ...

    @property
    def suspensions(self) -> "SuspensionOperations": ...

    @property
    def messages(self) -> "MessageOperations": ...

    @property
    def reputation(self) -> "ReputationOperations": ...

    @property
    def tls(self) -> "TlsOperations": ...

    @property
    def pools(self) -> "PoolOperations": ...

    @property
    def summaries(self) -> "SummaryOperations": ...

    async def unclassified(self, request: UnclassifiedRequest) -> list[UnclassifiedReply]:
        """Refusals that no rule knew, most frequent first."""

    async def clear_unclassified(self) -> Changed: ...

    async def credentials(self) -> list[CredentialStatus]: ...

    async def add_secret(self, request: NewSecret) -> Changed: ...

    async def revoke_secrets(self, request: CredentialRequest) -> Changed: ...


class Control(Protocol):
    """What a running relay answers by itself. Implemented by the runtime.

    `liveness` and `readiness` answer from memory: they touch neither the store nor the network.
    """

    def liveness(self) -> Health:
        """Whether the process is worth keeping (its loop, its store thread, its owner's lease)."""

    def readiness(self) -> Health:
        """Whether mail is accepted and delivered now."""

    async def while_reachable(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, which asks the store. Raises `StoreError` as soon as it is known to be
        away, which is well before a silent one is given up."""

    async def status(self) -> Status: ...

    async def look(self) -> "Look":
        """What `relay top` shows."""

    async def reload(self) -> Reloaded: ...

    async def publish(self) -> "PublishedNow":
        """Make this node's file the configuration of the fleet. Raises `Refused`."""

    async def drain(self) -> "DrainStatus":
        """Begin to take no more mail and to give away what there is. Raises `Refused`."""

    async def end_drain(self) -> "DrainStatus":
        """Serve again; returns once mail is taken. Raises `Refused`."""

    async def drain_status(self) -> "DrainStatus": ...

    async def explain(self, request: ExplainRequest) -> Explanation: ...

    async def explain_message(self, request: MessageRequest) -> "MessageExplanation": ...

    async def one_time_login(self, request: LoginRequest) -> Login: ...

    async def tls(self, request: TlsRequest) -> TlsOutlook:
        """What TLS with the mail hosts of a domain must be, asked anew."""

    async def reactions(self) -> list[Restraint]:
        """What holds sources back now, because of what providers said."""

    async def clear_reactions(self, request: ClearReactions) -> Changed: ...

    @property
    def operations(self) -> Operations: ...

    @property
    def events(self) -> "EventOperations": ...


def summary(health: Health) -> str:
    """A word or a sentence for people."""
    return "ok" if health.ok else "; ".join(health.reasons) or "not ok"


def batches(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """The items in parts of at most `MAX_BATCH`."""
    for start in range(0, len(items), MAX_BATCH):
        yield tuple(items[start : start + MAX_BATCH])
