"""One worker: the whole way of a message, from a client's connection to its destination.

Started by the supervisor with one end of a line (`relay.runtime.link`) and one of a door, through
which accepted connections come. Owns its sessions, its claims in the store, its connections to
destinations. Asks the supervisor for what is counted for all: limits, logins, connections.

Fails whole: where a part of it ends unexpectedly, so does the worker; the supervisor replaces it
and frees its claims. Where the supervisor is gone the worker finishes what is in flight and ends.
"""

import asyncio
import pickle
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from relay.admin.tls_values import BrokenTls
from relay.admission.admission import Admission
from relay.config.model import Config
from relay.delivery.connections import Connections
from relay.delivery.scheduler import Scheduler
from relay.delivery.tls import TlsContexts
from relay.delivery.tls_tally import TlsTallies
from relay.feedback.policy import Policies
from relay.frontend.authenticator import AuthenticationUnavailable, Authenticator
from relay.frontend.frontend import Frontend, PreparedFrontend
from relay.frontend.tls import TlsError
from relay.limits.leased import LeasedLimits
from relay.limits.warmup import limits_in_force
from relay.observe.logging import Logger
from relay.routing.health import SourceHealth
from relay.routing.resolver import DnsResolver
from relay.routing.suspensions import Suspensions
from relay.runtime import messages as say
from relay.runtime.assembly import Assembly, AssemblyError, assemble, name_servers
from relay.runtime.distant import DistantGatekeeper, DistantLessor, DistantSlots
from relay.runtime.door_line import DoorEnd
from relay.runtime.gauges import wall_ms
from relay.runtime.intake import Intake
from relay.runtime.link import Handler, LinkFault, LinkLost
from relay.runtime.opening import make_store
from relay.runtime.outbound_tls import OutboundTls
from relay.runtime.queue_clock import QueueClock
from relay.runtime.reason import reason
from relay.runtime.share import share_of_worker
from relay.runtime.subordinate import Subordinate, run_process
from relay.simulator.inside import InsideSimulator
from relay.simulator.sequels import Sequels
from relay.store.interface import StoreError
from relay.store.values import Owner, Secret

_MOST_BROKEN_TLS = 1_000
_READS_WITHIN = 3.0  # seconds; an operator waits for a reload


class Worker(Subordinate):
    """The parts of one worker, under the configuration that the supervisor gives it."""

    KIND = "worker"
    ORPHANED_GRACE = 5.0
    ORPHANED_LONGEST = 20

    def __init__(self, log: Logger) -> None:
        super().__init__(log)
        self._began = False
        self._workers = 1
        self.config: Config
        self.authenticator: Authenticator
        self.scheduler: Scheduler
        self._secrets: Sequence[Secret] = ()
        self._prepared: tuple[Assembly, PreparedFrontend] | None = None

    async def run(self, line: socket.socket, door: socket.socket) -> int:
        """Work until the supervisor says so, or is gone; the exit code of the process."""
        handlers: dict[type, Handler] = {
            say.Begin: self._begin,
            say.Prepare: self._prepare,
            say.PutInForce: self._put_in_force,
            say.Abandon: self._abandon,
            say.Report: self._report,
            say.WhichTlsIsBroken: self._broken_tls,
            say.TellBacklog: lambda _: self.scheduler.backlog(),
            say.WhereIs: lambda message: self.scheduler.whereabouts(message.message_id),
            say.WhyLinesWait: lambda message: self.scheduler.why_lines_wait(message.lines),
            say.TellProviders: lambda _: self.scheduler.known_providers(),
            say.Recall: self._recall,
            say.QueueChanged: self._queue_changed,
            say.MailIsDue: self._mail_is_due,
            say.WarmupsAre: self._warmups_are,
            say.SecretsChanged: self._load_secrets,
            say.Suspend: self._suspend,
            say.PausesAre: self._pauses_are,
            say.AllowOnce: self._allow_once,
            say.Learned: lambda message: self.authenticator.learn(message.known),
            say.LimitChanged: self._limit_changed,
            say.Resting: lambda message: self.scheduler.told(message.rest),
            say.HowMuchFlows: self._flow,
            say.TimeIs: lambda message: self.queue_clock.follow(message.time),
            say.ElsewhereIs: lambda message: self.scheduler.elsewhere(message.elsewhere),
        }
        await self._connect(line, handlers)
        self.gatekeeper = DistantGatekeeper(self.link)
        self.link.handle(self.gatekeeper.handlers)
        self._door = DoorEnd(door)
        return await self._live()

    # Starting

    async def _begin(self, message: say.Begin) -> str:
        self._name, self._workers = message.name, message.workers
        self._login_key = message.login_key
        self._warmups = {progress.address: progress for progress in message.warmups}
        self.queue_clock = QueueClock(
            time.monotonic, wall_ms, self._clock_jumped, offset=message.clock_offset
        )
        if message.time is not None:
            self.queue_clock.follow(message.time)
        self.gatekeeper.know(message.blocks)
        try:
            await self._start(self._share(message.configuration))
        except (StoreError, AssemblyError, TlsError, OSError) as error:
            await self._cleanup.aclose()
            return reason(error)
        self._began = True
        return ""

    def _share(self, configuration: bytes) -> Config:
        config: Config = pickle.loads(configuration)  # noqa: S301 - from our own supervisor
        return share_of_worker(config, self._workers)

    def _clock_jumped(self, seconds: float) -> None:
        self.log.warning(
            "the clock of this host has jumped: queued mail neither ages nor waits for it",
            seconds=round(seconds, 1),
        )

    async def _start(self, config: Config) -> None:
        stack = self._cleanup
        await self._open_store(config)
        self.resolver = DnsResolver(name_servers(config), dnssec=config.transport.dane)
        stack.push_async_callback(self.resolver.close)
        self.health = SourceHealth(config, self.metrics, self.log)
        await self._start_policies(config)
        assembly = await self._assemble(config)
        self.limits = LeasedLimits(DistantLessor(self.link), time.monotonic)
        self.limits.configure(limits_in_force(config, self._warmups))
        stack.push_async_callback(self.limits.close)
        await self._start_delivering(assembly)
        await self._start_accepting(assembly)
        self._background(self.health.run(), "source health")

    async def _start_policies(self, config: Config) -> None:
        self.tls_tallies = TlsTallies(
            self.store.tls_tallies, self.metrics, self.log, self.queue_clock.date
        )
        self._cleanup.push_async_callback(self.tls_tallies.flush)
        self._background(self.tls_tallies.run(), "counts of TLS sessions")
        self.outbound_tls = OutboundTls(
            config,
            await asyncio.to_thread(TlsContexts.make),
            self.resolver,
            self.store.sts_policies,
            self.log,
            problem=lambda domain, found: self.tls_tallies.fetch_failed(
                domain, invalid=found.invalid
            ),
            wall=self.queue_clock.date,
        )
        self._cleanup.push_async_callback(self.outbound_tls.close)

    async def _assemble(self, config: Config) -> Assembly:
        policies = self.outbound_tls.policies(config)
        return await asyncio.to_thread(assemble, config, self.resolver, self.health, policies)

    async def _open_store(self, config: Config) -> None:
        self.store = make_store(config, self.metrics, self.log)
        await self.store.open(joining=True)
        self._cleanup.push_async_callback(self.store.close)

    async def _start_delivering(self, assembly: Assembly) -> None:
        config = assembly.config
        self.config = config
        owner = await self._register(config)
        self._cleanup.push_async_callback(self._resign)
        self._start_simulator(assembly)
        self.connections = Connections(
            config,
            self.metrics,
            contexts=assembly.contexts,
            simulator=self.simulator.connect,
        )
        self._cleanup.callback(self.connections.close)
        self.scheduler = Scheduler(
            store=self.store,
            owner=owner,
            router=assembly.router,
            health=self.health,
            connections=self.connections,
            limits=self.limits,
            slots=DistantSlots(self.link),
            complain=lambda complaint: self.link.tell(say.Complained(complaint)),
            tls=self.tls_tallies,
            keyring=assembly.keyring,
            return_paths=assembly.return_paths,
            config=config,
            metrics=self.metrics,
            log=self.log,
            register=lambda: self._register(self.config),
            warmups=self._warmups,
            wall=self.queue_clock.now,
        )
        # Before any mail goes; what is ordered from now on is told by the supervisor.
        self._suspend(say.Suspend(tuple(await self.store.suspensions.all())))
        self._background(self.scheduler.run(), "scheduler")

    def _start_simulator(self, assembly: Assembly) -> None:
        """The mailbox simulator: it takes mail as long as there are connections to it."""
        self.sequels = Sequels(
            self.store,
            Policies.of(assembly.config),
            assembly.return_paths.keys,
            queued=self._queued,
            now=self.queue_clock.now,
            log=self.log,
        )
        self._cleanup.push_async_callback(self.sequels.close)
        self.simulator = InsideSimulator(
            assembly.config.hostname, self._comes_first, self.sequels.follow
        )
        self._cleanup.push_async_callback(self.simulator.close)

    def _queued(self, due_at: int, configuration_set: str) -> None:
        self.scheduler.expect(due_at, configuration_set)

    async def _comes_first(self, who: str) -> bool:
        """Where nobody can say it is greylisted, to come again."""
        try:
            return await self.link.ask(say.ComesFirst(who))
        except (LinkLost, LinkFault):
            return True

    async def _register(self, config: Config) -> Owner:
        """A new epoch, which the supervisor is told: it frees our claims when we die."""
        owner = await self.store.register(self._name, round(config.store.lease * 1000))
        self.link.tell(say.Registered(owner.name, owner.epoch))
        return owner

    async def _resign(self) -> None:
        """Free what is still claimed, at once rather than when the lease ends."""
        with suppress(StoreError):  # the scheduler has told; the lease ends by itself
            await self.store.resign(self.scheduler.owner)

    async def _start_accepting(self, assembly: Assembly) -> None:
        config = assembly.config
        self.authenticator = Authenticator(
            key=self._login_key, learned=lambda known: self.link.tell(say.Learned(known))
        )
        self._cleanup.callback(self.authenticator.close)
        self._secrets = await self.store.secrets()
        self.authenticator.load(config, self._secrets)
        self.admission = Admission(config, self.limits, config.hostname, self.metrics)
        # Before any mail comes; what is paused from now on is told by the supervisor.
        self.admission.pause(await self.store.pauses.all())
        self.intake = Intake(self.store, self.scheduler, self.metrics, self.log, self.queue_clock)
        self.frontend = Frontend(
            config=config,
            admission=self.admission,
            store=self.store,
            accept=self.intake.accept,
            authenticator=self.authenticator,
            gatekeeper=self.gatekeeper,
            metrics=self.metrics,
            log=self.log,
            return_path_keys=assembly.return_path_keys,
            wall=self.queue_clock.date,
        )
        await self.frontend.start()
        self._door.open(self.frontend.adopt, self.gatekeeper.closed)
        self._cleanup.callback(self._door.close)

    # Reloading

    async def _prepare(self, message: say.Prepare) -> tuple[str, ...]:
        """Everything that may fail, before anything is changed."""
        try:
            config = self._share(message.configuration)
            assembly = await self._assemble(config)
            await self._read_secrets()
            prepared = self.frontend.prepare(config, assembly.return_path_keys)
            self._prepared = assembly, prepared
        except AssemblyError as error:
            return error.problems
        except (TlsError, OSError) as error:
            return (reason(error),)
        return ()

    async def _put_in_force(self, _: say.PutInForce) -> bool:
        if self._prepared is None:
            return False
        (assembly, prepared), self._prepared = self._prepared, None
        config = assembly.config
        self.frontend.put_in_force(prepared)
        self.authenticator.load(config, self._secrets)
        self.admission.reconfigure(config)
        self.limits.configure(limits_in_force(config, self._warmups))
        self.health.reconfigure(config)
        self.resolver.reconfigure(name_servers(config), dnssec=config.transport.dane)
        self.outbound_tls.reconfigure(config)
        self.connections.reconfigure(config, assembly.contexts)
        self.sequels.reconfigure(Policies.of(config), assembly.return_paths.keys)
        self.scheduler.reconfigure(config, assembly.router, assembly.keyring, assembly.return_paths)
        self.config = config
        return True

    def _abandon(self, _: say.Abandon) -> None:
        self._prepared = None

    # Answering

    def _report(self, _: say.Report) -> say.State:
        return say.State(
            self.scheduler.working_set,
            self.scheduler.outbound_connections,
            self.intake.accepted.total(time.monotonic()),
        )

    def _flow(self, message: say.HowMuchFlows) -> float:
        return self.scheduler.flow(message.source, message.line)

    def _broken_tls(self, message: say.WhichTlsIsBroken) -> tuple[BrokenTls, ...]:
        return tuple(
            BrokenTls(self._name, site, str(session.host), session.detail, round(left))
            for site, session, left in self.connections.broken_tls(_MOST_BROKEN_TLS)
            if message.site in ("", site)
        )

    async def _recall(self, message: say.Recall) -> bool:
        await self.scheduler.recall(message.which)
        return True

    def _queue_changed(self, _: say.QueueChanged) -> None:
        self.scheduler.wake()

    def _mail_is_due(self, message: say.MailIsDue) -> None:
        self.scheduler.expect(message.at)

    def _warmups_are(self, message: say.WarmupsAre) -> None:
        self._warmups = {progress.address: progress for progress in message.progress}
        self.limits.configure(limits_in_force(self.config, self._warmups))
        self.scheduler.warm_up(self._warmups)

    def _limit_changed(self, message: say.LimitChanged) -> None:
        self.limits.override(message.key, message.limit)
        self.scheduler.limit_changed(message.key, message.limit)

    async def _load_secrets(self, _: say.SecretsChanged) -> bool:
        was_read = await self._read_secrets()
        if was_read:
            self.authenticator.load(self.config, self._secrets)
        return was_read

    async def _read_secrets(self) -> bool:
        """Should the store be away, a reload goes on with those of before: what has changed is told
        once it is back."""
        try:
            async with asyncio.timeout(_READS_WITHIN):
                self._secrets = await self.store.secrets()
        except (StoreError, TimeoutError) as error:
            why = str(error) or "The store does not answer."
            self.log.error("cannot read the secrets: the old ones stay valid", error=why)
            return False
        return True

    def _suspend(self, message: say.Suspend) -> bool:
        suspensions = Suspensions(message.suspensions)
        self.health.rest(suspensions.sources)
        self.scheduler.suspend(suspensions)
        return True

    def _pauses_are(self, message: say.PausesAre) -> bool:
        self.admission.pause(message.pauses)
        return True

    def _allow_once(self, message: say.AllowOnce) -> bool:
        try:
            self.authenticator.allow_once(message.credential, message.password, message.seconds)
        except AuthenticationUnavailable:
            return False
        return True

    # Ending

    async def _stop(self, grace: float) -> None:
        """Sessions end before delivering does, so that what they hand over last is not missed."""
        self._stopping = True
        if self._began:
            deadline = time.monotonic() + grace
            await self.frontend.drain(grace)  # who is on the way through the door hears 421 too
            self._door.close()
            await self.scheduler.drain(max(0.0, deadline - time.monotonic()))
        await self._cleanup.aclose()

    async def _hurry(self, grace: float) -> None:
        if self._began:
            deadline = time.monotonic() + grace
            await self.frontend.drain(grace)
            await self.scheduler.cut(max(0.0, deadline - time.monotonic()))


async def _live(log: Logger, line: socket.socket, door: socket.socket) -> int:
    return await Worker(log).run(line, door)


if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1:], _live))
