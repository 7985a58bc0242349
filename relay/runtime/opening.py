"""The store, as every process of the relay has it: its faults are counted and logged."""

from functools import partial

from relay.config.model import Config
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.intake import tell_suppressed
from relay.store.sqlite import SqliteStore


def make_store(config: Config, metrics: Metrics, log: Logger) -> SqliteStore:
    """A store, not opened yet, that counts and logs what befalls it."""

    def on_commit(seconds: float, operations: int) -> None:
        metrics.commit_seconds.observe(seconds)
        metrics.commit_operations.observe(operations)

    return SqliteStore(
        config.data_dir,
        inline_size=config.store.inline_size,
        on_commit=on_commit,
        on_error=lambda kind: metrics.store_errors.labels(kind).inc(),
        on_suppressed=partial(tell_suppressed, metrics, log),
        log=log,
    )
