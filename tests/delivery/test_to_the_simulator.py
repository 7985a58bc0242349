"""Ways to the mailbox simulator: no limit is met, and the connection is a pair of sockets."""

import socket
from pathlib import Path as Directory

import pytest

from relay.config.model import Source
from relay.delivery.connections import Connections
from relay.delivery.failures import ConnectFailure
from relay.delivery.path import Path
from relay.delivery.ways import Ways
from relay.limits.shapes import Shapes
from relay.limits.specs import Limit
from relay.observe.metrics import Metrics
from relay.routing.plan import Candidate, Destination, Host, Plan
from relay.routing.sites import simulator_site
from relay.simulator.inside import InsideSimulator
from tests.delivery.outgoing import make_config

DOMAIN = "simulator.relay.test"
ROUTE = Destination("simulator", tls="none", match=DOMAIN)
SITE = simulator_site(DOMAIN)
HOSTS = [Host(DOMAIN, "127.0.0.1", 25)]
PATH = Path("127.0.0.1", 4, "relay.test", ROUTE, SITE)


def test_mail_to_the_simulator_meets_no_limit(tmp_path: Directory) -> None:
    keys = ("set:main", "pool:simulator", "source:127.0.0.1")
    ways = Ways(dict.fromkeys(keys, Limit(quota=1)))
    ways.shapes = Shapes(make_config(tmp_path))
    candidate = Candidate(Source(address="127.0.0.1"), "relay.test", 1)  # type: ignore[arg-type]
    lane = ways.lane(Plan("main", "simulator", (candidate,), ROUTE), candidate, SITE)
    assert lane.keys == ()
    assert lane.way.shape.connection_rate is None


async def test_a_connection_to_the_simulator_is_made_in_this_process(tmp_path: Directory) -> None:
    async def is_first(who: str) -> bool:
        return False

    async def follow(*what: str) -> bool:
        return True

    simulator = InsideSimulator("relay.test", is_first, follow)
    connections = Connections(make_config(tmp_path), Metrics(), simulator=simulator.connect)
    connection = await connections.open(PATH, HOSTS)
    assert connection.peer.pipelining
    assert (connection.peer.tls, connection.peer.dsn) == ("", False)
    connection.wire.quit()
    await connections.close_politely()
    await simulator.close()


async def test_without_a_simulator_or_descriptors_for_it_mail_waits(tmp_path: Directory) -> None:
    def none_left() -> socket.socket:
        raise OSError(24, "Too many open files")

    for connect in (None, none_left):
        connections = Connections(make_config(tmp_path), Metrics(), simulator=connect)
        with pytest.raises(ConnectFailure) as failure:
            await connections.open(PATH, HOSTS)
        assert failure.value.reply.is_transient
