"""The store and the message log, as the processes of the relay and its commands have them.

The one place that names stores: embedded, or where the configuration has a `store.url` in that
PostgreSQL, whose driver is imported only then.
"""

from collections.abc import Callable
from functools import partial

from relay.config.model import Config
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.intake import tell_suppressed
from relay.store.fleet_values import HeldDuty
from relay.store.interface import Store, StoreUnavailable
from relay.store.log_interface import MessageLog
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.log import SqliteLog
from relay.store.values import Message, Suppressed

_NO_DRIVER = (
    "store.url names a PostgreSQL database, and the package asyncpg is not installed: `pip install"
    " 'relay[postgres]'`."
)


def make_store(config: Config, metrics: Metrics, log: Logger, session: str = "relay") -> Store:
    """A store, not opened yet, that counts and logs what befalls it. `session` is the name under
    which the server of a shared one lists this process."""

    def on_commit(seconds: float, operations: int) -> None:
        metrics.commit_seconds.observe(seconds)
        metrics.commit_operations.observe(operations)

    return store_of(
        config,
        log,
        session,
        on_commit=on_commit,
        on_error=lambda kind: metrics.store_errors.labels(kind).inc(),
        on_suppressed=partial(tell_suppressed, metrics, log),
    )


def store_of(
    config: Config,
    log: Logger,
    session: str = "relay",
    *,
    on_commit: Callable[[float, int], None] = lambda seconds, operations: None,
    on_error: Callable[[str], None] = lambda kind: None,
    on_suppressed: Callable[[Message, Suppressed], None] = lambda report, suppressed: None,
) -> Store:
    """The store of a configuration, not opened yet. Raises StoreUnavailable where its driver is not
    installed."""
    if config.store.url is None:
        return SqliteStore(
            config.data_dir,
            inline_size=config.store.inline_size,
            on_commit=on_commit,
            on_error=on_error,
            on_suppressed=on_suppressed,
            log=log,
        )
    try:
        from relay.store.postgres import Place, PostgresStore  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise StoreUnavailable(_NO_DRIVER) from error
    return PostgresStore(
        Place(config.store.url, config.store.password_file, session),
        inline_size=config.store.inline_size,
        on_commit=on_commit,
        on_error=on_error,
        on_suppressed=on_suppressed,
        log=log,
    )


def make_log(
    config: Config,
    log: Logger,
    on_damage: Callable[[], None] = lambda: None,
    session: str = "relay",
    duty: HeldDuty | None = None,
) -> MessageLog:
    """A message log, not opened yet. `on_damage` is called should an embedded one have to be begun
    anew; one in PostgreSQL takes what is written for `duty` while a node has it. `session` is as
    above. Raises StoreUnavailable likewise."""
    if config.store.url is None:
        return SqliteLog(config.data_dir, log=log, on_damage=on_damage)
    try:
        from relay.store.postgres import Place  # noqa: PLC0415 - likewise
        from relay.store.postgres.log import PostgresLog  # noqa: PLC0415
    except ImportError as error:
        raise StoreUnavailable(_NO_DRIVER) from error
    return PostgresLog(
        Place(config.store.url, config.store.password_file, session), duty=duty, log=log
    )
