"""What both forms of `relay explain` show of a way: its hosts, and what holds mail back on it."""

from relay.admin.control import Explanation
from relay.admin.explained import DeliveryExplanation
from relay.cli.live import print_limits
from relay.cli.output import print_table, say
from relay.cli.reactions import print_reactions
from relay.cli.suspend import print_suspensions


def print_way(found: Explanation | DeliveryExplanation, now: int) -> None:
    """`now` is UTC ms."""
    if found.hosts:
        say()
        print_table(
            ("host", "address", "port", "TLS"),
            [(h.name, h.address, h.port, h.tls) for h in found.hosts],
        )
    if found.suspensions:
        say()
        print_suspensions(found.suspensions, now)
    if found.reactions:
        say()
        print_reactions(found.reactions, now)
    if found.limits:
        say()
        print_limits(found.limits, now)
