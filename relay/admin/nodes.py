"""The nodes of the fleet, as operators are shown them."""

from dataclasses import dataclass

from relay.admin.control import Changed, Refused
from relay.config.common import differing
from relay.signing.return_path_keys import keys_in, text_of, with_new_key
from relay.store.fleet_values import Node, NodeState, PublishedConfiguration
from relay.store.interface import FleetStore

_SCRIBE = "scribe"


@dataclass(frozen=True, slots=True)
class ShownNode:
    """A node, with the names of the sections of its configuration that are not those of most living
    nodes, and what it does for all."""

    node: Node
    differs: tuple[str, ...] = ()
    duties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeNamed:
    """One node."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishedNow:
    """A configuration was published under `epoch`; `problems` say what keeps the node that did so
    from following it, or are warnings where `followed`."""

    epoch: int
    followed: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RotatedKeys:
    """The `number` of the new key of return-paths, and those of the ones that stay valid."""

    number: int
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """How far a node is on its way to be drained: what is still under way there, and the names of
    the `others` that serve and may take its mail."""

    state: NodeState
    sessions: int = 0
    working_set: int = 0
    outbound_connections: int = 0
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeOperations:
    """Over the fleet that a store has."""

    fleet: FleetStore

    async def list(self) -> list[ShownNode]:
        """By name, those that died within a day too."""
        return compared(await self.fleet.nodes(), await self.fleet.holder_of(_SCRIBE))

    async def forget(self, request: NodeNamed) -> Changed:
        """Forget a dead node. Raises `Refused` where there is none of that name."""
        if not await self.fleet.forget(request.name):
            raise Refused(
                f"no dead node is called {request.name}: `relay nodes` shows them", "not_found"
            )
        return Changed(1)

    async def published(self) -> PublishedConfiguration:
        """The configuration that the fleet shares. Raises `Refused` where none is published."""
        found = await self.fleet.published()
        if found is None:
            raise Refused(
                "no configuration is published: each node follows its own file", "not_found"
            )
        return found

    async def unpublish(self) -> Changed:
        """Have each node follow its own file again. Raises `Refused` as `published` does."""
        if not await self.fleet.unpublish():
            await self.published()
        return Changed(1)

    async def rotate_return_path_key(self) -> RotatedKeys:
        """Make a new key of return-paths, for all nodes. Raises `Refused` where no node has had
        any yet, or somebody else does the same at this moment."""
        known = await self.fleet.return_path_keys("")
        if not known:
            raise Refused("the fleet has no keys of return-paths yet: the first node makes them")
        keys = with_new_key(keys_in(known))
        if await self.fleet.return_path_keys(text_of(keys), known) != text_of(keys):
            raise Refused("another key was made at this moment: no further one is needed")
        return RotatedKeys(keys[0].number, tuple(key.number for key in keys[1:]))


def compared(nodes: list[Node], scribe: str) -> list[ShownNode]:
    """Each node against the configuration that most living nodes have; of as many, the first."""
    digests = [node.report.configuration for node in nodes if node.is_alive]
    common = max(digests, key=digests.count, default="")
    return [
        ShownNode(
            node,
            differing(common, node.report.configuration) if node.is_alive else (),
            (_SCRIBE,) if node.is_alive and node.name == scribe else (),
        )
        for node in nodes
    ]
