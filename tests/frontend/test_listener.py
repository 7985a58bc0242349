import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from relay.frontend.proxy import SIGNATURE
from tests.frontend.client import Client
from tests.frontend.conftest import Run
from tests.frontend.house import House

V1 = b"PROXY TCP4 192.0.2.9 198.51.100.1 50000 587\r\n"
V2 = (
    SIGNATURE
    + b"\x21\x11\x00\x0c"
    + socket.inet_aton("192.0.2.9")
    + socket.inet_aton("198.51.100.1")
    + struct.pack("!HH", 50_000, 587)
)
BALANCED = {
    "submission": {"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/24"]},
    "implicit": {"address": "127.0.0.1:0", "tls": "implicit", "proxy_protocol": ["127.0.0.0/24"]},
}


async def test_connections_of_one_client_are_bounded_and_those_of_another_go_on(
    opened: Callable[..., Any],
):
    async with (
        opened(bounds={"connections_per_client": 2}) as house,
        Client(house) as one,
        Client(house) as two,
    ):
        assert (await one.reply()).startswith("220")
        assert (await two.reply()).startswith("220")
        async with Client(house) as three:
            assert await three.reply() == "421 4.7.0 Too many concurrent SMTP connections"
            assert await three.closed()
        async with Client(house, source="127.0.0.9") as other:
            assert (await other.reply()).startswith("220")
        assert house.metric("connections", listener="submission") >= 2
        assert house.metric(
            "connections_refused_total", listener="submission", reason="connections"
        )


async def test_connections_in_all_are_bounded(opened: Callable[..., Any]):
    async with (
        opened(bounds={"connections": 1}) as house,
        Client(house) as one,
        Client(house, source="127.0.0.9") as two,
    ):
        assert (await one.reply()).startswith("220")
        assert (await two.reply()).startswith("421 4.7.0")


async def test_a_refusal_comes_inside_tls_where_tls_comes_first(opened: Callable[..., Any]):
    async with (
        opened(bounds={"connections": 1}) as house,
        Client(house) as one,
        Client(house, "implicit") as two,
    ):
        assert (await one.reply()).startswith("220")
        assert (await two.reply()).startswith("421 4.7.0")


async def test_clients_outside_the_allowed_networks_are_told_so(opened: Callable[..., Any]):
    listeners = {"submission": {"address": "127.0.0.1:0", "networks": ["127.0.0.8/29"]}}
    async with opened(listeners=listeners) as house:
        async with Client(house) as outside:
            assert (await outside.reply()).startswith("554 5.7.1 Access denied: 127.0.0.1")
            assert await outside.closed()
        async with Client(house, source="127.0.0.9") as inside:
            assert (await inside.reply()).startswith("220")


@pytest.mark.parametrize("header", [V1, V2], ids=["version 1", "version 2"])
def test_the_client_behind_a_load_balancer_is_known(
    run: Run, opened: Callable[..., Any], header: bytes
):
    async def play() -> None:
        async with opened(listeners=BALANCED) as house:
            client = Client(house)
            await client.open(header + b"")
            await client.log_in()
            assert (await client.send()).startswith("250 Ok")
            assert house.admission.submissions[-1].client == "192.0.2.9"
            client.writer.transport.abort()

    run(play())


def test_tls_begins_right_after_a_proxy_header(run: Run, opened: Callable[..., Any]):
    async def play() -> None:
        async with opened(listeners=BALANCED) as house:
            host, port = house.address("implicit")
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(V2)
            await writer.start_tls(house.client_tls, server_hostname="localhost")
            assert (await reader.readline()).startswith(b"220")
            writer.transport.abort()

    run(play())


async def test_a_proxy_header_is_required_and_believed_of_load_balancers_only(
    opened: Callable[..., Any],
):
    listeners = {"submission": {"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.8/29"]}}
    async with opened(listeners=listeners) as house:
        stranger = Client(house)
        await stranger.open(V1)
        assert await stranger.closed()
        balancer = Client(house, source="127.0.0.9")
        await balancer.open(b"EHLO client.test\r\n")
        assert await balancer.closed()
        for client in (stranger, balancer):
            client.writer.transport.abort()
        refused = "connections_refused_total"
        assert house.metric(refused, listener="submission", reason="not a load balancer") == 1
        assert house.metric(refused, listener="submission", reason="proxy header") == 1


async def test_the_networks_of_a_listener_are_those_of_the_real_client(
    opened: Callable[..., Any],
):
    listeners = {
        "submission": {
            "address": "127.0.0.1:0",
            "proxy_protocol": ["127.0.0.1"],
            "networks": ["10.0.0.0/8"],
        }
    }
    async with opened(listeners=listeners) as house:
        client = Client(house)
        await client.open(V1)
        assert (await client.reply()).startswith("554 5.7.1 Access denied: 192.0.2.9")
        client.writer.transport.abort()


async def test_a_handshake_that_fails_leaves_nothing_behind(house: House):
    host, port = house.address("implicit")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"EHLO this is no TLS\r\n\r\n")
    assert await reader.read() is not None
    writer.close()
    async with Client(house) as client:
        await client.log_in()
        await client.say(b"QUIT")
    await house.drain(5)
    assert house.metric("connections", listener="implicit") == 0
    assert house.metric("connections", listener="submission") == 0
    assert house.metric("connections_refused_total", listener="implicit", reason="tls handshake")


async def test_without_file_descriptors_accepting_pauses_and_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("relay.frontend.listener._PAUSE", 0.05)
    listener = house.door._listeners["submission"]
    real, failures = listener._socket, []

    class Exhausted:
        """A socket that has no descriptor to give, once."""

        def accept(self) -> None:
            failures.append(1)
            listener._socket = real
            raise OSError(errno.EMFILE, "Too many open files")

        def fileno(self) -> int:
            return real.fileno()

    listener._socket = Exhausted()  # type: ignore[assignment]  # what `_accept` uses of a socket
    reader, writer = await asyncio.open_connection(*real.getsockname())
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"220")
    assert failures == [1]
    assert "cannot accept connections" in house.log.getvalue()
    writer.transport.abort()
