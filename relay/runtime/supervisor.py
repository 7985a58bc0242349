"""The supervisor: one relay, whose mail is carried by its workers.

Start: lock, store, limits, sockets, workers, door, control. Stop: the other way round, with what is
in flight given a grace period. Whatever fails on the way in is undone on the way out.

Owns what there is one of: the lock of the data directory, the recovery of the store, listening
sockets, the counts that hold for all workers together (limits, connections, logins), the
configuration in force, metrics and control. Never touches a message.
"""

import asyncio
import pickle
import platform
import secrets
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from relay import __version__
from relay.admin.app import control_app, public_app
from relay.admin.control import Health, Reloaded
from relay.admin.server import AdminServer, Listening, ServerError, listen_control, listen_tcp
from relay.config.model import Config
from relay.config.problems import ConfigErrors
from relay.delivery.tls import TlsContexts
from relay.frontend.door import Door
from relay.limits.limits import Limits
from relay.limits.shapes import Shapes
from relay.limits.sharing import Sharing
from relay.limits.slots import Slots
from relay.limits.specs import Limit
from relay.limits.warmup import limits_in_force
from relay.observe.logging import Logger
from relay.observe.merging import Merged
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.routing.resolver import DnsResolver
from relay.routing.suspensions import Suspensions
from relay.runtime import messages as say
from relay.runtime.assembly import (
    Assembly,
    AssemblyError,
    assemble,
    name_servers,
    published_records,
)
from relay.runtime.control import RelayControl
from relay.runtime.crew import Crew, CrewError
from relay.runtime.draining import Draining
from relay.runtime.duties import SCRIBE, TIDYING, Duties
from relay.runtime.fleet import InFleet
from relay.runtime.following import Following
from relay.runtime.forwarding import KINDS, Forwarding
from relay.runtime.gauges import Gauges, wall_ms
from relay.runtime.ledger import Ledger
from relay.runtime.member import Member
from relay.runtime.opening import make_log, make_store
from relay.runtime.outbound_tls import OutboundTls
from relay.runtime.pausing import Pausing
from relay.runtime.pruning import prune_attempts, prune_suppressions
from relay.runtime.queue_clock import QueueClock
from relay.runtime.reason import reason
from relay.runtime.reins import SupervisorReins
from relay.runtime.reload import Reloader
from relay.runtime.restraining import Restraining
from relay.runtime.shared_limits import give_up, make_sharing, return_permits
from relay.runtime.suspender import Suspender
from relay.runtime.switchboard import Switchboard
from relay.runtime.tenure import Tenure
from relay.runtime.tls_duties import run_tls_duties
from relay.runtime.warmup_clock import WarmupClock
from relay.simulator.greylist import Greylist
from relay.simulator.server import start_simulator
from relay.store.fleet_values import Elsewhere, Membership, NodeState
from relay.store.interface import StoreError
from relay.store.sqlite import lock_data_dir

_STOPPING = "the relay is stopping"
_SCRIBE_PATIENCE = 60.0  # seconds without an answer; nobody waits for it
_SCRIBE_GRACE = 10.0  # to file what the workers have left, once they have ended


_CLOCK_EVERY = 1.0  # seconds
_TIDY_EVERY = 10.0


class StartError(Exception):
    """The relay cannot start; the text says why and what to do."""


class Supervisor:
    """One relay, under the configuration in force."""

    def __init__(self, path: Path, config: Config, log: Logger) -> None:
        self.path = path
        self.started_at = wall_ms()
        self.log = log
        self.metrics = Metrics()
        self.metrics.build.info({"version": __version__, "python": platform.python_version()})
        self.queue_clock = QueueClock(time.monotonic, wall_ms)
        self._config = config
        self._configuration = pickle.dumps(config)
        self._login_key = secrets.token_bytes(32)
        self.greylist = Greylist()
        self._cleanup = AsyncExitStack()
        self._failed: asyncio.Future[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.scribe_tenure: Tenure | None = None
        self._has_crew = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    @property
    def node_state(self) -> NodeState:
        """Whether mail is taken, and what becomes of that which is here."""
        if self.stopping:
            return "draining"
        return self.draining.state if self._has_crew else "serving"

    # Starting

    async def start(self) -> None:
        """Start every part; when it returns, mail is accepted and delivered.

        Raises `StartError` with everything undone.
        """
        self._failed = asyncio.get_running_loop().create_future()
        try:
            await self._start()
        except (
            ConfigErrors,
            StoreError,
            AssemblyError,
            ServerError,
            CrewError,
            OSError,
        ) as error:
            await self._cleanup.aclose()
            raise StartError(reason(error)) from error
        except BaseException:
            await self._cleanup.aclose()
            raise
        self.log.info(
            "relay started",
            version=__version__,
            listeners={n: f"{host}:{port}" for n, (host, port) in self.door.addresses.items()},
            metrics=self.config.metrics.address,
            workers=self.crew.size,
            configuration=str(self.path),
        )

    async def _start(self) -> None:
        config, stack = self.config, self._cleanup
        lock = await asyncio.to_thread(lock_data_dir, config.data_dir)
        stack.callback(lock.release)
        await self._open_store(config)
        config = await self._take_published()
        self.resolver = DnsResolver(name_servers(config), dnssec=config.transport.dane)
        stack.push_async_callback(self.resolver.close)
        self.health = SourceHealth(config, self.metrics, self.log)
        await self._join_fleet()
        await self._start_policies(config)
        assembly = await self.assemble(config)
        self.router, self.keyring = assembly.router, assembly.keyring
        self.return_paths = assembly.return_paths
        sharing = self._share_limits()
        self.limits = Limits(self.store, time.monotonic, wall_ms, sharing)
        await self._open_warmups(config)
        self._configure_limits(config)
        await self._start_suspending()
        self.forwarding = Forwarding(
            self.store.delays, self.queue_clock.now, self.tell_of_due_mail, self.log
        )
        self.forwarding.bring("rest")  # those of the last relay are over
        self.slots = Slots()
        if sharing is not None:
            sharing.divide(self.slots)
            self._background(return_permits(self.limits), "permits of quotas")
        self._configure_slots(config)
        stack.push_async_callback(self.limits.close)
        self.restraining = Restraining(
            SupervisorReins(self),
            lambda rest: self.crew.tell(say.Resting(rest)),
            self.metrics,
            self.log,
            clock=time.monotonic,
            wall=wall_ms,
            lifted=lambda line: self.forwarding.bring(f"rest:{line}"),
        )
        # What else may be taken is bound before mail is: a start fails before it has begun.
        public, control = self._listen(config)
        if config.simulator is not None:
            await self._start_simulator(assembly)
        await self._start_crew(config, lock.fileno())
        self.gauges = Gauges(
            self.store, self.limits, self.metrics, self.log, lambda: self.config, wall_ms
        )
        await self.gauges.look_at_certificate()
        await self.gauges.refresh()
        self._background(self.gauges.run(), "gauges")
        self._background(self.health.run(), "source health")
        self._background(self.warmups.run(), "warm-ups")
        self._background(self.restraining.run(), "reactions to providers")
        self._background(self.ledger.run(), "ledger of metrics")
        self._background(self._follow_the_clock(), "clock of the queue")
        self._background(run_tls_duties(self), "policies and reports of TLS")
        self._background(self.suspender.run(), "suspensions")
        self._background(self.forwarding.run(), "mail that was put off")
        self._background(self._tidy_limits(), "limits")
        tidies = partial(self.duties.has, TIDYING)
        self._background(
            prune_attempts(
                self.store.attempts, lambda: self.config, self.queue_clock.now, tidies, self.log
            ),
            "pruning of dialogues",
        )
        self._background(
            prune_suppressions(
                self.store.suppressions, lambda: self.config, self.queue_clock.now, tidies, self.log
            ),
            "pruning of the suppression list",
        )
        await self._start_admin(public, control)

    def _listen(self, config: Config) -> tuple[Listening, Listening]:
        host, _, port = config.metrics.address.rpartition(":")
        public = listen_tcp(host.strip("[]"), int(port))
        self._cleanup.callback(public.close)
        control = listen_control(config.data_dir)
        self._cleanup.callback(control.close)
        return public, control

    async def _open_store(self, config: Config) -> None:
        self.store = make_store(config, self.metrics, self.log)
        self.following = Following(self)
        self.fleet = InFleet(self)
        await self.store.open()
        self._cleanup.push_async_callback(self.store.close)
        self.duties = Duties(self.store, self.member_for_duties)
        self.message_log = make_log(config, self.log)
        await self.message_log.open(reading=True)
        self._cleanup.push_async_callback(self.message_log.close)

    async def _take_published(self) -> Config:
        """The configuration that the fleet shares, where one is published, instead of the file's.
        Raises `ConfigErrors` where this node cannot follow it."""
        loaded = await self.following.load()
        for warning in self.following.taken():
            self.log.warning("the configuration of the fleet is followed", detail=warning)
        if self.following.epoch:
            self._config, self._configuration = loaded.config, pickle.dumps(loaded.config)
        return self._config

    async def _join_fleet(self) -> None:
        await self.fleet.join()
        self._cleanup.push_async_callback(self.fleet.membership.leave)
        self._background(self.fleet.membership.run(), "membership of the fleet")

    def tell_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Have workers leave this mail to other nodes; those that join later are told then."""
        if self._has_crew:
            self.crew.tell(say.ElsewhereIs(elsewhere))

    async def _start_suspending(self) -> None:
        def changed(suspensions: Suspensions) -> None:
            self.health.rest(suspensions.sources)

        self.suspender = Suspender(
            self.store.suspensions,
            lambda: self.crew,
            self.queue_clock.now,
            self.metrics,
            self.log,
            changed,
        )
        await self.suspender.begin()
        self.pausing = Pausing(self.store.pauses, lambda: self.crew, self.metrics)
        await self.pausing.begin()

    async def _open_warmups(self, config: Config) -> None:
        self.warmups = WarmupClock(
            self.store.warmups,
            levels=self.limits.levels,
            now=self.queue_clock.now,
            changed=self._warmups_changed,
            metrics=self.metrics,
            log=self.log,
        )
        await self.warmups.open(config)

    async def _start_policies(self, config: Config) -> None:
        """The supervisor renews what the workers have found, and explains by it."""
        contexts = await asyncio.to_thread(TlsContexts.make)
        policies = self.store.sts_policies
        self.outbound_tls = OutboundTls(config, contexts, self.resolver, policies, self.log)
        self._cleanup.push_async_callback(self.outbound_tls.close)

    async def assemble(self, config: Config) -> Assembly:
        """What `config` gives rise to. Raises `AssemblyError`, and `StoreError` where keys that
        nodes share were never heard of."""
        await self.fleet.return_paths.take(config)
        policies = self.outbound_tls.policies(config)
        return await asyncio.to_thread(assemble, config, self.resolver, self.health, policies)

    async def _start_simulator(self, assembly: Assembly) -> None:
        config = assembly.config
        assert config.simulator is not None
        server = await start_simulator(
            config.simulator,
            name=config.hostname,
            tls=assembly.tls,
            records=published_records(assembly.keyring),
            log=self.log,
        )
        self._cleanup.callback(server.close)

    async def _start_crew(self, config: Config, lock: int) -> None:
        """Addresses are bound before workers are started, and open when there are some."""
        self._switchboard = Switchboard(self)
        self.crew = Crew(
            [f"worker-{number}" for number in range(1, config.workers + 1)],
            "relay.runtime.worker",
            begin=self._begin,
            handlers=self._switchboard.handlers,
            joined=self._switchboard.joined,
            lost=self._switchboard.lost,
            changed=self._crew_changed,
            lock=lock,
            logging=config.logging,
            patience=config.store.lease,
            needed=True,
            count=self.metrics.workers.set,
            metrics=self.metrics,
            log=self.log,
        )
        self.scribe = Crew(
            ["scribe"],
            "relay.runtime.scribe",
            begin=self._begin,
            handlers=lambda _: {say.PausesChanged: lambda _: self._pauses_changed()},
            joined=lambda _: None,
            lost=self._scribe_lost,
            changed=lambda: None,
            lock=lock,
            logging=config.logging,
            patience=_SCRIBE_PATIENCE,
            needed=False,  # without it mail goes all the same, and the outbox keeps what happened
            count=self.metrics.scribes.set,
            metrics=self.metrics,
            log=self.log,
        )
        self.ledger = Ledger((self.crew, self.scribe), self.metrics)
        self.door = Door(
            config=config, hand_over=self.crew.hand_over, metrics=self.metrics, log=self.log
        )
        self.guard = self.door.guard
        self.draining = Draining(
            self.door,
            self.crew,
            grace=lambda: self.config.shutdown.grace,
            is_stopping=lambda: self.stopping,
            changed=lambda _: self.fleet.tell_state(),
            log=self.log,
        )
        await self.door.start()
        self._cleanup.callback(self.door.stop)
        self._cleanup.push_async_callback(self.crew.stop, 0.0)
        self._cleanup.push_async_callback(self.scribe.stop, 0.0)
        self._has_crew = True
        self.fleet.attend()
        await self.crew.start()
        self._cleanup.push_async_callback(self.draining.cancel)
        self._background(self.draining.keep_crew(), "workers")
        self._background(self.fleet.news.run(), "news of the fleet")
        self._background(self._look_at_workers(), "report of this node")
        if self.store.is_shared:
            self.scribe_tenure = Tenure(
                SCRIBE,
                fleet=self.store.fleet,
                member=self.member_for_duties,
                work=self._keep_scribe,
                end=self.scribe.stop,
                grace=_SCRIBE_GRACE,
                log=self.log,
            )
            self._background(self.scribe_tenure.run(), "scribe of the fleet")
        else:
            self._background(self._keep_scribe(), "scribe")

    def member_for_duties(self) -> Membership | None:
        """This node as a member of the fleet that may have duties; None while it is none, is about
        to end, or is drained and there may be others."""
        membership = self.fleet.membership
        is_over = self.stopping or (self.store.is_shared and self.node_state == "drained")
        return membership.member if membership.is_valid and not is_over else None

    async def _keep_scribe(self) -> None:
        """Mail does not wait for it, not even at the start."""
        await self.scribe.start()
        await self.scribe.keep()

    async def _pauses_changed(self) -> None:
        await self.pausing.refresh()
        await self.fleet.tell("pauses")

    async def _scribe_lost(self, member: Member) -> None:
        """What it had not filed is in the outbox, for the next one."""
        self.ledger.close_account(member)

    async def _follow_the_clock(self) -> None:
        """Look as often as workers do, so that steps too small to be jumps do not add up to one."""
        while True:
            self.queue_clock.now()
            await asyncio.sleep(_CLOCK_EVERY)

    async def _look_at_workers(self) -> None:
        while True:
            await self.fleet.look_at_workers()
            await asyncio.sleep(_CLOCK_EVERY)

    async def _tidy_limits(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_EVERY)
            await self.limits.tidy()

    def _share_limits(self) -> Sharing | None:
        sharing = make_sharing(self)
        if sharing is not None:
            self._cleanup.push_async_callback(give_up, self, sharing)
            self._background(sharing.run(), "shares of limits")
        return sharing

    async def _start_admin(self, public: Listening, control: Listening) -> None:
        self._reloader = Reloader(self)
        self.control = RelayControl(self, self._reloader)
        for server in (
            AdminServer(public_app(self.control, self._collect, self.log), public),
            AdminServer(control_app(self.control, self.log), control),
        ):
            await server.start()
            self._cleanup.push_async_callback(server.stop)

    async def _collect(self) -> Merged:
        return Merged(await self.ledger.balance())

    def _background(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run a loop that ends with the relay. Should it fail, the relay ends: it is restarted
        whole rather than left without a part of it."""
        task = asyncio.create_task(work, name=name)

        def ended(task: "asyncio.Task[None]") -> None:
            assert self._failed is not None
            if not task.cancelled() and not self.stopping and not self._failed.done():
                self.log.error("a part of the relay ended", part=name, error=repr(task.exception()))
                self._failed.set_result(name)

        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(ended)
        self._cleanup.push_async_callback(cancel)

    def _configure_limits(self, config: Config) -> None:
        self.limits.configure(limits_in_force(config, self.warmups.progress))

    def _warmups_changed(self) -> None:
        """Limits first: a worker that knows of a new one asks for it."""
        self._configure_limits(self.config)
        self.crew.tell(self.warmups_are())
        self.forwarding.bring("warmup")

    def warmups_are(self) -> say.WarmupsAre:
        """What workers are told of warm-ups."""
        return say.WarmupsAre(tuple(self.warmups.progress.values()))

    def tell_of_due_mail(self) -> None:
        """Have workers claim what somebody has freed."""
        self.crew.tell(say.MailIsDue(self.queue_clock.now()))

    def _configure_slots(self, config: Config) -> None:
        self.slots.configure(config.delivery.connections, Shapes(config).connections)

    def put_limit(self, key: str, limit: Limit | None) -> None:
        """Put a limit in force in all processes that comes and goes at run time (None: goes), such
        as a slow-down. Here first: a worker that knows of it asks for it."""
        self.limits.override(key, limit)
        self.crew.tell(say.LimitChanged(key, limit))

    # Workers

    def _begin(self, name: str) -> say.Begin:
        self.queue_clock.now()
        return say.Begin(
            self.fleet.owner_name(name),
            self.crew.size,
            self._configuration,
            self.queue_clock.offset,
            self.guard.blocks.in_force(),
            self._login_key,
            tuple(self.warmups.progress.values()),
        )

    def _crew_changed(self) -> None:
        """Clients wait in the backlog while nobody is there to serve them."""
        if self.crew.ready:
            self.door.resume()
        else:
            self.door.pause()

    # Reloading

    async def reload(self) -> Reloaded:
        """See `Reloader.reload`."""
        return await self._reloader.reload()

    async def put_in_force(self, assembly: Assembly) -> tuple[str, ...]:
        """Apply a configuration in every process, or in none; what is wrong with it.

        Everything that can fail is prepared everywhere first. Raises `OSError` likewise with the
        old configuration still whole in force.
        """
        if self.stopping:
            return (_STOPPING,)
        config = assembly.config
        configuration = pickle.dumps(config)
        prepared = self.door.prepare(config)
        problems = {
            problem
            for crew in (self.crew, self.scribe)
            for answer in await crew.ask(say.Prepare(configuration))
            for problem in answer
        }
        if self.stopping:  # meanwhile: its addresses stay free, its workers are not disturbed
            problems.add(_STOPPING)
        if problems:
            prepared.discard()
            for crew in (self.crew, self.scribe):
                crew.tell(say.Abandon())
            return tuple(sorted(problems))
        self._config, self._configuration = config, configuration
        # Limits first: a worker that knows of a new one asks for it.
        self.warmups.configure(config)
        self._configure_limits(config)
        self._configure_slots(config)
        self.crew.tell(self.warmups_are())
        await self.crew.put_in_force()
        await self.scribe.put_in_force()
        self.door.put_in_force(prepared)
        self.health.reconfigure(config)
        self.restraining.reconfigure(config)
        self.resolver.reconfigure(name_servers(config), dnssec=config.transport.dane)
        self.router, self.keyring = assembly.router, assembly.keyring
        self.return_paths = assembly.return_paths
        self.outbound_tls.reconfigure(config)
        self.suspender.reconsider()
        self.forwarding.bring(*KINDS)
        await self.gauges.look_at_certificate()
        return ()

    # Ending

    async def run_until(self, stop: asyncio.Event) -> str:
        """Wait for `stop`, or for a part that fails; its name then, else an empty string."""
        assert self._failed is not None
        waiting = asyncio.create_task(stop.wait())
        ends: set[asyncio.Future[Any]] = {waiting, self._failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return self.failed_part

    async def stop(self) -> None:
        """Accept no more, let workers finish what is in flight within the grace period, leave the
        rest queued."""
        self.stopping = True
        grace = self.config.shutdown.grace
        self.log.info("relay is stopping", grace_seconds=grace)
        self.door.stop()
        await self.crew.stop(grace)
        if self.scribe_tenure is not None:
            await self.scribe_tenure.finish(min(grace, _SCRIBE_GRACE))
        await self.scribe.stop(min(grace, _SCRIBE_GRACE))
        await self._cleanup.aclose()
        self.log.info("relay stopped")

    @property
    def failed_part(self) -> str:
        """The part whose end ends the relay; an empty string while all is well."""
        return self._failed.result() if self._failed is not None and self._failed.done() else ""

    def liveness(self) -> Health:
        """Whether the process is worth keeping."""
        return self.control.liveness()
