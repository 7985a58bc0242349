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
from contextlib import AsyncExitStack
from pathlib import Path

from relay import __version__
from relay.admin.app import control_app, public_app
from relay.admin.control import Health, Reloaded
from relay.admin.server import AdminServer, Listening, ServerError, listen_control, listen_tcp
from relay.config.model import Config
from relay.config.problems import ConfigErrors
from relay.delivery.tls import TlsContexts
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
from relay.runtime.background import Background
from relay.runtime.control import RelayControl
from relay.runtime.crew import CrewError
from relay.runtime.duties import Duties
from relay.runtime.fleet import InFleet
from relay.runtime.following import Following
from relay.runtime.forwarding import KINDS, Forwarding
from relay.runtime.gauges import Gauges, wall_ms
from relay.runtime.limiting import Limiting
from relay.runtime.opening import make_log, make_store
from relay.runtime.outbound_tls import OutboundTls
from relay.runtime.pausing import Pausing
from relay.runtime.queue_clock import QueueClock
from relay.runtime.reason import reason
from relay.runtime.reins import SupervisorReins
from relay.runtime.reload import Reloader
from relay.runtime.restraining import Restraining
from relay.runtime.shared_time import Timekeeping
from relay.runtime.staff import Staff
from relay.runtime.suspender import Suspender
from relay.runtime.upkeep import start_upkeep
from relay.simulator.greylist import Greylist
from relay.simulator.server import start_simulator
from relay.store.fleet_values import Elsewhere, NodeState
from relay.store.interface import StoreError
from relay.store.sqlite import lock_data_dir

_STOPPING = "the relay is stopping"


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
        self.cleanup = AsyncExitStack()
        self.stopping = False
        self._is_staffed = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    @property
    def node_state(self) -> NodeState:
        """Whether mail is taken, and what becomes of that which is here."""
        if self.stopping:
            return "draining"
        return self.staff.draining.state if self._is_staffed else "serving"

    # Starting

    async def start(self) -> None:
        """Start every part; when it returns, mail is accepted and delivered.

        Raises `StartError` with everything undone.
        """
        self.background = Background(self.cleanup, lambda: self.stopping, self.log)
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
            await self.cleanup.aclose()
            raise StartError(reason(error)) from error
        except BaseException:
            await self.cleanup.aclose()
            raise
        self.log.info(
            "relay started",
            version=__version__,
            listeners={
                n: f"{host}:{port}" for n, (host, port) in self.staff.door.addresses.items()
            },
            metrics=self.config.metrics.address,
            workers=self.staff.crew.size,
            configuration=str(self.path),
        )

    async def _start(self) -> None:
        config, stack = self.config, self.cleanup
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
        self._route_by(assembly)
        self.limiting = Limiting(self)
        await self.limiting.open(config)
        await self._start_holding_back()
        # What else may be taken is bound before mail is: a start fails before it has begun.
        public, control = self._listen(config)
        if config.simulator is not None:
            await self._start_simulator(assembly)
        self.staff = Staff(self, config, lock.fileno())
        self._is_staffed = True
        await self.staff.start()
        self.gauges = Gauges(
            self.store, self.limiting.limits, self.metrics, self.log, lambda: self.config, wall_ms
        )
        await self.gauges.look_at_certificate()
        await self.gauges.refresh()
        start_upkeep(self)
        await self._start_admin(public, control)

    def _listen(self, config: Config) -> tuple[Listening, Listening]:
        host, _, port = config.metrics.address.rpartition(":")
        public = listen_tcp(host.strip("[]"), int(port))
        self.cleanup.callback(public.close)
        control = listen_control(config.data_dir)
        self.cleanup.callback(control.close)
        return public, control

    async def _open_store(self, config: Config) -> None:
        self.store = make_store(config, self.metrics, self.log)
        self.following = Following(self)
        self.fleet = InFleet(self)
        await self.store.open()
        self.cleanup.push_async_callback(self.store.close)
        self.duties = Duties(self.store, self.fleet.member_for_duties)
        self.message_log = make_log(config, self.log)
        await self.message_log.open(reading=True)
        self.cleanup.push_async_callback(self.message_log.close)

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
        self.cleanup.push_async_callback(self.fleet.membership.leave)
        self.background.start(self.fleet.membership.run(), "membership of the fleet")

    def tell_elsewhere(self, elsewhere: Elsewhere) -> None:
        """Have workers leave this mail to other nodes; those that join later are told then."""
        if self._is_staffed:
            self.staff.crew.tell(say.ElsewhereIs(elsewhere))

    def tell_time(self, time: Timekeeping) -> None:
        """Likewise, scribe and workers."""
        if self._is_staffed:
            for crew in (self.staff.crew, self.staff.scribe):
                crew.tell(say.TimeIs(time))

    async def _start_holding_back(self) -> None:
        """What keeps mail from going: orders of operators, pauses, and what providers said."""

        def changed(suspensions: Suspensions) -> None:
            self.health.rest(suspensions.sources)

        self.suspender = Suspender(
            self.store.suspensions,
            lambda: self.staff.crew,
            self.queue_clock.now,
            self.metrics,
            self.log,
            changed,
            ended=lambda: self.fleet.tell_soon("suspensions"),
        )
        await self.suspender.begin()
        self.pausing = Pausing(self.store.pauses, lambda: self.staff.crew, self.metrics)
        await self.pausing.begin()
        self.forwarding = Forwarding(
            self.store.delays, self.queue_clock.now, self.tell_of_due_mail, self.log
        )
        self.forwarding.bring("rest")  # those of the last relay are over
        self.restraining = Restraining(
            SupervisorReins(self),
            lambda rest: self.staff.crew.tell(say.Resting(rest)),
            self.metrics,
            self.log,
            clock=time.monotonic,
            wall=wall_ms,
            lifted=lambda line: self.forwarding.bring(f"rest:{line}"),
        )

    async def _start_policies(self, config: Config) -> None:
        """The supervisor renews what the workers have found, and explains by it."""
        contexts = await asyncio.to_thread(TlsContexts.make)
        policies = self.store.sts_policies
        self.outbound_tls = OutboundTls(
            config, contexts, self.resolver, policies, self.log, wall=self.queue_clock.date
        )
        self.cleanup.push_async_callback(self.outbound_tls.close)

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
        self.cleanup.callback(server.close)

    async def _start_admin(self, public: Listening, control: Listening) -> None:
        self._reloader = Reloader(self)
        self.control = RelayControl(self, self._reloader)
        for server in (
            AdminServer(public_app(self.control, self._collect, self.log), public),
            AdminServer(control_app(self.control, self.log), control),
        ):
            await server.start()
            self.cleanup.push_async_callback(server.stop)

    async def _collect(self) -> Merged:
        return Merged(await self.staff.ledger.balance())

    def _route_by(self, assembly: Assembly) -> None:
        self.router, self.keyring = assembly.router, assembly.keyring
        self.return_paths = assembly.return_paths

    def tell_of_due_mail(self) -> None:
        """Have workers claim what somebody has freed."""
        self.staff.crew.tell(say.MailIsDue(self.queue_clock.now()))

    # Workers

    def begin(self, name: str) -> say.Begin:
        """What a worker, or the scribe, begins with."""
        self.queue_clock.now()
        return say.Begin(
            self.fleet.owner_name(name),
            self.staff.crew.size,
            self._configuration,
            self.queue_clock.offset,
            self.staff.guard.blocks.in_force(),
            self._login_key,
            tuple(self.limiting.warmups.progress.values()),
            time=self.fleet.time.known,
        )

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
        prepared = self.staff.door.prepare(config)
        problems = await self.staff.prepare(configuration)
        if self.stopping:  # meanwhile: its addresses stay free, its workers are not disturbed
            problems.add(_STOPPING)
        if problems:
            prepared.discard()
            self.staff.abandon()
            return tuple(sorted(problems))
        self._config, self._configuration = config, configuration
        self.limiting.configure(config)
        await self.staff.put_in_force()
        self.staff.door.put_in_force(prepared)
        self.health.reconfigure(config)
        self.restraining.reconfigure(config)
        self.resolver.reconfigure(name_servers(config), dnssec=config.transport.dane)
        self._route_by(assembly)
        self.outbound_tls.reconfigure(config)
        self.suspender.reconsider()
        self.forwarding.bring(*KINDS)
        await self.gauges.look_at_certificate()
        return ()

    # Ending

    async def run_until(self, stop: asyncio.Event) -> str:
        """Wait for `stop`, or for a part that fails; its name then, else an empty string."""
        return await self.background.run_until(stop)

    async def stop(self) -> None:
        """Accept no more, let workers finish what is in flight within the grace period, leave the
        rest queued."""
        self.stopping = True
        grace = self.config.shutdown.grace
        self.log.info("relay is stopping", grace_seconds=grace)
        await self.staff.stop(grace)
        await self.cleanup.aclose()
        self.log.info("relay stopped")

    def liveness(self) -> Health:
        """Whether the process is worth keeping."""
        return self.control.liveness()
