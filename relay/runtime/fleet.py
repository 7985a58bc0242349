"""What a supervisor does because there may be other nodes: the parts of it, and how they meet.

`membership` says whether this node lives, `news` what others have changed; what others are to
carry is worked out from both and told to the workers.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay import __version__
from relay.config.common import differing, digest_of
from relay.routing.elsewhere import find_elsewhere
from relay.runtime import messages as say
from relay.runtime.duties import leaves_duties
from relay.runtime.gauges import wall_ms
from relay.runtime.looking import GLANCE_S
from relay.runtime.membership import FleetMembership, identity_of
from relay.runtime.news import News
from relay.runtime.reach import Reach
from relay.runtime.shared_return_paths import SharedReturnPaths
from relay.runtime.shared_time import SharedTime, Timekeeping
from relay.store.fleet_values import Elsewhere, Membership, NewsKind, Node, NodeReport
from relay.store.interface import StoreError
from relay.store.values import QueueFilter

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

_RECALL_S = 5.0
_READ_ANEW: tuple[NewsKind, ...] = (
    "secrets",
    "suspensions",
    "pauses",
    "warmups",
    "configuration",
    "return_paths",
)


class InFleet:
    """Made before the store is opened, which is when news begins."""

    def __init__(self, relay: "Supervisor") -> None:
        config = relay.config
        self.name = config.fleet.name
        self.reach = Reach(wall_ms)
        self.elsewhere = Elsewhere()
        self.news = News(relay.log)
        self.time = SharedTime(
            relay.store.fleet, self._follow, relay.metrics, relay.log, wall=wall_ms
        )
        self.return_paths = SharedReturnPaths(relay)
        self._relay = relay
        self._digest_of: tuple[object, str] = (None, "")
        self._telling: set[asyncio.Future[None]] = set()
        self._figures = (0, 0, 0, 0)
        self._differs: frozenset[str] = frozenset()
        relay.store.fleet.listen(self.news.hear)

    def owner_name(self, worker: str) -> str:
        """What a worker is called among all that share the store."""
        return f"{self.name}/{worker}" if self._relay.store.is_shared else worker

    async def join(self) -> None:
        """Become a node, before there are workers. Raises `StoreError` and `OSError`."""
        relay = self._relay
        if relay.store.is_shared:
            await self.time.ask()
        self.membership = FleetMembership(
            relay.store.fleet,
            self.name,
            identity_of(relay.config.data_dir),
            relay.config.store.lease,
            report=self.report,
            seen=self._seen,
            metrics=relay.metrics,
            log=relay.log,
            reach=self.reach,
        )
        await self.membership.join()

    def _follow(self, time: Timekeeping) -> None:
        """Here first; workers that are not there yet begin with it."""
        self._relay.queue_clock.follow(time)
        self._relay.tell_time(time)

    def attend(self) -> None:
        """There are workers: see to news from now on."""
        relay = self._relay
        self.news.handle(
            {
                "secrets": lambda: relay.staff.crew.ask(say.SecretsChanged()),
                "suspensions": relay.suspender.refresh,
                "pauses": relay.pausing.refresh,
                "warmups": relay.limiting.warmups.reload,
                "queue": self._queue_changed,
                "configuration": relay.following.refresh,
                "return_paths": self.return_paths.refresh,
                "nodes": self._nodes_changed,
            },
            _READ_ANEW if relay.store.is_shared else (),
        )

    async def tell(self, news: NewsKind) -> None:
        """Have the other nodes told of what was changed here. Should the store fail just now they
        read it anew within seconds: what was changed is stored."""
        if not self._relay.store.is_shared:
            return
        try:
            await self._relay.store.fleet.tell(news)
        except StoreError as error:
            self._relay.log.warning(
                "other nodes are not told of a change: they read it anew from time to time",
                news=news,
                error=str(error),
            )

    def tell_soon(self, news: NewsKind) -> None:
        """As `tell`, without waiting for it."""
        telling = asyncio.ensure_future(self.tell(news))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    def member_for_duties(self) -> Membership | None:
        """This node as a member of the fleet that may have duties; None while it is none, is about
        to end, or is drained and others serve."""
        relay, membership = self._relay, self.membership
        others = (node for node in membership.nodes if node.name != self.name)
        is_over = relay.stopping or leaves_duties(relay.node_state, others)
        return membership.member if membership.is_valid and not is_over else None

    def tell_state(self) -> None:
        """Have the others hear at once that this node takes mail no more, or again."""
        self.membership.hasten()
        self.tell_soon("nodes")

    async def look_at_workers(self) -> None:
        """Note how much they do, for the report of this node."""
        states = await self._relay.staff.crew.ask(say.Report(), GLANCE_S)
        self._figures = (
            len(self._relay.staff.crew.ready),
            sum(state.working_set for state in states),
            sum(state.outbound_connections for state in states),
            sum(state.accepted_per_minute for state in states),
        )

    def report(self) -> NodeReport:
        """How this node is doing."""
        relay = self._relay
        workers, held, connections, accepted = self._figures
        return NodeReport(
            version=__version__,
            state=relay.node_state,
            configuration=self._digest(),
            configuration_epoch=relay.following.epoch,
            problem=relay.following.problem,
            sources=tuple(sorted(filter(relay.health.available, self._sources()))),
            mail_at=tuple(sorted(str(one.address) for one in relay.config.listeners.values())),
            workers=workers,
            held=held,
            connections=connections,
            accepted_per_minute=accepted,
        )

    def _sources(self) -> set[str]:
        return {
            str(source.address)
            for pool in self._relay.config.pools.values()
            for source in pool.sources
        }

    def _digest(self) -> str:
        """Worked out once for each configuration that is put in force."""
        of, digest = self._digest_of
        if of is not self._relay.config:
            digest = digest_of(self._relay.config)
            self._digest_of = self._relay.config, digest
        return digest

    def _seen(self, nodes: Sequence[Node]) -> None:
        others = [node for node in nodes if node.name != self.name]
        elsewhere = find_elsewhere(self._relay.config, self._relay.health.available, others)
        if elsewhere != self.elsewhere:
            self.elsewhere = elsewhere
            self._relay.tell_elsewhere(elsewhere)
        self._compare([node for node in others if node.is_alive])

    def _compare(self, others: Sequence[Node]) -> None:
        """Say so where the configuration of another node is not ours."""
        ours = self._digest()
        differs = frozenset(
            f"{node.name}: {', '.join(sections)}"
            for node in others
            if (sections := differing(ours, node.report.configuration))
        )
        self._relay.metrics.fleet_configuration_differs.set(bool(differs))
        for each in sorted(differs - self._differs):
            name, _, named = each.partition(": ")
            self._relay.log.warning(
                "another node has another configuration", node=name, sections=named
            )
        self._differs = differs

    async def _nodes_changed(self) -> None:
        """Mail of one that has ended, or is drained, is free."""
        self.membership.hasten()
        self._relay.tell_of_due_mail()

    async def _queue_changed(self) -> None:
        """Mail that an operator has marked changes when whoever claimed it gives it back."""
        await self._relay.staff.crew.ask(say.Recall(QueueFilter()), _RECALL_S)
        self._relay.staff.crew.tell(say.QueueChanged())
