"""Sources, hosts and connections: who is tried, what is remembered, what is reused."""

import socket
from pathlib import Path
from typing import Any

import pytest

from relay.delivery.connections import Connections
from relay.delivery.failures import ConnectFailure
from relay.delivery.path import Path as Way
from relay.observe.metrics import Metrics
from relay.routing.mx import Exchange
from relay.routing.plan import Destination, Host
from relay.routing.sites import Site
from tests.delivery.outgoing import Dns, Outgoing, make_config
from tests.delivery.receiver import Do, Receiver

_NOWHERE = "192.0.2.77"  # TEST-NET-1: no host has it


def closed_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _opener(directory: Path, **delivery: Any) -> tuple[Connections, Metrics, Way]:
    metrics = Metrics()
    config = make_config(directory, delivery=delivery)
    site = Site("mx", "x.test", (Exchange(0, "x.test"),))
    way = Way("127.0.0.2", 4, "relay.test", Destination("mx", tls="none"), site)
    return Connections(config, metrics), metrics, way


def _results(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["result"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "relay_outbound_connections_opened_total"
    }


async def test_the_next_host_is_tried_where_one_does_not_answer(tmp_path: Path) -> None:
    connections, metrics, way = _opener(tmp_path)
    async with Receiver() as receiver:
        hosts = (
            Host("down.x.test", "127.0.0.1", closed_port()),
            Host("up.x.test", "127.0.0.1", receiver.port),
        )
        for _ in range(2):
            connection = await connections.open(way, hosts)
            assert connection.peer.name == "up.x.test"
            connection.wire.quit()
        await receiver.until(lambda: receiver.open == 0)
    # The second time the host that was down came last: it was not tried again.
    assert _results(metrics) == {"refused": 1, "ok": 2}


@pytest.mark.parametrize(
    "greeting",
    [b"554 5.3.2 no mail here\r\n", b"421 4.3.2 busy\r\n", Do.CLOSE, b"hello\r\n", Do.HANG],
    ids=["554", "421", "closed", "nonsense", "silent"],
)
async def test_a_host_that_does_not_greet_is_passed_over(tmp_path: Path, greeting: Any) -> None:
    connections, _, way = _opener(tmp_path, command_timeout="200ms")
    async with Receiver({"greeting": greeting}) as bad, Receiver() as good:
        hosts = (Host("bad", "127.0.0.1", bad.port), Host("good", "127.0.0.1", good.port))
        connection = await connections.open(way, hosts)
        assert connection.peer.name == "good"
        connection.wire.quit()
        await good.until(lambda: good.open == 0)


async def test_one_host_that_may_serve_later_makes_the_failure_transient(tmp_path: Path) -> None:
    connections, _, way = _opener(tmp_path)
    async with Receiver({"greeting": b"554 no\r\n"}) as never:
        hosts = (
            Host("never", "127.0.0.1", never.port),
            Host("down", "127.0.0.1", closed_port()),
        )
        with pytest.raises(ConnectFailure) as failure:
            await connections.open(way, hosts)
    assert failure.value.phase == "connect"
    assert failure.value.reply.code == 451
    assert "Connection refused" in failure.value.reply.text


async def test_no_more_than_five_hosts_are_tried_in_one_attempt(tmp_path: Path) -> None:
    connections, metrics, way = _opener(tmp_path)
    hosts = tuple(Host(f"mx{n}", "127.0.0.1", closed_port()) for n in range(9))
    with pytest.raises(ConnectFailure):
        await connections.open(way, hosts)
    assert _results(metrics) == {"refused": 5}


async def test_a_source_that_this_host_lost_is_passed_over_for_one_of_the_same_pool(
    tmp_path: Path,
) -> None:
    there = {_NOWHERE: ""}  # at the start it seems to be there
    pools = {
        "main": {"sources": [{"address": _NOWHERE, "weight": 1000}, {"address": "127.0.0.2"}]},
        "other": {"sources": [{"address": "127.0.0.3"}]},
    }
    async with (
        Receiver() as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, pools=pools),
            bind=lambda address: there.get(address, ""),
        ) as relay,
    ):
        there[_NOWHERE] = "this host does not have the address"
        for _ in range(3):
            await relay.send("b@example.test")
        await receiver.until_messages(3)
        await relay.until_empty()
        assert relay.metric("relay_source_available", source=_NOWHERE) == 0
    assert {message.client for message in receiver.messages} == {"127.0.0.2"}


async def test_mail_waits_where_its_pool_has_no_address_left_and_never_uses_another(
    tmp_path: Path,
) -> None:
    pools = {
        "main": {"sources": [{"address": _NOWHERE}]},
        "other": {"sources": [{"address": "127.0.0.3"}]},
    }
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, pools=pools)) as relay,
    ):
        await relay.send("b@example.test")
        await relay.send("c@example.test", configuration_set="other")
        await receiver.until_messages(1)
        await relay.until(lambda: relay.lines.of("delivery postponed"))

        async def waits() -> bool:
            queue = await relay.queue()
            return len(queue) == 1 and not queue[0].claimed

        await relay.until(waits)
        (entry,) = await relay.queue()
        assert entry.attempts == 0
        assert "no source address of pool main" in entry.last_reply
    assert [message.recipients for message in receiver.messages] == [["c@example.test"]]


async def test_a_destination_of_the_other_address_family_gets_a_source_of_that_family(
    tmp_path: Path,
) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    pools = {
        "main": {"sources": [{"address": "::1", "weight": 1000}, {"address": "127.0.0.2"}]},
        "other": {"sources": [{"address": "127.0.0.3"}]},
    }
    dns = Dns(addresses={"mx.test": ["127.0.0.1"]})
    async with (
        Receiver() as receiver,
        Outgoing(
            make_config(tmp_path, route=f"mx.test:{receiver.port}", pools=pools), dns=dns
        ) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until_messages(1)
        await relay.until_empty()
    assert receiver.messages[0].client == "127.0.0.2"


async def test_a_connection_is_kept_for_the_next_message_and_closed_with_quit_when_idle(
    tmp_path: Path,
) -> None:
    config = make_config
    async with (
        Receiver() as receiver,
        Outgoing(
            config(tmp_path, route=receiver.address, delivery={"idle_timeout": "300ms"})
        ) as relay,
    ):
        for count in range(1, 4):
            await relay.send("b@example.test")
            await receiver.until_messages(count)
            await relay.until_empty()
        await receiver.until(lambda: receiver.sessions[0].ended_with_quit)
        await receiver.until(lambda: receiver.open == 0)
        await relay.until(lambda: relay.metric("relay_outbound_connections") == 0)
    assert len(receiver.sessions) == 1


async def test_a_connection_carries_no_more_than_it_may(tmp_path: Path) -> None:
    bounds = {"messages_per_connection": 3, "connections_per_destination": 1}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, delivery=bounds)) as relay,
    ):
        for _ in range(8):
            await relay.send("b@example.test")
        await receiver.until_messages(8)
        await relay.until_empty()
    assert [session.taken for session in receiver.sessions] == [3, 3, 2]
    assert receiver.most_open <= 2  # one says QUIT while the next one opens


async def test_a_line_between_two_messages_ends_the_connection_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with (
        Receiver({"end": b"250 ok\r\n"}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until_messages(1)
        receiver.script["end"] = b"250 ok\r\n250 and another thing\r\n"
        await relay.until_empty()
        await relay.send("c@example.test")
        line = (await relay.until_attempted(2))[1]
        assert line["kind"] == "deferred"  # its 250 may have been meant for something else
        assert "delivered twice" in line["reply"]
