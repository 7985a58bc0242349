"""What operators do to the store: the queue, and the secrets of credentials; the rest by its noun.

Written once over a `Store` that is given to it. The runtime serves it on the control socket; the
command line runs it in its own process, under the lock of the data directory, when no relay runs.
It never opens or closes the store. A delivery that is given up ends as any other bounce does, by
`relay.feedback.settle`, but for its addresses: they are not suppressed, for no peer refused them.

Fails with `Refused` (a sentence for the operator) or with the store's own `StoreError`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import SystemRandom

from relay.admin.control import (
    Changed,
    CredentialRequest,
    CredentialStatus,
    MessageRequest,
    NewSecret,
    QueueDetail,
    Refused,
)
from relay.admin.details import gone, queued
from relay.admin.messages import MessageOperations
from relay.admin.nodes import NodeOperations
from relay.admin.pools import PoolOperations
from relay.admin.reputation import ReputationOperations
from relay.admin.summaries import SummaryOperations, no_providers
from relay.admin.suppression import SuppressionOperations
from relay.admin.suspensions import SuspensionOperations
from relay.admin.tls import TlsOperations
from relay.admin.unclassified import UnclassifiedRequest
from relay.admin.waits import AskWhy, Carriers, nobody_knows, with_reasons
from relay.config.model import Config, Credential
from relay.feedback.outcome import RecipientResult
from relay.feedback.policy import Policies
from relay.feedback.settle import settle
from relay.feedback.told import given_up
from relay.mail.enhanced import printable_text
from relay.mail.replies import Reply
from relay.store.interface import Store
from relay.store.log_interface import MessageLog
from relay.store.secrets import new_secret
from relay.store.values import (
    Delivery,
    Owner,
    QueueEntry,
    QueueFilter,
    Secret,
    Settlement,
    UnclassifiedReply,
)

SHORTEST_PASSWORD = 8
"""Characters of a password that somebody else made. Ours have 40."""

MAX_LISTED = 100_000
PART = 5_000
"""Deliveries that one request changes; whoever asked goes on with the rest."""

MOST_ATTEMPTS = 200
"""Attempts at one message that are shown, the last ones."""

_GIVEN_UP = Reply(554, "5.0.0", "given up by the operator of this relay before it was delivered")
_CHANCE = SystemRandom()
_BOUNCE_BATCH = 100
_REASON_CHARACTERS = 300
_OWNER = "operator"
_LEASE_MS = 60_000


def _nothing() -> None:
    return None


async def _nobody() -> None:
    return None


def _not_counted(_: Settlement) -> None:
    return None


async def _nothing_in_memory(_: QueueFilter) -> None:
    return None


async def _nobody_to_tell() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOperations:
    """`relay.admin.control.Operations` over a store.

    `config` gives the configuration in force, `clock` UTC milliseconds. A running relay is told:
    `recall` is awaited before a change to the queue, so that it gives back what it holds in memory
    and does not attempt at the moment; `gave_up` counts what was bounced; `queue_changed` is
    called and `secrets_changed` awaited after a change, so that it counts at once.
    """

    store: Store
    message_log: MessageLog
    config: Callable[[], Config]
    clock: Callable[[], int]
    recall: Callable[[QueueFilter], Awaitable[None]] = _nothing_in_memory
    gave_up: Callable[[Settlement], None] = _not_counted
    queue_changed: Callable[[], None] = _nothing
    secrets_changed: Callable[[], Awaitable[None]] = _nobody
    suspensions_changed: Callable[[], Awaitable[None]] | None = None
    pauses_changed: Callable[[], Awaitable[None]] = _nobody_to_tell
    warmups_changed: Callable[[], Awaitable[None]] | None = None
    source_faults: Callable[[], Mapping[str, str]] = dict
    providers: Callable[[], Awaitable[Mapping[str, str]]] = no_providers
    waiting: Callable[[], Awaitable[Mapping[str, int]]] | None = None
    why_lines_wait: AskWhy = nobody_knows
    carriers: Callable[[], Carriers] = dict

    @property
    def suppressions(self) -> SuppressionOperations:
        """The addresses that are not sent to."""
        return SuppressionOperations(
            store=self.store.suppressions, config=self.config, clock=self.clock
        )

    @property
    def nodes(self) -> NodeOperations:
        """The relays that share the store."""
        return NodeOperations(self.store.fleet)

    @property
    def suspensions(self) -> SuspensionOperations:
        """What waits by an operator's order."""
        return SuspensionOperations(
            store=self.store.suspensions,
            config=self.config,
            clock=self.clock,
            changed=self.suspensions_changed,
        )

    @property
    def messages(self) -> MessageOperations:
        """What became of messages."""
        return MessageOperations(self.message_log, self.store.attempts)

    @property
    def reputation(self) -> ReputationOperations:
        """How streams stand, and which are paused."""
        return ReputationOperations(
            store=self.store.pauses,
            log=self.message_log,
            config=self.config,
            clock=self.clock,
            changed=self.pauses_changed,
        )

    @property
    def tls(self) -> TlsOperations:
        """What is known of TLS with other relays."""
        return TlsOperations(store=self.store, config=self.config, clock=self.clock)

    @property
    def pools(self) -> PoolOperations:
        """Pools, and the warm-up of their sources."""
        return PoolOperations(
            store=self.store,
            config=self.config,
            clock=self.clock,
            changed=self.warmups_changed,
            faults=self.source_faults,
        )

    @property
    def summaries(self) -> SummaryOperations:
        """The queue in sums."""
        return SummaryOperations(
            store=self.store, config=self.config, providers=self.providers, waiting=self.waiting
        )

    # Replies

    async def unclassified(self, request: UnclassifiedRequest) -> list[UnclassifiedReply]:
        if not 1 <= request.limit <= MAX_LISTED:
            raise Refused(f"the limit of a listing is from 1 to {MAX_LISTED}, not {request.limit}")
        return await self.store.unclassified.all(request.limit)

    async def clear_unclassified(self) -> Changed:
        return Changed(await self.store.unclassified.clear())

    # The queue

    async def queue(self, which: QueueFilter) -> list[QueueEntry]:
        if not 1 <= which.limit <= MAX_LISTED:
            raise Refused(f"the limit of a listing is from 1 to {MAX_LISTED}, not {which.limit}")
        return await self._told(await self.store.queue(self._in_pool(which)))

    async def _told(self, entries: Sequence[QueueEntry]) -> list[QueueEntry]:
        return await with_reasons(entries, self.why_lines_wait, self.carriers(), self.clock())

    async def message(self, request: MessageRequest) -> QueueDetail:
        message = await self.store.find_message(request.message_id)
        attempts = await self.store.attempts.of(request.message_id, MOST_ATTEMPTS)
        if message is None:
            if not attempts:
                raise Refused(
                    f"no message {request.message_id} is in the queue: it was delivered or bounced"
                    " and what was said is not kept any more, or it was never accepted here",
                    "not_found",
                )
            return gone(request.message_id, attempts)
        deliveries = await self.store.queue(QueueFilter(message_id=message.id, limit=MAX_LISTED))
        return queued(message, await self._told(deliveries), attempts)

    async def retry(self, which: QueueFilter) -> Changed:
        part, rest = await self._next_part(which)
        count = await self.store.retry_now(part, self.clock())
        return self._queue_changed(replace(rest, count=count))

    async def hold(self, which: QueueFilter) -> Changed:
        part, rest = await self._next_part(which)
        count = await self.store.set_state(part, "held")
        return self._queue_changed(replace(rest, count=count))

    async def release(self, which: QueueFilter) -> Changed:
        part, rest = await self._next_part(which)
        count = await self.store.set_state(part, "queued")
        return self._queue_changed(replace(rest, count=count))

    async def move(self, which: QueueFilter, pool: str) -> Changed:
        """Refused where the pool is not configured, or a set's mail is not to be moved."""
        config = self.config()
        if pool and pool not in config.pools:
            there = ", ".join(sorted(config.pools))
            raise Refused(f"no pool {pool} is in the configuration (there: {there})", "not_found")
        part, rest = await self._next_part(which)
        await self._must_be_movable(part)
        count = await self.store.move(part, pool)
        return self._queue_changed(replace(rest, count=count))

    async def _must_be_movable(self, which: QueueFilter) -> None:
        """Raises `Refused`."""
        for name, settings in self.config().configuration_sets.items():
            if settings.movable or which.configuration_set not in ("", name):
                continue
            if await self.store.matching(replace(which, configuration_set=name, limit=1)):
                raise Refused(
                    f"mail of configuration set {name} is not to be moved (movable: false); "
                    "name the other sets one by one"
                )

    async def bounce(self, which: QueueFilter, reason: str = "") -> Changed:
        """Give up deliveries that no attempt holds now, batch by batch.

        A death in the middle leaves the rest queued; what was claimed for it is free again when
        the lease ends. The reports that this very bounce writes are newer than what it may take.
        """
        part, rest = await self._next_part(which)
        reply = _given_up_for(reason)
        policies = Policies.of(self.config())
        owner = await self.store.register(_OWNER, _LEASE_MS)
        count = 0
        try:
            while count < part.limit:
                batch = replace(part, limit=min(part.limit - count, _BOUNCE_BATCH))
                taken = await self.store.take(owner, batch)
                # All at once, so that they share commits.
                settled = await asyncio.gather(
                    *(self._give_up(owner, delivery, policies, reply) for delivery in taken)
                )
                count += sum(settled)
                if not any(settled) or not await self.store.renew(owner, _LEASE_MS):
                    break
        finally:
            await self.store.resign(owner)
        return self._queue_changed(replace(rest, count=count))

    def _in_pool(self, which: QueueFilter) -> QueueFilter:
        """With the sets that send through the pool that is named, if one is."""
        if not which.pool:
            return which
        sets = self.config().configuration_sets.items()
        names = tuple(name for name, settings in sets if settings.pool == which.pool)
        return replace(which, pool_sets=names)

    async def _next_part(self, which: QueueFilter) -> tuple[QueueFilter, Changed]:
        """The next part of what is meant, back from memory; and where the one after it begins."""
        which = self._in_pool(which)
        await self.recall(which)
        upto = which.upto or await self.store.newest()
        most = min(which.limit, PART)
        found = await self.store.matching(replace(which, upto=upto, limit=most))
        after = found[-1] if len(found) == PART else 0
        part = replace(which, upto=after or upto, limit=most)
        return part, Changed(0, after, upto if after else 0)

    async def _give_up(
        self, owner: Owner, delivery: Delivery, policies: Policies, reply: Reply
    ) -> bool:
        settlement = settle(
            delivery,
            [
                RecipientResult(recipient, "bounced", reply, "other", phase="local")
                for recipient in delivery.recipients
            ],
            policies=policies,
            now=self.clock(),
            rng=_CHANCE,
            attempted=False,
        )
        if self.config().delivery.dialogues != "none":
            record = given_up(delivery, "operator", str(reply), self.clock())
            settlement = replace(settlement, attempt=record)
        settled = await self.store.settle(owner, settlement)
        if settled:
            self.gave_up(settlement)
        return settled

    def _queue_changed(self, changed: Changed) -> Changed:
        if changed.count:
            self.queue_changed()
        return changed

    # Credentials

    async def credentials(self) -> list[CredentialStatus]:
        configured = self.config().credentials
        secrets = await self.store.secrets()
        names = sorted({*configured, *(secret.credential for secret in secrets)})
        return [
            _credential_status(
                name, configured.get(name), [s for s in secrets if s.credential == name]
            )
            for name in names
        ]

    async def add_secret(self, request: NewSecret) -> Changed:
        self._must_be_configured(request.credential)
        if len(request.password) < SHORTEST_PASSWORD:
            raise Refused(
                f"the password has {len(request.password)} characters; "
                f"give at least {SHORTEST_PASSWORD}, or none to have one made"
            )
        if not request.password.isprintable():
            raise Refused("the password has control characters, which clients cannot send")
        secret = await asyncio.to_thread(  # hashing is slow on purpose
            new_secret, request.credential, request.password, self.clock()
        )
        await self.store.add_secret(secret)
        await self.secrets_changed()
        return Changed(1)

    async def revoke_secrets(self, request: CredentialRequest) -> Changed:
        count = await self.store.revoke_secrets(request.credential, self.clock())
        if count:
            await self.secrets_changed()
            return Changed(count)
        known = await self.credentials()
        if request.credential not in {credential.name for credential in known}:
            raise Refused(_unknown(request.credential, self.config().credentials), "not_found")
        return Changed(0)

    def _must_be_configured(self, name: str) -> None:
        configured = self.config().credentials
        if name not in configured:
            raise Refused(_unknown(name, configured), "not_found")


def _given_up_for(reason: str) -> Reply:
    """What the sender reads."""
    said = printable_text(reason, _REASON_CHARACTERS)
    return replace(_GIVEN_UP, text=f"{_GIVEN_UP.text}: {said}") if said else _GIVEN_UP


def _unknown(name: str, configured: Mapping[str, Credential]) -> str:
    there = ", ".join(sorted(configured)) or "none"
    return (
        f"no credential {name} is in the configuration (there: {there}); "
        f"add it under `credentials:` and reload"
    )


def _credential_status(
    name: str, configured: Credential | None, secrets: Sequence[Secret]
) -> CredentialStatus:
    valid = sorted(secret.created_at for secret in secrets if secret.revoked_at is None)
    return CredentialStatus(
        name=name,
        in_config=configured is not None,
        enabled=configured is not None and configured.enabled,
        password_in_config=configured is not None
        and bool(configured.password or configured.password_hashes),
        secret_created_at=tuple(valid),
        revoked_secrets=len(secrets) - len(valid),
        identities=configured.identities if configured else (),
        configuration_sets=configured.configuration_sets if configured else (),
        configuration_set=(configured.configuration_set or "") if configured else "",
    )
