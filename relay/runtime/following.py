"""The configuration that the fleet shares, as this node follows it.

A node's own sections come from its file, the common ones from what is published, if anything is.
What it cannot follow it keeps away from whole: the configuration that it has stays in force, and
the report of the node says why. It is tried again from time to time: the key file that was missing
may have come. Where the store cannot be reached a reload uses what was published when last heard.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relay.admin.control import Refused
from relay.admin.nodes import PublishedNow
from relay.config.common import digest_of
from relay.config.document import read_document
from relay.config.load import Loaded, load, load_document
from relay.config.problems import ConfigErrors, listed
from relay.config.published import called, common_text, differing_keys, merged
from relay.runtime.assembly import AssemblyError
from relay.store.fleet_values import PublishedConfiguration
from relay.store.interface import StoreError

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

AGAIN_S = 60.0
"""Seconds after which a configuration that could not be followed is tried again."""
_LONGEST_PROBLEM = 400  # characters; the log has it whole


class Following:
    """Of one supervisor, once its store is open. `epoch` is the published configuration that is in
    force here (0: the file's own); `problem` says why it is not the newest."""

    def __init__(self, relay: "Supervisor") -> None:
        self.epoch = 0
        self.problem = ""
        self._relay = relay
        self._heard: PublishedConfiguration | None = None
        self._differs: tuple[str, ...] = ()
        self._wrong: tuple[str, ...] = ()  # with the file, were it alone
        self._read = 0
        self._tried: tuple[int, float] | None = None
        self._refreshing = asyncio.Lock()

    async def load(self) -> Loaded:
        """The configuration that this node is to have. Raises `ConfigErrors`."""
        try:
            relay = self._relay
            self._heard = await relay.fleet.reach.during(relay.store.fleet.published)
        except StoreError as error:
            self._relay.log.warning(
                "the published configuration cannot be read: the one last heard of is used",
                error=str(error),
            )
        return await asyncio.to_thread(self._load, self._heard)

    def _load(self, heard: PublishedConfiguration | None) -> Loaded:
        path = self._relay.path
        if heard is None:
            self._read, self._differs, self._wrong = 0, (), ()
            return load(path)
        own = read_document(path)
        loaded = load_document(merged(own, heard.document, heard.epoch), os.environ)
        self._read, self._differs = heard.epoch, differing_keys(own, heard.document)
        self._wrong = _problems(path)
        return loaded

    def taken(self) -> list[str]:
        """What `load` gave last is in force; what is to be said of it."""
        self.epoch, self.problem, self._tried = self._read, "", None
        path = self._relay.path
        said = []
        if self._differs:
            said.append(
                f"{path}: not in force, for {called(self.epoch)}, has it otherwise:"
                f" {listed(self._differs)}"
            )
        if self._wrong:
            said.append(f"{path}: this node will not start with it: {'; '.join(self._wrong)}")
        return said

    async def refresh(self) -> None:
        """Put what is published in force, where it is not yet. Raises `StoreError`.

        Whoever publishes hears of it as the others do: the second to come waits for the first, and
        finds it done.
        """
        async with self._refreshing:
            await self._refresh()

    async def _refresh(self) -> None:
        newest = await self._relay.store.fleet.published()
        epoch = 0 if newest is None else newest.epoch
        if epoch == self.epoch:
            self.problem, self._tried = "", None
            return
        now = time.monotonic()
        if self._tried is not None and self._tried[0] == epoch and now < self._tried[1] + AGAIN_S:
            return
        self._tried = epoch, now
        answer = await self._relay.reload()
        if not answer.accepted:
            self.problem = "; ".join(answer.problems)[:_LONGEST_PROBLEM]

    async def publish(self) -> PublishedNow:
        """Publish the file of this node, and follow it. Raises `Refused` with all that is wrong
        with it, or where another was published meanwhile."""
        relay = self._relay
        fleet = relay.store.fleet
        known = await fleet.published()
        try:
            loaded = await asyncio.to_thread(load, relay.path)
            text = await asyncio.to_thread(common_text, loaded.document)
            await relay.assemble(loaded.config)  # keys and certificates are here, and right
        except (ConfigErrors, AssemblyError) as error:
            raise Refused(f"not published: {error}") from error
        digest = digest_of(loaded.config)
        done = await fleet.publish(text, digest, relay.fleet.name, known.epoch if known else 0)
        if done is None:
            raise Refused("not published: another configuration was published at this moment")
        relay.log.info("configuration published", epoch=done.epoch)
        await self.refresh()
        problems = (self.problem,) if self.problem else ()
        return PublishedNow(done.epoch, self.epoch == done.epoch, problems)


def _problems(path: Path) -> tuple[str, ...]:
    """What is wrong with a file as a whole."""
    try:
        load(path)
    except ConfigErrors as errors:
        return tuple(map(str, errors.problems))
    return ()
