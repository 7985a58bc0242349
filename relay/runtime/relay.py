"""One relay: its parts, how they are started in order, changed together and stopped in order.

Start: lock, store, owner, limits, delivering, accepting, control. Stop: the other way round, with
what is in flight given a grace period. Whatever fails on the way in is undone on the way out.
"""

import asyncio
import platform
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
from relay.admission.admission import Admission
from relay.config.model import Config
from relay.delivery.connections import Connections
from relay.delivery.scheduler import Scheduler
from relay.frontend.authenticator import Authenticator
from relay.frontend.frontend import Frontend
from relay.limits.limits import Limits, config_limits
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.routing.resolver import DnsResolver
from relay.runtime.assembly import (
    Assembly,
    AssemblyError,
    assemble,
    name_servers,
    published_records,
)
from relay.runtime.control import RelayControl
from relay.runtime.gauges import Gauges, wall_ms
from relay.runtime.intake import Intake, tell_suppressed
from relay.runtime.queue_clock import QueueClock
from relay.runtime.reason import reason
from relay.runtime.reload import Reloader
from relay.simulator.server import start_simulator
from relay.store.interface import StoreError
from relay.store.sqlite import SqliteStore, lock_data_dir

OWNER = "relay"


class StartError(Exception):
    """The relay cannot start; the text says why and what to do."""


class Relay:
    """The parts of one relay process, under the configuration in force."""

    def __init__(self, path: Path, config: Config, log: Logger) -> None:
        self.path = path
        self.started_at = wall_ms()
        self.log = log
        self.metrics = Metrics()
        self.metrics.build.info({"version": __version__, "python": platform.python_version()})
        self.queue_clock = QueueClock(time.monotonic, wall_ms, self._clock_jumped)
        self._config = config
        self._cleanup = AsyncExitStack()
        self._failed: asyncio.Future[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    def _clock_jumped(self, seconds: float) -> None:
        self.log.warning(
            "the clock of this host has jumped: queued mail neither ages nor waits for it",
            seconds=round(seconds, 1),
        )

    async def start(self) -> None:
        """Start every part; when it returns, mail is accepted and delivered.

        Raises `StartError` with everything undone.
        """
        self._failed = asyncio.get_running_loop().create_future()
        try:
            await self._start()
        except (StoreError, AssemblyError, ServerError, OSError) as error:
            await self._cleanup.aclose()
            raise StartError(reason(error)) from error
        except BaseException:
            await self._cleanup.aclose()
            raise
        self.log.info(
            "relay started",
            version=__version__,
            listeners={n: f"{host}:{port}" for n, (host, port) in self.frontend.addresses.items()},
            metrics=self.config.metrics.address,
            configuration=str(self.path),
        )

    async def _start(self) -> None:
        config, stack = self.config, self._cleanup
        await self._open_store(config)
        self.resolver = DnsResolver(name_servers(config))
        stack.push_async_callback(self.resolver.close)
        self.health = SourceHealth(config, self.metrics, self.log)
        assembly = await asyncio.to_thread(assemble, config, self.resolver, self.health)
        self.limits = Limits(self.store, time.monotonic, wall_ms)
        self.limits.configure(config_limits(config))
        stack.push_async_callback(self.limits.close)
        # What else may be taken is bound before mail is: a start fails before it has begun.
        public, control = self._listen(config)
        if config.simulator is not None:
            await self._start_simulator(assembly)
        await self._start_delivering(assembly)
        await self._start_accepting(assembly)
        self.gauges = Gauges(
            self.store, self.limits, self.metrics, self.log, lambda: self.config, wall_ms
        )
        await self.gauges.look_at_certificate()
        await self.gauges.refresh()
        self._background(self.gauges.run(), "gauges")
        self._background(self.health.run(), "source health")
        await self._start_admin(public, control)

    def _listen(self, config: Config) -> tuple[Listening, Listening]:
        host, _, port = config.metrics.address.rpartition(":")
        public = listen_tcp(host.strip("[]"), int(port))
        self._cleanup.callback(public.close)
        control = listen_control(config.data_dir)
        self._cleanup.callback(control.close)
        return public, control

    async def _open_store(self, config: Config) -> None:
        lock = await asyncio.to_thread(lock_data_dir, config.data_dir)
        self._cleanup.callback(lock.release)
        metrics = self.metrics

        def on_commit(seconds: float, operations: int) -> None:
            metrics.commit_seconds.observe(seconds)
            metrics.commit_operations.observe(operations)

        self.store = SqliteStore(
            config.data_dir,
            inline_size=config.store.inline_size,
            on_commit=on_commit,
            on_error=lambda kind: metrics.store_errors.labels(kind).inc(),
            on_suppressed=partial(tell_suppressed, metrics, self.log),
            log=self.log,
        )
        await self.store.open()
        self._cleanup.push_async_callback(self.store.close)

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

    async def _start_delivering(self, assembly: Assembly) -> None:
        self.router, self.keyring = assembly.router, assembly.keyring
        owner = await self.store.register(OWNER, round(assembly.config.store.lease * 1000))
        self._cleanup.push_async_callback(self._resign)
        self.connections = Connections(assembly.config, self.metrics)
        self._cleanup.callback(self.connections.close)
        self.scheduler = Scheduler(
            store=self.store,
            owner=owner,
            router=assembly.router,
            health=self.health,
            connections=self.connections,
            limits=self.limits,
            keyring=assembly.keyring,
            config=assembly.config,
            metrics=self.metrics,
            log=self.log,
            wall=self.queue_clock.now,
        )
        self._background(self.scheduler.run(), "scheduler")

    async def _resign(self) -> None:
        """Free what is still claimed, at once rather than when the lease ends."""
        await self.store.resign(self.scheduler.owner)

    async def _start_accepting(self, assembly: Assembly) -> None:
        config = assembly.config
        self.authenticator = Authenticator()
        self._cleanup.callback(self.authenticator.close)
        self.authenticator.load(config, await self.store.secrets())
        self.admission = Admission(config, self.limits, config.hostname, self.metrics)
        intake = Intake(self.store, self.scheduler, self.metrics, self.log, self.queue_clock)
        self.frontend = Frontend(
            config=config,
            admission=self.admission,
            store=self.store,
            accept=intake.accept,
            authenticator=self.authenticator,
            metrics=self.metrics,
            log=self.log,
        )
        await self.frontend.start()

    async def _start_admin(self, public: Listening, control: Listening) -> None:
        self._reloader = Reloader(self)
        self.control = RelayControl(self, self._reloader)
        for server in (
            AdminServer(public_app(self.control, self.metrics.registry, self.log), public),
            AdminServer(control_app(self.control, self.log), control),
        ):
            await server.start()
            self._cleanup.push_async_callback(server.stop)

    def _background(self, work: Coroutine[object, object, None], name: str) -> None:
        """Run a loop that ends with the relay. Should it fail, the relay ends: it is restarted
        whole rather than left without a part of it."""
        task = asyncio.create_task(work, name=name)

        def ended(task: "asyncio.Task[None]") -> None:
            assert self._failed is not None
            if not task.cancelled() and not self._stopping and not self._failed.done():
                self.log.error("a part of the relay ended", part=name, error=repr(task.exception()))
                self._failed.set_result(name)

        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(ended)
        self._cleanup.push_async_callback(cancel)

    async def run_until(self, stop: asyncio.Event) -> str:
        """Wait for `stop`, or for a part that fails; its name then, else an empty string."""
        assert self._failed is not None
        waiting = asyncio.create_task(stop.wait())
        ends: set[asyncio.Future[Any]] = {waiting, self._failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return self.failed_part

    async def stop(self) -> None:
        """Accept no more, finish what is in flight within the grace period, leave the rest queued.

        Sessions end before delivering does, so that what they hand over last is not overlooked.
        """
        self._stopping = True
        grace = self.config.shutdown.grace
        deadline = time.monotonic() + grace
        self.log.info("relay is stopping", grace_seconds=grace)
        await self.frontend.drain(grace)
        await self.scheduler.drain(max(0.0, deadline - time.monotonic()))
        await self._cleanup.aclose()
        self.log.info("relay stopped")

    async def reload(self) -> Reloaded:
        """See `Reloader.reload`."""
        return await self._reloader.reload()

    async def put_in_force(self, assembly: Assembly) -> None:
        """Apply a configuration whole. The step that may fail (binding listeners) comes first.

        Raises `OSError` or `TlsError` with the old configuration still whole in force.
        """
        config = assembly.config
        secrets = await self.store.secrets()
        await self.frontend.reconfigure(config)
        self.authenticator.load(config, secrets)
        self.admission.reconfigure(config)
        self.limits.configure(config_limits(config))
        self.health.reconfigure(config)
        self.resolver.reconfigure(name_servers(config))
        self.router, self.keyring = assembly.router, assembly.keyring
        self.scheduler.reconfigure(config, assembly.router, assembly.keyring)
        self._config = config
        await self.gauges.look_at_certificate()

    def secrets_changed(self) -> None:
        """Let a secret that was added or revoked count from now on."""
        task = asyncio.create_task(self._load_secrets(), name="secrets")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load_secrets(self) -> None:
        try:
            secrets = await self.store.secrets()
        except StoreError as error:
            self.log.error("cannot read the secrets: the old ones stay valid", error=str(error))
        else:
            self.authenticator.load(self.config, secrets)

    @property
    def failed_part(self) -> str:
        """The part whose end ends the relay; an empty string while all is well."""
        return self._failed.result() if self._failed is not None and self._failed.done() else ""

    def liveness(self) -> Health:
        """Whether the process is worth keeping."""
        return self.control.liveness()
