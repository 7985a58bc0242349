import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Config
from relay.frontend.tls import TlsError
from tests.frontend.client import MESSAGE, Client
from tests.frontend.conftest import Run
from tests.frontend.house import Authority, House


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_draining_tells_idle_clients_and_lets_a_message_end(run: Run, opened: Callable[..., Any]):
    async def play() -> None:
        async with opened() as house:
            async with Client(house) as idle, Client(house) as busy:
                await idle.log_in()
                await busy.log_in()
                await busy.begin()
                draining = asyncio.create_task(house.drain(10))
                assert (await idle.reply()).startswith("421 4.3.2")
                assert await idle.closed()
                assert not draining.done()
                busy.writer.write(MESSAGE + b".\r\n")
                assert (await busy.reply()).startswith("250 Ok")
                assert (await busy.reply()).startswith("421 4.3.2")
                await draining
            assert len(house.store.messages) == 1

    run(play())


async def test_draining_cuts_a_message_that_outlasts_the_grace(house: House):
    async with Client(house) as client:
        await client.log_in()
        await client.begin()
        await house.drain(0.05)
        assert await client.closed()
    assert house.store.messages == []
    assert house.store.discarded == 1


async def test_draining_waits_for_a_message_that_is_being_stored(house: House):
    house.store.gate = asyncio.Event()
    async with Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(MESSAGE + b".\r\n")
        await house.store.accepting.wait()
        draining = asyncio.create_task(house.drain(0.01))
        await asyncio.sleep(0.05)
        assert not draining.done()
        house.store.gate.set()
        await draining
    assert len(house.store.messages) == 1
    assert house.store.discarded == 0


async def test_after_draining_nothing_listens(house: House):
    host, port = house.address()
    await house.drain(0)
    assert not house.frontend.accepting
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


async def test_new_bounds_hold_for_open_sessions(house: House, configure: Callable[..., Config]):
    async with Client(house) as client:
        await client.log_in()
        house.reconfigure(configure(bounds={"message_size": 1_000}))
        assert (await client.say(b"MAIL FROM:<a@sender.test> SIZE=1001")).startswith("552")
        assert "SIZE 1000\n" in (await client.say(b"EHLO client.test")).replace("\r", "")


async def test_listeners_come_and_go_while_sessions_go_on(
    house: House, configure: Callable[..., Config]
):
    host, port = house.address()
    other = free_port()
    async with Client(house) as client:
        await client.log_in()
        house.reconfigure(configure(listeners={"new": {"address": f"127.0.0.1:{other}"}}))
        assert house.door.addresses == {"new": ("127.0.0.1", other)}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        assert (await client.send()).startswith("250 Ok")
        reader, writer = await asyncio.open_connection("127.0.0.1", other)
        assert (await reader.readline()).startswith(b"220")
        writer.transport.abort()


async def test_a_listener_that_is_only_renamed_keeps_its_socket(
    opened: Callable[..., Any], configure: Callable[..., Config]
):
    address = f"127.0.0.1:{free_port()}"
    async with opened(listeners={"submission": {"address": address}}) as house:
        house.reconfigure(configure(listeners={"renamed": {"address": address}}))
        assert list(house.door.addresses) == ["renamed"]
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*house.address("renamed"))
            assert (await reader.readline()).startswith(b"220")
        writer.transport.abort()


async def test_a_configuration_that_cannot_be_put_in_force_changes_nothing(
    house: House, configure: Callable[..., Config], tmp_path: Path
):
    before = house.door.addresses
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"listener second cannot listen on {address}"):
            house.reconfigure(
                configure(
                    bounds={"message_size": 1_000},
                    listeners={
                        "first": {"address": f"127.0.0.1:{free_port()}"},
                        "second": {"address": address},
                    },
                )
            )
    missing = {"certificate": tmp_path / "none.pem", "key": tmp_path / "none.key"}
    with pytest.raises(TlsError, match=r"none\.pem"):
        house.reconfigure(configure(tls=missing, bounds={"message_size": 1_000}))
    assert house.door.addresses == before
    async with Client(house) as client:
        await client.log_in()
        assert (await client.say(b"MAIL FROM:<a@sender.test> SIZE=1001")).startswith("250")


async def test_a_new_certificate_is_presented_to_new_connections(
    house: House, configure: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
):
    renewed = Authority(tmp_path_factory.mktemp("renewed"))
    async with Client(house) as old:
        await old.log_in()
        house.reconfigure(configure(tls={"certificate": renewed.certificate, "key": renewed.key}))
        house.client_tls = renewed.client
        async with Client(house) as new:
            await new.log_in()
        assert (await old.send()).startswith("250 Ok")


async def test_an_address_in_use_is_told_with_its_listener(
    opened: Callable[..., Any],
):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listeners = {"submission": {"address": f"127.0.0.1:{taken.getsockname()[1]}"}}
        with pytest.raises(OSError, match="listener submission cannot listen on"):
            async with opened(listeners=listeners):
                pass
