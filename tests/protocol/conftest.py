"""The server that the tables run against: a front end over the real store, in a thread of its own.

A suite that runs the tables against another server overrides the fixture `server`.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.frontend.authenticator import Authenticator
from relay.frontend.door import Door
from relay.frontend.frontend import Frontend
from relay.frontend.gatekeeper import LocalGatekeeper
from relay.frontend.visit import Visit
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.sqlite.store import SqliteStore
from relay.store.values import Accepted, NewMessage
from tests.frontend.house import Authority, OpenAdmission, make_config
from tests.protocol.dialogue import BOUNDS, Mail, Server


class _Running:
    """A front end with its store on a loop in a thread."""

    def __init__(self, directory: Path) -> None:
        self.mail: list[Mail] = []
        self.server: Server
        self._directory = directory
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> Server:
        self._thread.start()
        assert self._ready.wait(20)
        return self.server

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        authority = Authority(self._directory)
        data_dir = self._directory / "data"
        data_dir.mkdir(mode=0o700)
        config = make_config(authority, data_dir, bounds=BOUNDS)
        authenticator = Authenticator()
        authenticator.load(config)
        self._store = SqliteStore(data_dir)
        await self._store.open()
        with open(self._directory / "log", "w") as log:
            logger, metrics = make_logger(level="debug", stream=log), Metrics()

            def hand_over(visit: Visit, connection: socket.socket) -> bool:
                frontend.adopt(visit, connection)
                return True

            door = Door(config=config, hand_over=hand_over, metrics=metrics, log=logger)
            frontend = Frontend(
                config=config,
                admission=OpenAdmission(),
                store=self._store,
                accept=self._accept,
                authenticator=authenticator,
                gatekeeper=LocalGatekeeper(door),
                metrics=metrics,
                log=logger,
            )
            await frontend.start()
            await door.start()
            addresses = door.addresses
            self.server = Server(
                "127.0.0.1",
                addresses["submission"][1],
                addresses["implicit"][1],
                authority.client,
                lambda: list(self.mail),
            )
            self._ready.set()
            await self._stop.wait()
            door.stop()
            await frontend.drain(1)
        authenticator.close()
        await self._store.close()

    async def _accept(self, new: NewMessage) -> Accepted:
        accepted = await self._store.insert(new, None)
        message = new.message
        body = b"".join([chunk async for chunk in self._store.read_body(message)])
        self.mail.append(
            Mail(
                message.envelope.reverse_path,
                tuple(recipient.address for recipient in message.envelope.recipients),
                message.header,
                body,
            )
        )
        return accepted


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = _Running(tmp_path_factory.mktemp("protocol"))
    try:
        yield running.start()
    finally:
        running.stop()
