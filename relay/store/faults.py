"""What a store says of its faults: each is counted, and as many logged as somebody can read."""

import time
from collections.abc import Callable, Sequence

from relay.observe.logging import Logger
from relay.store.codec import Damaged
from relay.store.interface import StoreError, StoreFull

_LOG_INTERVAL = 10.0  # seconds between two log lines about faults of one kind


class Faults:
    """Tells `log`, and `on_error` with the kind of each: full, unavailable, damaged."""

    def __init__(self, log: Logger, on_error: Callable[[str], None]) -> None:
        self._log = log
        self._on_error = on_error
        self._told: dict[str, float] = {}

    def failed(self, error: StoreError) -> None:
        """Logged now and then only: a full disk, or a database that is away, refuses everybody."""
        kind = "full" if isinstance(error, StoreFull) else "unavailable"
        now = time.monotonic()
        if now - self._told.get(kind, -_LOG_INTERVAL) >= _LOG_INTERVAL:
            self._told[kind] = now
            self._log.error("the store failed", kind=kind, error=str(error))
        self._on_error(kind)

    def quarantined(self, damaged: Sequence[Damaged]) -> None:
        """Deliveries that are not what was stored, and that were set apart."""
        for damage in damaged:
            self._log.error("put a damaged delivery in quarantine", damage=str(damage))
            self._on_error("damaged")
