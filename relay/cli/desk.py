"""Where store commands are answered: by the running relay, or by the store itself where none runs.

Both answer the same questions with the same values; a command does not know which it is. Without a
running relay an embedded store is opened here, under the lock of the data directory, so that no
relay can start meanwhile. A store that relays share is opened beside those that run elsewhere; they
are told that something may have changed.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

from relay.admin.client import Client
from relay.admin.endpoints import Endpoint
from relay.admin.operations import StoreOperations
from relay.cli.failures import CommandFailed
from relay.cli.output import utc_ms
from relay.cli.place import Place, find_config
from relay.config.model import Config
from relay.observe.logging import make_logger
from relay.runtime.opening import make_log, store_of
from relay.store.fleet_values import NewsKind
from relay.store.interface import Store
from relay.store.log_interface import MessageLog
from relay.store.sqlite import lock_data_dir
from relay.store.values import SuppressionEntry

Q = TypeVar("Q")
A = TypeVar("A")

# Whatever a command did: to read it anew costs a node a moment.
_CHANGED: tuple[NewsKind, ...] = (
    "secrets",
    "suspensions",
    "pauses",
    "queue",
    "suppressions",
    "warmups",
)


class Desk(Protocol):
    """Answers questions about what is stored. Raises `Refused` or `StoreError`."""

    def call(self, endpoint: Endpoint[Q, A], question: Q) -> A: ...

    def suppressions(self) -> AbstractContextManager[Iterator[SuppressionEntry]]: ...


@contextmanager
def open_desk(config_path: Path | None) -> Iterator[Desk]:
    """The running relay of that configuration, or its store."""
    place = find_config(config_path)
    client = Client(place.data_dir())
    if client.is_running():
        yield client
        return
    with _open_store(place) as desk:
        yield desk


@contextmanager
def _open_store(place: Place) -> Iterator[Desk]:
    config = place.config()
    quiet = make_logger("console", "error")
    with _alone(config), asyncio.Runner() as runner:
        store = store_of(config, quiet, "relay command")
        log = make_log(config, quiet, session="relay command")
        # Beside other relays nothing is made or swept here.
        runner.run(store.open(joining=store.is_shared))
        try:
            runner.run(log.open(reading=True))
            yield _StoreDesk(runner, store, log, config)
            if store.is_shared:
                for kind in _CHANGED:
                    runner.run(store.fleet.tell(kind))
        finally:
            runner.run(log.close())
            runner.run(store.close())


def _alone(config: Config) -> AbstractContextManager[object]:
    """The lock of an embedded store."""
    if config.store.is_shared:
        return nullcontext()
    must_own(config.data_dir, ", or start the relay: none is running")
    try:
        return lock_data_dir(config.data_dir)
    except OSError as error:
        raise CommandFailed(f"cannot use {config.data_dir}: {error.strerror}") from None


def must_own(data_dir: Path, otherwise: str = "") -> None:
    """Raises `CommandFailed` where the data directory is another user's.

    Files that another user makes here would keep the relay from starting.
    """
    if not data_dir.exists():
        return
    owner = data_dir.stat().st_uid
    if owner != os.geteuid():
        raise CommandFailed(
            f"{data_dir} belongs to another user (uid {owner}): run this command as that user"
            + otherwise
        )


class _StoreDesk:
    """The store in this process."""

    def __init__(
        self, runner: asyncio.Runner, store: Store, log: MessageLog, config: Config
    ) -> None:
        self._runner = runner
        self._operations = StoreOperations(
            store=store, message_log=log, config=lambda: config, clock=utc_ms
        )

    def call(self, endpoint: Endpoint[Q, A], question: Q) -> A:
        async def answer() -> A:
            return await endpoint.call(self._operations, question)

        return self._runner.run(answer())

    @contextmanager
    def suppressions(self) -> Iterator[Iterator[SuppressionEntry]]:
        yield self._in_turn(self._operations.suppressions.all())

    def _in_turn(self, entries: AsyncIterator[SuppressionEntry]) -> Iterator[SuppressionEntry]:
        async def following() -> SuppressionEntry | None:
            return await anext(entries, None)

        while (entry := self._runner.run(following())) is not None:
            yield entry
