"""This node as a member of the fleet: it joins, beats once a second, and leaves.

`is_valid` is what everything rests on that only a living node may do, such as lend permits of a
share. It is told by this process's own monotonic clock, from before the store was asked: so a node
that was stopped, or cannot reach the store, stops in time without anybody telling it, and no two
clocks are compared.

A node that was declared dead joins again, under a new epoch: what it held is gone, its mail with
others. Of an embedded store there is one node, and none of this costs anything.

A name that seems to be in use is watched first. Who has it beats each second if it lives: then two
relays have one name, or a data directory was copied, and the one that comes is refused. Who is
silent was killed, perhaps a moment ago: an installation that kept its identity follows itself at
once, one that has lost it (a container's) when the lease has run out.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.runtime.gauges import wall_ms
from relay.runtime.reach import Reach
from relay.store.fleet_values import Membership, Node, NodeReport
from relay.store.interface import FleetStore, NameTaken, StoreError, StoreUnavailable

BEAT_S = 1.0
_SILENCE_S = 2.0  # without a beat: whoever has the name of this node does not live
_LOOK_S = 0.5
_OF_A_LEASE = 3  # a beat that takes longer than this part of a lease is given up
_LONGEST_BEAT = 3.0  # seconds; so long a database that is well never takes
_STATES = ("serving", "draining", "drained", "dead")
_IDENTITY = "node-id"


class FleetMembership:
    """`lease` is in seconds; `report` says how this node is doing; `seen` is told of all nodes
    after each beat."""

    def __init__(
        self,
        fleet: FleetStore,
        name: str,
        identity: str,
        lease: float,
        *,
        report: Callable[[], NodeReport],
        seen: Callable[[Sequence[Node]], None],
        metrics: Metrics,
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
        reach: Reach | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.nodes: Sequence[Node] = ()
        self.reach = reach or Reach(wall_ms)
        self._fleet = fleet
        self._identity = identity
        self._lease = lease
        self._report = report
        self._seen = seen
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self._sleep = sleep
        self._member: Membership | None = None
        self._valid_until = clock()
        self._hastened = asyncio.Event()
        self._is_taken = False

    @property
    def member(self) -> Membership | None:
        """As what this node has joined; None before, and while it is declared dead."""
        return self._member

    @property
    def is_valid(self) -> bool:
        """Whether the lease of this node certainly still runs."""
        return self._member is not None and self._clock() < self._valid_until

    @property
    def valid_until(self) -> float:
        """When the lease ends unless it is renewed, in monotonic seconds."""
        return self._valid_until

    async def join(self) -> None:
        """Become a node. Waits where another one of the name was alive a moment ago. Raises
        `StoreError`, also where it lives."""
        await self._watch_the_name()
        while True:
            asked = self._clock()
            try:
                self._member = await self._fleet.join(
                    self.name, self._identity, round(self._lease * 1000), self._report()
                )
            except NameTaken:
                await self._watch_the_name(again=True)
            else:
                self._valid_until = asked + self._lease
                return await self._look()

    async def _watch_the_name(self, *, again: bool = False) -> None:
        """Until who has the name has been silent for long enough to be dead. Raises `NameTaken`
        where it is not."""
        known = await self._namesake()
        if known is None:
            return
        if not again:
            self._log.warning(
                "a node of this name was alive a moment ago: waiting whether it still is",
                node=self.name,
                lease_seconds=known.lease / 1000,
            )
        await self._sleep(_LOOK_S)  # the last beat of one that was killed may be under way
        known, until = await self._namesake(), self._clock() + _SILENCE_S
        while known is not None and self._clock() < until:
            await self._sleep(_LOOK_S)
            found = await self._namesake()
            if found is None:
                return
            if (found.epoch, found.seen_at) != (known.epoch, known.seen_at):
                raise NameTaken(
                    f"There is a node {self.name} already, and it lives: give this one another name"
                    " with fleet.node. Where its data_dir was copied from that one's, remove"
                    f" {_IDENTITY} from the copy too."
                )

    async def _namesake(self) -> Node | None:
        """Who has the name of this node, and a lease that still runs."""
        for node in await self._fleet.nodes():
            if node.name == self.name and node.is_alive:
                return node
        return None

    async def run(self) -> None:
        """Beat for ever. A store that fails is told once and asked again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._hastened.wait()
            self._hastened.clear()
            await self.beat()

    def hasten(self) -> None:
        """Beat now: there is something to say, or to see."""
        self._hastened.set()

    async def beat(self) -> None:
        """Renew the lease, and look who else is there. Raises nothing that the store may raise."""
        try:
            async with asyncio.timeout(min(_LONGEST_BEAT, self._lease / _OF_A_LEASE)):
                await self._renew()
                await self._look()
        except NameTaken as error:
            if not self._is_taken:
                self._log.error("another relay has the name of this node", error=str(error))
            self._is_taken = True
        except (StoreError, TimeoutError) as error:
            why = str(error) or "The store does not answer."
            if self.reach.away is None:
                self._log.error("the fleet cannot be told that this node lives", error=why)
            self.reach.lose(why)
        else:
            if self.reach.away is not None:
                self._log.info("the store answers again")
            self.reach.find()
            self._is_taken = False
        self._metrics.fleet_member.set(self.is_valid)

    async def leave(self) -> None:
        """Be no node any more. A store that fails has the others wait for the lease."""
        member, self._member = self._member, None
        if member is None:
            return
        try:
            async with asyncio.timeout(self._lease / _OF_A_LEASE):
                await self._fleet.leave(member)
        except (StoreError, TimeoutError) as error:
            self._log.warning(
                "the fleet cannot be told that this node has left: it waits for the lease",
                error=str(error) or "no answer",
            )

    async def _renew(self) -> None:
        if self._member is None:
            await self.join()
            self._log.info("this node has joined the fleet again", node=self.name)
            return
        asked = self._clock()
        if await self._fleet.beat(self._member, self._report()):
            self._valid_until = asked + self._lease
            return
        self._member = None
        self._log.error(
            "this node was declared dead: it was silent for longer than its lease, and others have"
            " its mail",
            node=self.name,
            lease_seconds=self._lease,
        )
        await self.join()

    async def _look(self) -> None:
        self.nodes = await self._fleet.nodes()
        counts = dict.fromkeys(_STATES, 0)
        for node in self.nodes:
            counts[node.report.state if node.is_alive else "dead"] += 1
        for state, count in counts.items():
            self._metrics.fleet_nodes.labels(state).set(count)
        self._seen(self.nodes)


def identity_of(data_dir: Path) -> str:
    """The word by which this installation is told from another of the same name; made and kept when
    there is none. Raises OSError, and StoreUnavailable where the file holds something else."""
    path = data_dir / _IDENTITY
    try:
        with path.open("x", encoding="ascii") as file:
            word = secrets.token_hex(16)
            file.write(f"{word}\n")
            return word
    except FileExistsError:
        word = path.read_text(encoding="ascii", errors="replace").strip()
    if not word.isalnum():
        raise StoreUnavailable(
            f"{path} does not hold the identity of this node: remove it, and another is made"
        )
    return word
