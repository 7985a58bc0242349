"""A published configuration, as one node follows it."""

import asyncio
from types import SimpleNamespace
from typing import Any

from relay.admin.control import Reloaded
from relay.runtime.following import Following
from relay.store.fleet_values import PublishedConfiguration


class _Relay:
    """A supervisor whose reload takes as long as it is told to."""

    def __init__(self) -> None:
        self.reloads = 0
        self.may_end = asyncio.Event()
        self.following: Any = None
        self.store = SimpleNamespace(fleet=self)

    async def published(self) -> PublishedConfiguration:
        return PublishedConfiguration(1, 0, "a", "digest", "text")

    async def reload(self) -> Reloaded:
        self.reloads += 1
        await self.may_end.wait()
        self.following.epoch = 1
        return Reloaded(True, 1)


async def test_who_publishes_waits_for_what_the_news_of_it_has_begun() -> None:
    relay = _Relay()
    relay.following = Following(relay)  # type: ignore[arg-type]
    by_news = asyncio.create_task(relay.following.refresh())
    while not relay.reloads:
        await asyncio.sleep(0)
    by_publishing = asyncio.create_task(relay.following.refresh())
    await asyncio.sleep(0)
    assert not by_publishing.done()
    relay.may_end.set()
    await asyncio.gather(by_news, by_publishing)
    assert relay.following.epoch == 1
    assert relay.reloads == 1
