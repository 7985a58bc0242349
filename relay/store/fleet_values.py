"""What nodes of a fleet know of each other. Times are UTC milliseconds by the clock of the store.

A *node* is one relay: a supervisor with its workers, on one machine or in one container. Nodes that
share a store are a *fleet*. An embedded store has one node, and nobody to share with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

NodeState = Literal["serving", "draining", "drained"]
"""serving: takes and delivers mail; draining: takes no more and is finishing; drained: holds no
mail, and may be stopped."""

NewsKind = Literal[
    "secrets",
    "suspensions",
    "pauses",
    "queue",
    "suppressions",
    "warmups",
    "configuration",
    "return_paths",
    "nodes",
]
"""What of the shared state has changed: whoever hears it reads it anew."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node says of itself with each heartbeat.

    `configuration` is a digest of what all nodes must have in common, `configuration_epoch` that
    of the published configuration that it follows (0: its own file's); `problem` says why it cannot
    follow the newest. `sources` are the source addresses that this node has and may use now.
    `mail_at` are the addresses where it takes mail. `held` deliveries are in its memory,
    `connections` to destinations are open.
    """

    version: str
    state: NodeState = "serving"
    configuration: str = ""
    configuration_epoch: int = 0
    problem: str = ""
    sources: tuple[str, ...] = ()
    mail_at: tuple[str, ...] = ()
    workers: int = 0
    held: int = 0
    connections: int = 0
    accepted_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """A node that has joined. Its epoch fences what it holds of what the fleet shares; `lease` is
    for how many ms it is waited for in silence."""

    name: str
    epoch: int
    lease: int


@dataclass(frozen=True, slots=True)
class HeldDuty:
    """A duty of the fleet, as the node of that epoch has it: a fence for what is done for it."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node as others see it. `is_alive`: its lease has not run out."""

    name: str
    epoch: int
    joined_at: int
    seen_at: int
    lease: int
    is_alive: bool
    report: NodeReport


@dataclass(frozen=True, slots=True)
class PublishedConfiguration:
    """The configuration that the fleet shares: what nodes have in common, as YAML."""

    epoch: int
    published_at: int
    published_by: str
    digest: str
    document: str


@dataclass(frozen=True, slots=True)
class ShareWish:
    """What a node says of one limit: of `limit` permits in any `window` ms (0: at a time, as of
    connections) it keeps `keep` and could use `demand` (0: none; its share is given up).

    Of what it has and does not keep, `cooling` are still in its window and stay counted for
    `window` ms from now; the rest is free at once. `limit` is its own configuration's: where nodes
    differ, the lower one holds.
    """

    key: str
    limit: int
    window: int
    keep: int
    cooling: int
    demand: int


@dataclass(frozen=True, slots=True)
class Share:
    """The answer: the node may use `held` of a limit from now on, until its membership ends.
    `others` could use so many, each of them; `retry_in` ms is when what cools will be free (0:
    nothing cools, or the node has what it could use). `limit` is the lowest of all nodes'."""

    key: str
    held: int
    others: tuple[int, ...] = ()
    retry_in: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Mail that other living nodes are to carry, for they have source addresses of its pool and
    this node has none: what goes through one of `pools`, each with the names of those nodes, and so
    that of `sets`, each with its pool, but for what was moved to another one. Mail of `shared`
    pools may go from here and from others, which have addresses of it that this node has not."""

    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.pools)


NOWHERE = Elsewhere()
