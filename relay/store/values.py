"""What the store keeps and hands out. Times are UTC milliseconds since the epoch (`int`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from relay.mail.envelope import Envelope, Recipient
from relay.store.attempted import Attempted

State = Literal["queued", "held", "suspended", "quarantined"]
"""queued: goes when it is due; held: an operator's word about this very mail; suspended: set aside
for a `Suspension` in force; quarantined: damaged, set apart for people."""
SuppressionReason = Literal["bounce", "complaint", "manual"]
SuppressionSource = Literal["bounce", "complaint", "operator", "import"]
QueueGrouping = Literal["set", "domain", "pool"]
WarmupState = Literal["warming", "paused", "completed"]


@dataclass(frozen=True, slots=True)
class Body:
    """A message body as the client sent it: dot-unstuffed, CRLF line ends, never altered since.

    `inline` holds the octets where they are in memory. Where it is None the body is read with
    `Store.read_body`. `ref` is the store's own name for a body kept outside its rows.
    The digests are SHA-256 of the canonical body (RFC 6376 §3.4); `relaxed` is None where
    no key asked for it when the message came in. `dots` tells whether a line begins with a dot, as
    was found when its line ends were checked; None where they were not, so that whoever sends it
    checks them.
    """

    size: int
    simple_digest: bytes
    relaxed_digest: bytes | None = None
    eight_bit: bool = False
    inline: bytes | None = field(default=None, repr=False)
    ref: str = ""
    dots: bool | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted message. `header` is the final header block, unsigned: whole fields, each
    ended by CRLF, without the empty line that ends the block. `tls_optional`: what recipient
    domains publish about TLS is not to stop it (`TLS-Required: No`, RFC 8689). `client` is the IP
    address that handed it in, `client_tls` the version of TLS that it used."""

    id: str
    accepted_at: int
    expires_at: int
    envelope: Envelope
    credential: str
    configuration_set: str
    identity: str
    header: bytes = field(repr=False)
    body: Body
    tags: tuple[tuple[str, str], ...] = ()
    tls_optional: bool = False
    client: str = ""
    client_tls: str = ""

    @property
    def size(self) -> int:
        """Octets of the content, the empty line included."""
        return len(self.header) + 2 + self.body.size


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored, with what the insert decides in the same transaction.

    Recipients whose address is suppressed for one of `suppression` reasons are recorded and not
    queued; nor are those of `withheld`, which are treated as if they were. `due_at` is when
    delivery may begin. A DSN has the null reverse-path. `rejected` says why the message is not sent
    to anybody, for what it holds; it is told of, and not kept.
    """

    message: Message
    due_at: int
    suppression: tuple[SuppressionReason, ...] = ()
    withheld: frozenset[str] = frozenset()
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A recipient that was accepted and will not be sent to."""

    address: str
    reason: SuppressionReason


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry of the queue: the recipients of one message at one destination domain.

    `attempts` counts the attempts made so far; `epoch` fences the claim. `pool` is the pool that an
    operator has moved it to; `""` leaves it to its configuration set. `doubtful`: an owner died
    while its content was being sent, so that this attempt may be a second one.
    """

    id: int
    message: Message
    domain: str
    recipients: tuple[Recipient, ...]
    due_at: int
    attempts: int = 0
    epoch: int = 0
    last_reply: str = ""
    pool: str = ""
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an insert stored: the deliveries (claimed when an owner was given), the recipients that
    are suppressed, and the entry of the outbox that tells of it."""

    deliveries: tuple[Delivery, ...]
    suppressed: tuple[Suppressed, ...]
    outbox_id: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """A registered worker. Claims carry its epoch; it lives as long as its lease is renewed."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """An address that is not sent to, why, since when, on what evidence and until when.

    `evidence` is what a peer said, with the message that it was said of, the host that said it and
    (`seen_at`, 0: when the entry was made) the time. `by` is who added it, `""` where the relay
    did; `note` is that person's. `bounces` counts hard bounces, also over earlier entries that
    have expired. Where something is observed, `lasts_at_most` (ms) has the span from `created_at`
    to `expires_at` grow with each bounce up to that; it is not kept.
    """

    address: str
    reason: SuppressionReason
    source: SuppressionSource
    created_at: int
    evidence: str = ""
    expires_at: int | None = None
    message_id: str = ""
    remote_host: str = ""
    seen_at: int = 0
    by: str = ""
    note: str = ""
    bounces: int = 0
    lasts_at_most: int = 0

    def is_in_force(self, now: int) -> bool:
        return self.expires_at is None or self.expires_at > now


Spoke = Literal["us", "peer", "note"]


class DialogueLine(NamedTuple):
    """What was said in an attempt, so many milliseconds after it began: one line of a command, of a
    reply, or (`note`) a remark of ours, as how many octets of content were sent."""

    after: int
    who: Spoke
    text: str


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What became of `count` recipients, of whom some are named, with the same reply."""

    kind: Literal["delivered", "deferred", "bounced"]
    outcome: str
    reply: str
    count: int
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one delivery, or its end without one, as people are told later.

    It began at `at`. `number` counts from 1; 0 where nothing was tried and the delivery was given
    up. `peer` is the host that was spoken to, `""` where there was none, `tls` the version of TLS.
    Bounded in size; without passwords and content.
    """

    message_id: str
    delivery_id: int
    domain: str
    at: int
    number: int
    seconds: float = 0.0
    pool: str = ""
    source: str = ""
    peer: str = ""
    tls: str = ""
    results: tuple[AttemptResult, ...] = ()
    dialogue: tuple[DialogueLine, ...] = ()


@dataclass(frozen=True, slots=True)
class UnclassifiedReply:
    """A refusal that no rule knew, said `count` times between `first_seen` and `last_seen`.

    `reply` is without what differs each time; `example` is one of them, with no address in it.
    `provider` is `""` where the destination belongs to none that is known.
    """

    reply: str
    phase: str
    provider: str
    count: int
    first_seen: int
    last_seen: int
    example: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt, applied in one transaction and only while the claim holds.

    `remaining` are the recipients to try again at `due_at`; empty ends the delivery, and the
    message with its last delivery. `suppress` are added to the list, `reports` (DSNs) queued.
    `keep_claim` leaves a delayed delivery with its owner (it is due soon, in memory). `attempt` is
    what is kept of how it went, `happened` what is told of it (None: nothing has happened).
    """

    delivery: Delivery
    remaining: tuple[Recipient, ...] = ()
    due_at: int = 0
    attempted: bool = True
    last_reply: str = ""
    suppress: tuple[SuppressionEntry, ...] = ()
    reports: tuple[NewMessage, ...] = ()
    keep_claim: bool = False
    attempt: Attempt | None = None
    happened: Attempted | None = None


@dataclass(frozen=True, slots=True)
class PutOff:
    """A claimed delivery is given back unattempted, due at `due_at` (UTC ms). `waits_for` is what
    it waits for: `rest:LINE`, `warmup:ADDRESS`, `pool:NAME`, or `""`."""

    id: int
    due_at: int
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One delivery as the operator sees it (`relay queue list`). `waits_for` is as in `PutOff`;
    `why` says for people what it waits for, where that is more than its time or its turn;
    `doubtful` is as in `Delivery`."""

    delivery_id: int
    message_id: str
    state: State
    accepted_at: int
    expires_at: int
    due_at: int
    attempts: int
    credential: str
    configuration_set: str
    reverse_path: str
    domain: str
    recipients: tuple[str, ...]
    size: int
    claimed: bool
    last_reply: str
    pool: str = ""
    suspended_by: str = ""
    waits_for: str = ""
    why: str = ""
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which deliveries an operator means; empty fields match all.

    `pool` are those that go through it: moved to it, or of `pool_sets`, the configuration sets that
    send through it, and not moved. At most `limit` of them, with ids beyond `after` and, where
    `upto` is not 0, up to that: long work goes in parts, in order of id.
    """

    message_id: str = ""
    domain: str = ""
    configuration_set: str = ""
    state: State | Literal[""] = ""
    limit: int = 1_000
    credential: str = ""
    sender: str = ""
    recipient: str = ""
    pool: str = ""
    pool_sets: tuple[str, ...] = ()
    after: int = 0
    upto: int = 0


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much one configuration set has queued, and since when its oldest entry waits."""

    configuration_set: str
    queued: int
    held: int
    oldest_accepted_at: int
    quarantined: int = 0
    suspended: int = 0


@dataclass(frozen=True, slots=True)
class QueueGroup:
    """Deliveries that have a `name` in common: of a configuration set, a domain, or of those of a
    configuration set that were moved to `pool` (empty: they go through the set's own).

    `claimed` are in the hands of a worker, most of them among the queued. `next_due_at` is that of
    the first one that is queued and not claimed, None where there is none.
    """

    name: str
    pool: str
    queued: int
    held: int
    suspended: int
    quarantined: int
    claimed: int
    oldest_accepted_at: int
    next_due_at: int | None


@dataclass(frozen=True, slots=True)
class PermitRequest:
    """A wish for `need` permits under `limit` in any `window` ms, as of `now`.

    One free permit lets the whole `need` through (as SES counts); up to `block` are granted for
    later use; half of what is free is left to others where it `leaves_some`. Without a free permit,
    `queue` charges `need` at the time when one frees.
    """

    key: str
    limit: int
    window: int
    need: int
    block: int
    now: int
    queue: bool = False
    leaves_some: bool = False


@dataclass(frozen=True, slots=True)
class Permits:
    """The answer: `granted` permits usable from `at` on; 0 where none is free before `at`."""

    granted: int
    at: int


@dataclass(frozen=True, slots=True)
class WarmupProgress:
    """How far the warm-up of one source address has come.

    `day` counts from 1 and began at `day_began_at`. `configured_at` is when the configuration was
    last known to have a warm-up for the address, give or take a day.
    """

    address: str
    day: int
    day_began_at: int
    configured_at: int
    state: WarmupState = "warming"


@dataclass(frozen=True, slots=True)
class Secret:
    """A stored login secret of a credential: a salted scrypt hash, never the password."""

    credential: str
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    created_at: int
    id: int = 0
    revoked_at: int | None = None


SuspensionKind = Literal["set", "source", "provider", "credential", "domain"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """Mail of a configuration set, from a source address, to a provider, of a credential or to a
    domain waits, from `since` until `until` or, where that is None, until somebody resumes it.

    `name` is as the configuration spells it; a domain is in lower case, in A-labels. `by` is who
    ordered it and `reason` why, in that person's words.
    """

    kind: SuspensionKind
    name: str
    reason: str
    by: str
    since: int
    until: int | None = None

    @property
    def key(self) -> str:
        """As `set:NAME`: one of each is in force at a time."""
        return f"{self.kind}:{self.name}"


Line = tuple[str, str]
"""The mail of one configuration set to one domain: what takes turns within a set."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a worker can use of what is due at `now`: up to `limit` deliveries, and of whose mail.

    `weights` are those of configuration sets among each other, and `rooms` how many more of each
    the worker can use; a set that is not named has weight `weight`, or any number. `narrow` says
    for lines that are short of room in which of the `widths` they find what is left of it; lines
    that lead to one bottleneck share one. `cursors` are where the search within each set goes on,
    from the last answer. `start` is a random number below 1: where the order of sets, and what has
    no cursor, begins, so that workers who ask at the same time are given different lines.
    """

    now: int
    limit: int
    weight: int = 4
    weights: Mapping[str, int] = field(default_factory=dict)
    rooms: Mapping[str, int] = field(default_factory=dict)
    narrow: Mapping[Line, int] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    cursors: Mapping[str, "Cursor"] = field(default_factory=dict)
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the search for lines with due mail has come in a set: behind the domain `at`. It has
    found nothing since it was at `since`, and ends when it comes by there again."""

    at: str
    since: str


@dataclass(frozen=True, slots=True)
class Due:
    """Deliveries that are due and wanted, by turns; the longest due of each line first.

    `left` are the sets that have more of what is wanted, or may have: `is_searched` is False where
    the search was cut short before it found anything in one of them. `cursors` are for the next
    `Want`.
    """

    ids: tuple[int, ...]
    left: frozenset[str] = frozenset()
    is_searched: bool = True
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
