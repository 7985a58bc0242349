"""The store and the message log, as the processes of the relay have them."""

from collections.abc import Callable
from functools import partial

from relay.config.model import Config
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.intake import tell_suppressed
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.log import SqliteLog


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


def make_log(
    config: Config, log: Logger, on_damage: Callable[[], None] = lambda: None
) -> SqliteLog:
    """A message log, not opened yet. `on_damage` is called should it have to be begun anew."""
    return SqliteLog(config.data_dir, log=log, on_damage=on_damage)
