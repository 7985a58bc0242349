"""The limits that hold for all workers together, and what decides on them: the configuration, the
days of warm-ups, slow-downs that come and go, and what this node's share of each is."""

import asyncio
import time
from typing import TYPE_CHECKING

from relay.config.model import Config
from relay.limits.limits import Limits
from relay.limits.shapes import Shapes
from relay.limits.slots import Slots
from relay.limits.specs import Limit
from relay.limits.warmup import limits_in_force
from relay.runtime import messages as say
from relay.runtime.shared_limits import give_up, make_sharing, return_permits
from relay.runtime.warmup_clock import WarmupClock

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_TIDY_EVERY = 10.0  # seconds


class Limiting:
    """Of one supervisor, which has joined its fleet. `limits` are rates and quotas, `slots` the
    connections of lines, `warmups` the days of source addresses."""

    def __init__(self, relay: "Supervisor") -> None:
        self._relay = relay
        self._sharing = make_sharing(relay)
        if self._sharing is not None:
            relay.cleanup.push_async_callback(give_up, relay, self._sharing)
            relay.background.start(self._sharing.run(), "shares of limits")
        self.limits = Limits(relay.store, time.monotonic, relay.queue_clock.date, self._sharing)
        relay.cleanup.push_async_callback(self.limits.close)
        self.slots = Slots()
        if self._sharing is not None:
            self._sharing.divide(self.slots)
            relay.background.start(return_permits(self.limits), "permits of quotas")
        self.warmups = WarmupClock(
            relay.store.warmups,
            levels=self.limits.levels,
            now=relay.queue_clock.now,
            changed=self._warmups_changed,
            metrics=relay.metrics,
            log=relay.log,
            turned=lambda: relay.fleet.tell_soon("warmups"),
        )

    async def open(self, config: Config) -> None:
        """Read how far warm-ups have come, and put all in force. Raises `StoreError`."""
        await self.warmups.open(config)
        self._put_in_force(config)

    def configure(self, config: Config) -> None:
        """Another configuration. Here first: a worker that knows of a new limit asks for it."""
        self.warmups.configure(config)
        self._put_in_force(config)
        self._relay.staff.crew.tell(self.warmups_are())

    def _put_in_force(self, config: Config) -> None:
        self.limits.configure(limits_in_force(config, self.warmups.progress))
        self.slots.configure(config.delivery.connections, Shapes(config).connections)

    def put(self, key: str, limit: Limit | None) -> None:
        """Put a limit in force in all processes that comes and goes at run time (None: goes), such
        as a slow-down. Here first, as ever."""
        self.limits.override(key, limit)
        self._relay.staff.crew.tell(say.LimitChanged(key, limit))

    def _warmups_changed(self) -> None:
        relay = self._relay
        self.limits.configure(limits_in_force(relay.config, self.warmups.progress))
        relay.staff.crew.tell(self.warmups_are())
        relay.forwarding.bring("warmup")

    def warmups_are(self) -> say.WarmupsAre:
        """What workers are told of warm-ups."""
        return say.WarmupsAre(tuple(self.warmups.progress.values()))

    async def tidy(self) -> None:
        """Give back and forget what nobody uses, for ever."""
        while True:
            await asyncio.sleep(_TIDY_EVERY)
            await self.limits.tidy()
