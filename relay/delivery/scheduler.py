"""The scheduler: claimed mail in, attempts out, outcomes back to the store.

Memory holds a bounded working set of claimed deliveries. Freshly accepted mail comes in by `offer`,
claimed already; where there is room, mail that is due is claimed from the store
(`relay.delivery.claiming`).

Owns the lease of this worker: it is renewed at a third of its length, and where it was lost all
that waits is dropped (another worker has it) and a new epoch begins. `drain` ends it all in order;
a process that dies instead loses nothing, because its claims are freed with its lease.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random, SystemRandom
from types import MappingProxyType

from relay.config.model import Config
from relay.delivery.attempt import Attempts
from relay.delivery.backlog import Backlog
from relay.delivery.claiming import POLL_SECONDS, SHARED_POLL_SECONDS, Claiming
from relay.delivery.claims import Claims
from relay.delivery.connections import Connections
from relay.delivery.dead_ends import SourceTester
from relay.delivery.dispatch import Dispatcher
from relay.delivery.going_out import GoingOut
from relay.delivery.rechecking import Rechecking
from relay.delivery.shares import Shares
from relay.delivery.signer import Sign, Signer
from relay.delivery.suspending import SettingAside
from relay.delivery.taking_over import TakingOver
from relay.delivery.telling import Telling
from relay.delivery.unclassified import UnclassifiedReplies
from relay.delivery.whereabouts import MOST_FOUND, Doing, Found
from relay.delivery.workers import TlsCounter, Workers
from relay.feedback.restraints import Complaint, Rest
from relay.limits.gatekeeper import Gatekeeper
from relay.limits.slots import SlotSource
from relay.limits.specs import Limit
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.elsewhere import why_it_waited
from relay.routing.router import Router
from relay.routing.suspensions import Suspensions
from relay.signing.keys import KeyRing
from relay.signing.return_paths import NO_RETURN_PATHS, ReturnPaths
from relay.signing.sign import dkim_fields
from relay.store.fleet_values import NOWHERE, Elsewhere
from relay.store.interface import QueueStore, StoreError
from relay.store.values import Delivery, Owner, QueueFilter, Settlement, WarmupProgress
from relay.store.values import Line as MailLine

TIDY_SECONDS = 5.0
RECALLED_MS = 3_000  # in which an operator's command does its work


class Scheduler:
    """Made inside a running loop, with an owner that is registered already."""

    def __init__(
        self,
        *,
        store: QueueStore,
        owner: Owner,
        router: Router,
        health: SourceTester,
        connections: Connections,
        limits: Gatekeeper,
        keyring: KeyRing,
        config: Config,
        metrics: Metrics,
        log: Logger,
        slots: SlotSource | None = None,
        complain: Callable[[Complaint], None] = lambda _: None,
        tls: TlsCounter | None = None,
        register: Callable[[], Awaitable[Owner]] | None = None,
        wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rng: Random | None = None,
        warmups: Mapping[str, WarmupProgress] = MappingProxyType({}),
        sign: Sign = dkim_fields,
        return_paths: ReturnPaths = NO_RETURN_PATHS,
    ) -> None:
        """`slots` count connections, where other processes deliver too. `complain` is told of
        replies that say something of how we send, for whoever decides what follows. `register`
        gives a new owner when the lease was lost; by default the same name's. `tls` counts how TLS
        went with mail hosts."""
        self._store = store
        self._config = config
        self._metrics = metrics
        self._log = log
        self._wall = wall
        self._register = register or self._register_again
        self._connections = connections
        self._telling = Telling(metrics, log)
        self._signer = Signer(keyring, sign)
        self._shares = Shares(config)
        rng = rng or SystemRandom()
        poll = SHARED_POLL_SECONDS if config.store.is_shared else POLL_SECONDS
        self._claiming = Claiming(store, self._shares, wall, rng, log, poll_seconds=poll)
        self._claims = self._claiming.claims = Claims(
            store,
            owner,
            config.store.lease,
            metrics,
            log,
            shares=self._shares,
            notice=self._claiming.expect,
            freed=self._claiming.freed,
        )
        self._aside = SettingAside(store.suspensions, self._claims, metrics, log)
        self._unclassified = UnclassifiedReplies(store.unclassified, config.bounces, metrics, log)
        claims = self._claims
        self._attempts = Attempts(
            config, store, self._signer, log, wall, return_paths, claims.is_lease_of
        )
        self._workers = Workers(
            config=config,
            router=router,
            connections=connections,
            attempts=self._attempts,
            claims=self._claims,
            limits=limits,
            log=log,
            slots=slots,
            tls=tls,
            rechecking=Rechecking(store, config, wall, log),
            going_out=(lambda carried: GoingOut(store, claims, carried, log))
            if config.store.is_shared
            else None,
        )
        self._dispatcher = self._workers.mail = self._claiming.mail = Dispatcher(
            config=config,
            router=router,
            health=health,
            limits=limits,
            claims=self._claims,
            shares=self._shares,
            aside=self._aside,
            telling=self._telling,
            unclassified=self._unclassified,
            wall=wall,
            rng=rng,
            rouse=self._workers.rouse,
            room=self._claiming.room_in,
            complain=complain,
            metrics=metrics,
            log=log,
            warmups=warmups,
        )
        self._workers.dead_ends = self._dispatcher.dead_ends
        if config.store.is_shared:
            self._claiming.taking_over = TakingOver(store, self._dispatcher, wall, time.monotonic)
        self._elsewhere = NOWHERE
        self._draining = False
        self._loops: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Scheduler {self._claims!r} {self._dispatcher!r} {self._workers!r}>"

    @property
    def working_set(self) -> int:
        """How many claimed deliveries are held now."""
        return len(self._claims)

    def known_providers(self) -> dict[str, str]:
        """The provider of each domain that is known to belong to one."""
        return self._dispatcher.known_providers()

    def whereabouts(self, message_id: str) -> tuple[Found, ...]:
        """Where the deliveries of a message are that this worker has, and what holds them."""
        found = self._workers.whereabouts(message_id) + self._dispatcher.whereabouts(message_id)
        known = {each.delivery_id for each in found}
        now = self._wall()
        for delivery in self._claims.of_message(message_id):
            if delivery.id not in known:
                seconds = (delivery.due_at - now) / 1000
                doing: Doing = "not due" if seconds > 0 else "stored"
                found.append(Found(delivery.id, doing, seconds=max(0.0, seconds)))
        return tuple(found[:MOST_FOUND])

    def why_lines_wait(self, lines: Sequence[MailLine]) -> dict[MailLine, str]:
        """Why mail of these lines waits in the store, as clauses; those that nothing is known of
        are left out."""
        now = asyncio.get_running_loop().time()
        narrows = self._dispatcher.narrows
        found = {line: why for line in lines if (why := narrows.why_now(line, now))}
        for line in lines:
            if pool := self._elsewhere.sets.get(line[0]):
                found[line] = why_it_waited(pool, self._elsewhere.pools[pool])
        return found

    def backlog(self) -> Backlog:
        """What waits in memory, line by line."""
        return self._dispatcher.backlog()

    @property
    def outbound_connections(self) -> int:
        """How many connections to destinations are open, or being opened, now."""
        return len(self._workers)

    @property
    def owner(self) -> Owner:
        """In whose name mail is to be accepted and claimed; a new one after a lost lease."""
        return self._claims.owner

    def has_room(self, configuration_set: str) -> bool:
        """Whether freshly accepted mail of a set is to be claimed for this scheduler, and
        offered."""
        return not self._draining and self._claiming.has_room(configuration_set)

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Take over deliveries that were just stored, claimed by `owner`."""
        if self._draining:
            return  # `drain` frees the claim
        self._dispatcher.place(self._claims.take(deliveries), fresh=True)

    def reconfigure(
        self,
        config: Config,
        router: Router,
        keyring: KeyRing,
        return_paths: ReturnPaths = NO_RETURN_PATHS,
    ) -> None:
        """Put a configuration in force: what waits is planned anew, what runs ends as it began."""
        self._config = config
        self._signer.keyring = keyring
        self._connections.reconfigure(config)
        self._attempts.configure(config, return_paths)
        self._workers.configure(config, router)
        self._dispatcher.reconfigure(config, router)
        self._claims.lease_seconds = config.store.lease
        self._shares.configure(config)
        self._claiming.ask_now()

    def suspend(self, suspensions: Suspensions) -> None:
        """Put an operator's orders in force, for what waits and for what comes."""
        self._dispatcher.suspend(suspensions)

    def elsewhere(self, elsewhere: Elsewhere) -> None:
        """Leave this mail to other nodes, and no other."""
        self._elsewhere = elsewhere
        self._claiming.leave_to_others(elsewhere)
        self._dispatcher.leave_to_others(elsewhere)

    def warm_up(self, warmups: Mapping[str, WarmupProgress]) -> None:
        """The warm-ups of source addresses have come so far."""
        self._dispatcher.warm_up(warmups)
        self._claiming.ask_now()

    def limit_changed(self, key: str, limit: Limit | None) -> None:
        """A limit that comes and goes at run time is in force from now on, or (None) no more."""
        self._dispatcher.limit_changed(key, limit)

    def wake(self) -> None:
        """Ask the store for due mail now, as after an operator's `queue retry`, and have it tried
        also where a destination was down lately."""
        self._dispatcher.forgive()
        self._claiming.go_on()

    async def recall(self, which: QueueFilter) -> None:
        """Give back what waits in memory and `which` names, so that an operator may change it in
        the store; it is not claimed again at once. What is being attempted is not touched."""
        self._claiming.rest(RECALLED_MS / 1000)
        due_at = self._wall() + RECALLED_MS
        for delivery in self._dispatcher.take_matching(which):
            self._claims.give_back(delivery, due_at)
        await self._aside.finish()
        await self._claims.given_back()

    def told(self, rest: Rest) -> None:
        """A source is to send nothing to a line for a while, or may again."""
        self._dispatcher.told(rest)

    def flow(self, source: str, line: str) -> float:
        """Recipients per second that went lately from a source to a line."""
        return self._dispatcher.flow(source, line)

    def count_given_up(self, settlement: Settlement) -> None:
        """Count what an operator has bounced in the store, as any other end of a delivery."""
        self._telling.bounced_by_operator(settlement)

    def expect(self, due_at: int, configuration_set: str = "") -> None:
        """Mail that is due at `due_at` (UTC ms) was stored for anyone to claim."""
        self._claiming.expect(due_at, configuration_set)

    async def run(self) -> None:
        """Work until cancelled or drained. Raises what a part of it fails with."""
        self._loops = [
            asyncio.create_task(self._claiming.run()),
            asyncio.create_task(self._renew_for_ever()),
            asyncio.create_task(self._tidy_for_ever()),
            asyncio.create_task(self._unclassified.run()),
        ]
        try:
            done, _ = await asyncio.wait(self._loops, return_when=asyncio.FIRST_EXCEPTION)
            for loop in done:
                if not loop.cancelled():
                    loop.result()
        finally:
            for loop in self._loops:
                loop.cancel()

    async def drain(self, grace_s: float) -> None:
        """Start nothing more, let attempts end within `grace_s` seconds, free every claim."""
        self._draining = True
        self._workers.stop_starting()
        deadline = asyncio.get_running_loop().time() + grace_s
        claiming = self._loops[:1]
        for task in claiming:
            task.cancel()
        if claiming:
            await asyncio.wait(claiming)
        await self._workers.drain(grace_s)
        self._dispatcher.take_all()
        self._dispatcher.close()
        await self._aside.finish()
        left = deadline - asyncio.get_running_loop().time()
        await self._claims.finish(max(2.0, left))
        await self._unclassified.write()
        for task in self._loops:
            task.cancel()
        self._signer.close()

    async def cut(self, grace_s: float) -> None:
        """`drain` was begun with more time: cut what has not ended within `grace_s` seconds."""
        self._workers.stop_starting()
        await self._workers.drain(grace_s)
        await self._claims.settle_within(max(2.0, grace_s))

    # Loops

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._claims.lease_seconds / 3)
            was_valid = self._claims.is_valid
            try:
                kept = await self._claims.renew(self._register)
            except StoreError as error:
                self._log.error("the lease could not be renewed", error=str(error))
                continue
            except Exception:
                self._log.exception("renewing the lease failed")
                continue
            if not kept:
                dropped = len(self._dispatcher.take_all())
                self._connections.close()
                self._log.error(
                    "the lease was lost: other workers have the mail that waited here",
                    dropped=dropped,
                    owner=self.owner.name,
                    epoch=self.owner.epoch,
                )
                self._claiming.ask_now()
            elif not was_valid:
                self._dispatcher.rouse_all()

    async def _tidy_for_ever(self) -> None:
        while True:
            self._metrics.queue_working_set.set(len(self._claims))
            await asyncio.sleep(TIDY_SECONDS)
            try:
                self._dispatcher.tidy(short_of_room=self._claiming.leaves_mail)
                self._workers.cut_stuck()
                self._look_for_lost()
                if not self._draining and self._claims.is_valid:
                    await self._claiming.give_up_expired()
            except StoreError as error:
                self._log.error("mail that has expired could not be found", error=str(error))
            except Exception:
                self._log.exception("tidying up failed")

    def _look_for_lost(self) -> None:
        seen = self._dispatcher.waiting() | self._workers.carrying()
        if count := self._claims.give_back_lost(seen):
            self._log.error("deliveries were held and forgotten: given back", count=count)

    async def _register_again(self) -> Owner:
        return await self._store.register(self.owner.name, round(self._claims.lease_seconds * 1000))
