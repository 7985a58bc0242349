"""What is looked at from time to time rather than told as it happens: depth, quotas, space, expiry.

`refresh` asks the store once and sets the gauges; the last answers are kept for `/healthz`,
`/readyz` and the front end's check of free space. It changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from cryptography import x509

from relay.config.model import Config
from relay.limits.limits import Level, Limits
from relay.limits.specs import metric_name
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.reach import Away
from relay.store.interface import Store, StoreError
from relay.store.values import QueueDepth

INTERVAL_S = 5.0
_REST = 20  # times as long as the looking took: a deep queue is counted less often


class Gauges:
    """The gauges of one relay. `config` gives the configuration in force."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        metrics: Metrics,
        log: Logger,
        config: Callable[[], Config],
        wall: Callable[[], int],
    ) -> None:
        self.depths: Sequence[QueueDepth] = ()
        self.levels: Sequence[Level] = ()
        self.free_bytes: int | None = None
        self.certificate_expires_at: float | None = None
        self.suppressions = 0
        self.away: Away | None = None
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._config = config
        self._wall = wall
        self._shown: set[tuple[str, str]] = set()
        self._limited: set[tuple[str, str]] = set()
        if store.is_shared:  # a server does not tell, and 0 would be an alarm
            metrics.leave_out(metrics.store_free_bytes)

    async def run(self) -> None:
        """Refresh for ever; a store that fails is told once and asked again."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await self.refresh()
            took = 0.0 if self.away is not None else clock() - began
            await asyncio.sleep(max(INTERVAL_S, _REST * took))

    async def refresh(self) -> None:
        """Ask everything once. Raises nothing that the store may raise."""
        try:
            self.free_bytes = await self._store.free_space()
            self.depths = await self._store.depths()
            self.suppressions = await self._store.suppressions.count()
            self.levels = await self._limits.levels()
        except StoreError as error:
            if self.away is None:
                self._log.error("the store does not answer", error=str(error))
            self.away = Away(self.away.since if self.away else self._wall(), str(error))
            return
        self.away = None
        if self.free_bytes is not None:
            self._metrics.store_free_bytes.set(self.free_bytes)
        self._metrics.suppressions.set(self.suppressions)
        self._show_depths()
        self._show_quotas()

    def _show_depths(self) -> None:
        now = self._wall()
        found = {depth.configuration_set: depth for depth in self.depths}
        for name in {*self._config().configuration_sets, *found, *(n for n, _ in self._shown)}:
            depth = found.get(name) or QueueDepth(name, 0, 0, now)
            self._metrics.queue_deliveries.labels(name, "queued").set(depth.queued)
            self._metrics.queue_deliveries.labels(name, "held").set(depth.held)
            self._metrics.queue_deliveries.labels(name, "suspended").set(depth.suspended)
            age = max(0, now - depth.oldest_accepted_at) / 1000
            self._metrics.queue_oldest_seconds.labels(name).set(age)
        self._shown = {(name, "") for name in found}

    def _show_quotas(self) -> None:
        limited = set()
        for level in self.levels:
            owner, name = metric_name(level.key)
            # Of sites there is no end: what they have used is in `explain`.
            if level.kind == "quota" and not name.endswith("/other"):
                limited.add((owner, name))
                self._metrics.quota_used.labels(owner, name).set(level.used)
                self._metrics.quota_limit.labels(owner, name).set(level.limit)
        for gone in self._limited - limited:
            self._metrics.quota_used.remove(*gone)
            self._metrics.quota_limit.remove(*gone)
        self._limited = limited

    async def look_at_certificate(self) -> None:
        """Note when the certificate expires: called when it is put in force and not later, since
        a file that was renewed is not what clients see before the reload."""
        path = self._config().tls.certificate
        try:
            octets = await asyncio.to_thread(path.read_bytes)
            expiry = x509.load_pem_x509_certificates(octets)[0].not_valid_after_utc.timestamp()
        except (OSError, ValueError) as error:
            # It was loaded a moment ago: somebody is just replacing it.
            self._log.warning("cannot read the certificate", file=str(path), error=str(error))
            return
        self.certificate_expires_at = expiry
        self._metrics.certificate_expiry.labels(path.name).set(expiry)


def wall_ms() -> int:
    """UTC milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
