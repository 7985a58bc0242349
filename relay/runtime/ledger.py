"""The metrics of all processes as one: asked for when somebody scrapes, kept when a worker dies.

A worker that is killed takes with it what it has counted since it was last asked: at most a few
seconds, and nothing that anybody has seen, so that no counter ever runs backwards.
"""

import asyncio
from collections.abc import Sequence

from relay.observe.merging import Family, counts, merge, take_stock
from relay.observe.metrics import Metrics
from relay.runtime.crew import Crew
from relay.runtime.member import Member
from relay.runtime.messages import TakeStock

_ASKED_EVERY = 15.0
_ANSWERS_WITHIN = 5.0  # then a worker's last figures stand: a scrape does not wait for it


class Ledger:
    """What the supervisor and its workers have counted."""

    def __init__(self, crews: Sequence[Crew], metrics: Metrics) -> None:
        self._crews = crews
        self._metrics = metrics
        # Until its account is closed what a worker has counted stands here, dying or not.
        self._accounts: set[Member] = set()
        self._departed: tuple[Family, ...] = ()
        self._asking = asyncio.Lock()

    async def balance(self) -> Sequence[Family]:
        """The metrics of the relay now."""
        await self._ask()
        workers = [member.stock for member in self._accounts]
        departed, additive = self._departed, self._metrics.additive

        def add_up() -> Sequence[Family]:
            return merge(take_stock(self._metrics.registry), [departed, *workers], additive)

        return await asyncio.to_thread(add_up)

    def close_account(self, member: Member) -> None:
        """Keep what a worker has counted; it is gone."""
        self._accounts.discard(member)
        if member.stock:
            self._departed = merge(self._departed, [counts(member.stock)], frozenset())
            member.stock = ()

    async def run(self) -> None:
        """Ask now and then, for ever, so that little is lost with a worker that is killed."""
        while True:
            await asyncio.sleep(_ASKED_EVERY)
            await self._ask()

    async def _ask(self) -> None:
        # One question at a time: an older answer must not take the place of a newer one.
        async with self._asking:
            await asyncio.gather(
                *(self._ask_one(crew, member) for crew in self._crews for member in crew.ready)
            )

    async def _ask_one(self, crew: Crew, member: Member) -> None:
        for stock in await crew.ask_one(member, TakeStock(), _ANSWERS_WITHIN):
            if member.is_ready:  # else its account may be closed
                member.stock = stock
                self._accounts.add(member)
