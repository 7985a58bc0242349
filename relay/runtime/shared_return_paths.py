"""Return-paths of a fleet: what mail of one node bears comes back to any of them.

All nodes have the same keys. They are kept in the shared store, where the first node offers those
that it has; each node's file, from which its workers read, holds what it was told last. An embedded
store shares none, and the file is all there is.
"""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relay.config.model import Config
from relay.runtime.assembly import AssemblyError
from relay.signing.keys import KeyFileError
from relay.signing.return_path_keys import keys_in, load_or_make, replace_keys, text_of
from relay.signing.return_paths import uses_return_paths
from relay.store.interface import StoreError

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_AGAIN_S = 60.0


class SharedReturnPaths:
    """Of one supervisor, once its store is open."""

    def __init__(self, relay: "Supervisor") -> None:
        self._relay = relay
        self._is_known = False
        self._again_at = 0.0  # until when a reload that was refused is not repeated

    async def take(self, config: Config) -> None:
        """Have the keys of the fleet in the file, before anything is made of it.

        Where the store cannot be reached, those of before are good; there are none before the first
        time. Raises `StoreError` then, and `AssemblyError`.
        """
        if not self._relay.store.is_shared or not uses_return_paths(config):
            return
        try:
            await self._take(config.data_dir)
        except StoreError:
            if not self._is_known:
                raise
        except KeyFileError as error:
            raise AssemblyError(error.problems) from error

    async def _take(self, data_dir: Path) -> None:
        own = await asyncio.to_thread(load_or_make, data_dir)
        fleet = self._relay.fleet
        told = await fleet.reach.during(
            lambda: self._relay.store.fleet.return_path_keys(text_of(own))
        )
        self._is_known = True
        try:
            shared = keys_in(told)
        except ValueError as error:
            raise KeyFileError(f"the keys of return-paths in the store: {error}") from error
        if shared != own:
            await asyncio.to_thread(replace_keys, data_dir, shared)

    async def refresh(self) -> None:
        """Put the keys of the fleet in force, where they are not yet. Raises `StoreError`."""
        relay = self._relay
        if not uses_return_paths(relay.config):
            return
        told = await relay.store.fleet.return_path_keys("")
        if not told or told == text_of(relay.return_paths.keys):
            return
        if time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + _AGAIN_S
        if (await relay.reload()).accepted:
            self._again_at = 0.0
