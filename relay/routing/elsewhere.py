"""Which mail is for other nodes of the fleet to carry.

A node carries mail whose pool has a source address that it can use. What it cannot send itself it
leaves to a living node that can. Where there is none, mail is better off here, waiting for its
sources and told of in `relay explain`, than with nobody. Pure.
"""

from collections.abc import Callable, Iterable

from relay.config.model import Config
from relay.store.fleet_values import Elsewhere, Node


def find_elsewhere(config: Config, has: Callable[[str], bool], others: Iterable[Node]) -> Elsewhere:
    """What `others` are to carry. `has` says whether this node can use a source address now. Of the
    others those count that live and take no leave."""
    theirs = {
        source
        for node in others
        if node.is_alive and node.report.state == "serving"
        for source in node.report.sources
    }
    pools = frozenset(
        name
        for name, pool in config.pools.items()
        if not any(has(str(source.address)) for source in pool.sources)
        and any(str(source.address) in theirs for source in pool.sources)
    )
    sets = frozenset(
        name for name, stream in config.configuration_sets.items() if stream.pool in pools
    )
    return Elsewhere(sets, pools)
