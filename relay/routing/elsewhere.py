"""Which mail is for other nodes of the fleet to carry.

A node carries mail whose pool has a source address that it can use. What it cannot send itself it
leaves to a living node that can. Where there is none, mail is better off here, waiting for its
sources and told of in `relay explain`, than with nobody. Pure.
"""

from collections.abc import Callable, Iterable, Sequence

from relay.config.model import Config
from relay.store.fleet_values import Elsewhere, Node


def find_elsewhere(config: Config, has: Callable[[str], bool], others: Iterable[Node]) -> Elsewhere:
    """What `others` are to carry. `has` says whether this node can use a source address now. Of the
    others those count that live and take no leave."""
    theirs = {
        node.name: frozenset(node.report.sources)
        for node in others
        if node.is_alive and node.report.state == "serving"
    }
    pools: dict[str, tuple[str, ...]] = {}
    shared: set[str] = set()
    for name, pool in config.pools.items():
        # An address of weight 0 is never sent from.
        addresses = {str(source.address) for source in pool.sources if source.weight}
        lacking = {address for address in addresses if not has(address)}
        able = tuple(sorted(node for node, sources in theirs.items() if lacking & sources))
        if able and lacking == addresses:
            pools[name] = able
        elif able:
            shared.add(name)
    sets = {
        name: stream.pool
        for name, stream in config.configuration_sets.items()
        if stream.pool in pools
    }
    return Elsewhere(pools, sets, frozenset(shared))


def why_it_waited(pool: str, nodes: Sequence[str] = ()) -> str:
    """What mail of a pool waits for that this node does not carry, as a clause for people; `nodes`
    are those that can, as far as they are known."""
    names = f": {', '.join(nodes)}" if nodes else ""
    return f"it waited for a node that has addresses of pool {pool}{names}"
