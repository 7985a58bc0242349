"""`relay nodes`: the relays that share a store."""

from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.endpoints import NODES, NODES_FORGET, Nothing
from relay.admin.nodes import NodeNamed, ShownNode
from relay.cli.desk import open_desk
from relay.cli.failures import OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, print_json, print_table, say, shown, span, utc_ms

_COLUMNS = (
    "node",
    "state",
    "version",
    "since",
    "seen",
    "configuration",
    "sources",
    "workers",
    "held",
    "connections",
    "accepted/min",
    "duties",
)

app = App(name="nodes", help="The relays that share the store: how each does, and what differs.")


@app.default
def nodes(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Show the nodes of the fleet: whether each lives, its version, whether its configuration is
    that of the others, its sources and its load. Those that died within a day are shown as dead.
    """
    with open_desk(config) as desk:
        found = desk.call(NODES, Nothing())
    if as_json:
        print_json(found)
        return OK
    now = utc_ms()
    print_table(_COLUMNS, [_row(one, now) for one in found])
    return OK


@app.command
def forget(
    name: Annotated[str, Parameter(name="NAME", help="Of the node, as `relay nodes` shows it.")],
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show a dead node no more. It comes back by itself when it is started."""
    with open_desk(config) as desk:
        changed = desk.call(NODES_FORGET, NodeNamed(name))
    if as_json:
        print_json(changed)
    else:
        say(f"node {shown(name)} is forgotten")
    return OK


def _row(one: ShownNode, now: int) -> tuple[object, ...]:
    node, report = one.node, one.node.report
    own = f"published {report.configuration_epoch}" if report.configuration_epoch else "its file"
    return (
        node.name,
        report.state if node.is_alive else "dead",
        report.version,
        moment(node.joined_at),
        f"{span((now - node.seen_at) / 1000)} ago",
        _trouble(one) or own,
        len(report.sources),
        report.workers,
        report.held,
        report.connections,
        report.accepted_per_minute,
        ", ".join(one.duties),
    )


def _trouble(one: ShownNode) -> str:
    """What is wrong with its configuration: the reason before what follows from it."""
    if one.node.report.problem:
        return f"cannot follow: {one.node.report.problem}"
    return f"differs: {', '.join(one.differs)}" if one.differs else ""
