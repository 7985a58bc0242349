"""The store, as every stage sees it: one protocol, one contract suite, several back ends.

What a method changes is durable (on stable storage) when it returns. A message is *claimed* by an
owner, with a lease and a fencing epoch; what an owner whose claim was taken over asks for
afterwards is refused (`settle` returns False) and changes nothing.

Failures: `StoreFull` when there is no room, `StoreUnavailable` for any other fault of the medium.
After either, nothing of the request is stored, and the store serves again when the cause is gone.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from relay.store.fleet_values import (
    Membership,
    NewsKind,
    Node,
    NodeReport,
    PublishedConfiguration,
    Share,
    ShareWish,
)
from relay.store.happenings import Happening, OutboxEntry, PausedKind
from relay.store.pauses import FreshStart, Pause
from relay.store.suppression_values import (
    Author,
    BulkKind,
    SuppressionChange,
    SuppressionCount,
)
from relay.store.tls_values import StoredPolicy, TlsDay, TlsTally
from relay.store.values import (
    Accepted,
    Attempt,
    Body,
    Delivery,
    Due,
    Message,
    NewMessage,
    Owner,
    PermitRequest,
    Permits,
    PutOff,
    QueueDepth,
    QueueEntry,
    QueueFilter,
    QueueGroup,
    QueueGrouping,
    Secret,
    Settlement,
    State,
    SuppressionEntry,
    SuppressionReason,
    Suspension,
    SuspensionKind,
    UnclassifiedReply,
    Want,
    WarmupProgress,
)


class StoreError(Exception):
    """The store could not do what was asked; nothing was changed."""


class StoreFull(StoreError):
    """No room on the medium (disk full, quota, no inodes): SMTP 452 4.3.1."""


class StoreUnavailable(StoreError):
    """Any other fault of the medium: SMTP 451 4.3.0."""


class BodyDamaged(StoreError):
    """The body of a message cannot be read as it was written. Its deliveries are in quarantine and
    the claims on them are gone; nothing is left to settle or release."""


class BodyWriter(Protocol):
    """Takes a body in chunks while it arrives; keeps small ones in memory, spills large ones."""

    @property
    def in_memory(self) -> int:
        """Octets held in memory now, for the global budget."""

    async def write(self, chunk: bytes) -> None: ...

    async def finish(
        self,
        *,
        simple_digest: bytes,
        relaxed_digest: bytes | None,
        eight_bit: bool,
        dots: bool | None = None,
    ) -> Body:
        """Make the body durable (a spilled file and its directory are synced) and describe it; see
        `Body`."""

    async def discard(self) -> None:
        """Forget the body. Safe after `finish` too, until the message is inserted."""


class MessageStore(Protocol):
    """Accepting: what the front end needs."""

    def new_body(self) -> BodyWriter: ...

    async def insert(self, new: NewMessage, owner: Owner | None) -> Accepted:
        """Store a message durably; claimed by `owner` where one is given and still alive (the
        deliveries say so: without a claim their epoch is 0, and any worker may claim them).

        The body belongs to the store from the call on, also when it fails. When every recipient
        is suppressed, or the message rejected, it is told of and not kept. A call that is cancelled
        is withdrawn: whoever was not told that his message was stored sends it again.
        """


class AttemptStore(Protocol):
    """How attempts went; they are written with the settlement that they led to."""

    async def of(self, message_id: str, limit: int) -> list[Attempt]:
        """The last `limit` attempts at a message, in order of time."""

    async def prune(self, before: int, most: int, limit: int) -> int:
        """Forget up to `limit` of the oldest that began before then (UTC ms), or of which there
        are more than `most`; how many."""


class SuspensionStore(Protocol):
    """What operators have ordered to wait, and the deliveries that were set aside for it."""

    async def put(self, suspension: Suspension) -> bool:
        """Add a suspension, or replace the one of the same kind and name; True where it is new."""

    async def lift(self, kind: SuspensionKind, name: str) -> bool:
        """End one. What was set aside for it waits for `free`. False where there is none."""

    async def all(self) -> list[Suspension]:
        """Those that nobody has lifted, by kind and name; some of them may have ended."""

    async def set_aside(self, owner: Owner, deliveries: Sequence[tuple[int, str]]) -> None:
        """Give deliveries back as suspended, pairs of (delivery id, the keys of the suspensions
        that together make it wait, a space between them); their due times stay. Where one of them
        is not in force any more it is given back to be claimed at once."""

    async def free(self, limit: int) -> int:
        """Queue up to `limit` deliveries again whose suspension was lifted; how many."""

    async def free_of_sources(self, after: int, limit: int) -> int:
        """Queue up to `limit` deliveries again, with ids beyond `after`, that wait for suspended
        sources: their pool may have got others. The last id, 0 where none was left."""


class DelayStore(Protocol):
    """Mail that was put off without an attempt, and the words for what it waits for."""

    async def put_off(self, owner: Owner, deliveries: Sequence[PutOff]) -> None:
        """Give claimed deliveries back, due at other times. A claim takes the word off."""

    async def words(self, kind: str) -> list[str]:
        """The words of a kind (`rest`, `warmup`) that mail waits for."""

    async def bring_forward(self, word: str, after: int, now: int, limit: int) -> Sequence[int]:
        """Have up to `limit` deliveries, with ids beyond `after`, be due at `now` (UTC ms) that
        were put off with this word; their ids, in order."""


class Outbox(Protocol):
    """What happened, until the message log has it. Most of it is written with inserts and
    settlements."""

    async def name(self) -> tuple[str, int]:
        """The name of this outbox, and an id that is not lower than any that it has ever given, and
        lower than all that it is to give. An outbox that was made anew has another name."""

    async def rename(self) -> str:
        """Give it another name: it was put back to an earlier state, and gives ids again that the
        log has seen."""

    async def read(self, after: int, limit: int) -> list[OutboxEntry]:
        """The next entries, in the order in which they were committed."""

    async def forget(self, upto: int) -> int:
        """Remove entries up to that id, which the log has; how many."""

    async def add(
        self, message_id: str, at: int, what: Happening, once: str = "", most: int | None = None
    ) -> bool:
        """Write an entry down. Where `once` is given and was given before, and is not pruned, it is
        not written again, and the answer is False: the same report may be handed in twice. Neither
        is one beyond `most` words that are alike up to their last hyphen."""

    async def prune_once(self, before: int, limit: int) -> int:
        """Forget up to `limit` words of `once` that came before then (UTC ms); how many."""

    async def depth(self) -> tuple[int, int]:
        """About how many entries there are, and when the oldest one happened (0: there is none)."""


class PauseStore(Protocol):
    """Streams whose new mail is refused. What starts and ends a pause is told in the outbox."""

    async def all(self) -> list[Pause]:
        """By kind and name."""

    async def put(self, pause: Pause) -> bool:
        """Pause, and tell of it; False where that stream is paused already: nothing changes."""

    async def lift(self, kind: PausedKind, name: str, at: int, reason: str) -> bool:
        """End a pause, and tell of it; False where there is none."""

    async def fresh_starts(self) -> list[FreshStart]:
        """By dimension."""

    async def start_afresh(self, start: FreshStart) -> None:
        """Have the reputation of a dimension count from then on."""


class UnclassifiedStore(Protocol):
    """Replies that no rule knew."""

    async def add(self, replies: Sequence[UnclassifiedReply], most: int) -> None:
        """Add to what is counted; beyond `most`, those seen longest ago are forgotten."""

    async def all(self, limit: int) -> list[UnclassifiedReply]:
        """Most frequent first."""

    async def clear(self) -> int:
        """Forget them all; how many."""


class QueueStore(Protocol):
    """Delivering: what the scheduler needs."""

    @property
    def suspensions(self) -> SuspensionStore: ...

    @property
    def delays(self) -> DelayStore: ...

    @property
    def unclassified(self) -> UnclassifiedStore: ...

    @property
    def suppressions(self) -> "SuppressionStore": ...

    async def register(self, name: str, lease_ms: int) -> Owner:
        """A new epoch for `name`; what earlier epochs of that name had claimed is free again."""

    async def renew(self, owner: Owner, lease_ms: int) -> bool:
        """Extend the lease; False when the owner has been declared dead."""

    async def resign(self, owner: Owner) -> None:
        """Free all claims and end the lease (clean shutdown)."""

    async def claim(self, owner: Owner, now: int, limit: int) -> list[Delivery]:
        """Claim up to `limit` deliveries that are due and queued, longest due first.

        Also frees what owners with an expired lease had claimed. Bodies are not loaded.
        """

    async def find_due(self, want: Want) -> Due:
        """What there is to claim by turns, where not everything that is due fits: see `Want`.
        Nobody waits for this question; its answer may be out of date when it comes."""

    async def find_expired(self, after: int, until: int, limit: int) -> Sequence[int]:
        """Up to `limit` unclaimed deliveries, queued or suspended, that have expired later than
        `after` and not later than `until`, wherever they wait and for what."""

    async def claim_found(self, owner: Owner, ids: Sequence[int]) -> list[Delivery]:
        """Claim those that are unclaimed and not held still, in their order; else as `claim`."""

    async def next_due(self, after: int = 0) -> int | None:
        """When the earliest unclaimed, queued delivery is due that is due later than `after`; None
        when there is none."""

    def read_body(self, message: Message) -> AsyncIterator[bytes]:
        """The body in chunks of at most 256 KiB. Raises BodyDamaged."""

    async def note_sending(self, owner: Owner, deliveries: Sequence[int]) -> None:
        """Note that these deliveries, and no others of this owner, may be with a receiver before
        their outcome is stored: their content is about to be sent. Should the owner die, those of
        them that it has not settled are marked as `Delivery.doubtful` for whoever takes them over.

        Raises StoreUnavailable also where the owner was declared dead: it is to send nothing. The
        notes survive the death of the process, not that of the store. An embedded store, whose
        owners die with their machine, notes nothing.
        """

    async def settle(self, owner: Owner, settlement: Settlement) -> bool: ...

    async def end(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle deliveries that are over, all in one operation: for each, what `settle` would say
        under the claim that its delivery has. Nothing else is left to note but how it went, and
        what happened. Their bodies have no `ref`."""

    async def release(self, owner: Owner, deliveries: Sequence[tuple[int, int]]) -> None:
        """Give deliveries back unattempted: pairs of (delivery id, due_at)."""


class PermitStore(Protocol):
    """Rolling-window permits, persistent and exact: see `PermitRequest`."""

    async def lease_permits(self, request: PermitRequest) -> Permits: ...

    async def return_permits(self, key: str, at: int, count: int) -> None:
        """Give back unused permits of a block that was granted at `at`."""

    async def permits_used(self, keys: Sequence[str], window: int, now: int) -> dict[str, int]: ...


class WarmupStore(Protocol):
    """How far the warm-ups of source addresses have come."""

    async def all(self) -> list[WarmupProgress]:
        """In order of address."""

    async def replace(self, known: WarmupProgress | None, new: WarmupProgress) -> bool:
        """Put `new` in the place of `known` (None: there is none yet), if that is still what
        stands there; else change nothing and say False."""

    async def forget(self, known: WarmupProgress) -> bool:
        """Remove `known`, if that is still what stands there."""


class SuppressionStore(Protocol):
    """The suppression list and the log of its changes, each written in the transaction of the
    change. Matching ignores case; the original spelling is kept."""

    async def put(self, entries: Sequence[SuppressionEntry], author: Author) -> int:
        """Add or replace entries; how many were new. A count of bounces never gets smaller."""

    async def add_observed(self, entries: Sequence[SuppressionEntry]) -> None:
        """Add what was observed of mail, by `suppression_rules.observe`."""

    async def remove(self, addresses: Sequence[str], author: Author) -> int:
        """Take addresses off; how many were there."""

    async def find(self, address: str) -> SuppressionEntry | None:
        """The entry of an address, which may have expired."""

    async def reasons(self, keys: Sequence[str]) -> dict[str, tuple[SuppressionReason, int | None]]:
        """Reason and expiry (UTC ms) of those keys (`mail.address.suppression_key`) that are on the
        list."""

    def all(self) -> AsyncIterator[SuppressionEntry]:
        """All entries in order of address, those that have expired too, fetched in pages."""

    async def count(self) -> int:
        """How many there are, those that have expired too. Costs nothing."""

    async def tally(self, now: int) -> list[SuppressionCount]:
        """Counts by reason and source. Seconds for millions, in short questions."""

    async def prune(self, before: int, limit: int) -> int:
        """Forget up to `limit` entries that expired before then (UTC ms); how many."""

    async def begin(self, what: BulkKind, detail: str, author: Author) -> int:
        """Note that an import begins; the `bulk` of the `Author` of each of its parts."""

    async def end(self, bulk: int, at: int, more: str) -> None:
        """Note that an import is over, with what else there is to say of it."""

    async def changes(self, address: str, limit: int) -> list[SuppressionChange]:
        """The last changes, newest first: of an address, or of all where it is empty."""

    async def prune_changes(self, before: int, most: int, limit: int) -> int:
        """Forget up to `limit` of the oldest changes that were made before then, or of which
        there are more than `most`; how many."""


class StsPolicyStore(Protocol):
    """MTA-STS policies that domains published, by domain."""

    async def find(self, domain: str) -> StoredPolicy | None: ...

    async def put(self, policy: StoredPolicy) -> None:
        """Add or replace the policy of a domain."""

    async def used(self, domain: str, now: int) -> None:
        """Note that mail has asked for it."""

    async def all(self, limit: int) -> list[StoredPolicy]:
        """In order of domain."""

    async def stale(self, fetched_before: int, used_since: int, limit: int) -> list[StoredPolicy]:
        """Those that are in use and were fetched before then, longest ago first."""

    async def forget_ended(self, now: int) -> int:
        """Forget those whose max_age is over; how many."""


class TlsTallyStore(Protocol):
    """How TLS with other relays went, by day, and which reports of it are settled."""

    async def add(self, day: int, tallies: Sequence[TlsTally], most: int) -> int:
        """Add to what is counted. A day has at most `most` rows; the sessions that found no room
        are returned."""

    async def of(self, day: int, domain: str) -> list[TlsTally]: ...

    async def unsettled(self, since: int, before: int, limit: int) -> list[tuple[int, str]]:
        """Days from `since` on and before `before`, with the domains whose report is not settled;
        oldest first."""

    async def settle(self, day: int, domain: str, at: int, result: str) -> bool:
        """Note what became of a report; False where that is noted already."""

    async def days(self, domain: str, limit: int) -> list[TlsDay]:
        """Sums, newest day first, then most failures first; of all domains where it is empty."""

    async def forget(self, before: int) -> int:
        """Forget all days before; how many rows."""


class FleetStore(Protocol):
    """The nodes that share a store. Who lives is decided by the clock of the store, and only by a
    node that has itself renewed without a gap for as long as a lease: after the store was away
    nobody is buried for its absence."""

    async def join(self, name: str, identity: str, lease_ms: int, report: NodeReport) -> Membership:
        """Become a node of that name, with a new epoch. `identity` tells one installation from
        another: what an earlier one of the same identity held is free at once. Raises
        StoreUnavailable where a living node of another identity has the name."""

    async def beat(self, member: Membership, report: NodeReport) -> bool:
        """Renew the lease; False where the node was declared dead, and is to join again."""

    async def leave(self, member: Membership) -> None:
        """Give up everything that is held, and be no node any more."""

    async def nodes(self) -> list[Node]:
        """By name, those that have died within the last day too."""

    async def forget(self, name: str) -> bool:
        """Forget a node that is dead. False where there is none of that name that is."""

    async def tell(self, news: NewsKind) -> None:
        """Have all nodes told that shared state has changed, this one too."""

    def listen(self, told: Callable[[NewsKind], None]) -> None:
        """Have `told` called, on the loop, with news of any node; and with each kind once where
        some may have been missed. To be called once, before `open`."""

    async def publish(
        self, document: str, digest: str, by: str, after: int
    ) -> PublishedConfiguration | None:
        """Make this the configuration of the fleet, and tell. None where it is not the one of
        epoch `after` any more that it would replace (0: there is none)."""

    async def published(self) -> PublishedConfiguration | None:
        """The newest; None where nobody has published one."""

    async def unpublish(self) -> bool:
        """Have each node follow its own file again. False where nothing is published."""

    async def return_path_keys(self, offered: str, instead_of: str = "") -> str:
        """The keys of return-paths that all nodes have, as the lines of their file, or `""`. What
        is `offered` becomes them where there are none yet, or where they are `instead_of`; nodes
        are told of a change."""

    async def clock(self) -> int:
        """What time it is by the clock of the store (UTC ms)."""

    async def hold_duty(self, duty: str, member: Membership) -> bool:
        """Have, or keep, what only one node may do at a time. It is lost with the membership."""

    async def give_up_duty(self, duty: str, member: Membership) -> None:
        """Leave it to another node, where this one has it."""

    async def holder_of(self, duty: str) -> str:
        """The name of the living node that has a duty; empty where none has."""


class ShareStore(Protocol):
    """Limits that nodes share: each holds a part, and together no more than there is."""

    async def settle(self, member: Membership, wishes: Sequence[ShareWish]) -> list[Share]:
        """State what is kept of each, and hear what is held from now on; see the values. What a
        node held that dies counts until its lease has run out, and for the window after that. A
        node that was declared dead holds nothing."""


class OperatorStore(Protocol):
    """What operators look at and change."""

    async def queue(self, which: QueueFilter) -> list[QueueEntry]: ...

    async def depths(self) -> list[QueueDepth]: ...

    async def groups(self, by: QueueGrouping) -> list[QueueGroup]:
        """The queue divided, in no order. A second for a million deliveries."""

    async def set_state(self, which: QueueFilter, state: State) -> int:
        """Hold or release unclaimed deliveries; returns how many changed. Claimed ones are
        marked, and change when their owner settles or releases them. Those in quarantine change
        only when the filter names that state."""

    async def retry_now(self, which: QueueFilter, now: int) -> int: ...

    async def move(self, which: QueueFilter, pool: str) -> int:
        """Have deliveries go through `pool` from their next attempt on; `""` is that of their
        set. How many changed."""

    async def matching(self, which: QueueFilter) -> Sequence[int]:
        """The ids of deliveries, ascending; none in quarantine, unless that state is named."""

    async def newest(self) -> int:
        """The highest id of a delivery; what is stored later has a higher one."""

    async def take(self, owner: Owner, which: QueueFilter) -> list[Delivery]:
        """Claim unclaimed deliveries whatever their due time or state (to bounce them)."""

    async def find_message(self, message_id: str) -> Message | None: ...

    async def add_secret(self, secret: Secret) -> None: ...

    async def secrets(self) -> list[Secret]: ...

    async def revoke_secrets(self, credential: str, now: int) -> int: ...


class Store(MessageStore, QueueStore, PermitStore, OperatorStore, Protocol):
    """Everything, plus its life. Rows of a kind of their own are reached by their noun."""

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use it too."""

    @property
    def fleet(self) -> FleetStore: ...

    @property
    def shares(self) -> ShareStore: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def pauses(self) -> PauseStore: ...

    @property
    def suppressions(self) -> SuppressionStore: ...

    @property
    def attempts(self) -> AttemptStore: ...

    @property
    def warmups(self) -> WarmupStore: ...

    @property
    def sts_policies(self) -> StsPolicyStore: ...

    @property
    def tls_tallies(self) -> TlsTallyStore: ...

    async def open(self, joining: bool = False) -> None:
        """Create or migrate what is needed, check integrity, sweep orphaned bodies.

        `joining` does none of it: the store is shared with a process that has opened it so, and
        that closes it last.
        """

    async def close(self) -> None: ...

    async def free_space(self) -> int:
        """Octets free on the medium; 0 while there is no room to accept mail at all."""
