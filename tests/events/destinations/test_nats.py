"""A stream of a real NATS server."""

import asyncio
import json
import os
import shutil
import signal

import pytest

from relay.config.events import NatsStream
from relay.events.destinations.nats import NatsDestination, subject_of
from relay.events.patience import Failed, Refused, Told
from tests.events.destinations.web import AUTHORITY, some

SERVER = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin") or ""
needs_server = pytest.mark.skipif(
    not SERVER and not os.environ.get("RELAY_CI"), reason="nats-server is not installed"
)


def destination(port: int, **more) -> NatsDestination:
    settings = {"type": "nats", "servers": [f"nats://127.0.0.1:{port}"], "timeout": "3s", **more}
    return NatsDestination(NatsStream.model_validate(settings))


class Server:
    """The process, on a port that it keeps over a restart."""

    def __init__(self, directory) -> None:
        self._directory = directory
        self._options: list[str] = []
        self.port = 0
        self.process = None

    async def start(self, *options: str) -> None:
        self._options = list(options) or self._options
        config = self._directory / "nats.conf"
        config.write_text(
            f"listen: 127.0.0.1:{self.port or -1}\n"
            f'jetstream {{ store_dir: "{self._directory}/store" }}\n' + "\n".join(self._options)
        )
        self.process = await asyncio.create_subprocess_exec(
            SERVER, "-c", str(config), stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            async for line in self.process.stderr:
                if b"Listening for client connections on" in line:
                    self.port = int(line.rsplit(b":", 1)[1])
                if b"Server is ready" in line:
                    return
        raise AssertionError("the server did not start")

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.communicate()

    async def stream(self, **login):
        """Make the stream, and give a client of it."""
        import nats

        client = await nats.connect(f"nats://127.0.0.1:{self.port}", **login)
        await client.jetstream().add_stream(name="EVENTS", subjects=["relay.events.>"])
        return client


@pytest.fixture
async def server(tmp_path):
    made = Server(tmp_path)
    yield made
    await made.stop()


async def read(client, number: int):
    stream = client.jetstream()
    return [await stream.get_msg("EVENTS", seq) for seq in range(1, number + 1)]


@needs_server
async def test_events_are_in_the_stream_once_they_are_told(server):
    await server.start()
    client = await server.stream()
    out = destination(server.port, subject="relay.events.{configuration_set}.{type}")
    told = some("Send", "Bounce")
    outcomes = await out.tell(told)
    assert [type(outcome) for outcome in outcomes] == [Told, Told]
    assert outcomes[0] == Told("EVENTS 1")
    send, bounce = await read(client, 2)
    assert (send.subject, bounce.subject) == ("relay.events.news.Send", "relay.events.news.Bounce")
    assert json.loads(bounce.data)["eventId"] == told[1].event.id
    assert bounce.headers["Nats-Msg-Id"] == told[1].event.id
    assert bounce.headers["Relay-Event-Type"] == "Bounce"
    await out.close()
    await client.close()


@needs_server
async def test_an_event_that_is_told_twice_is_in_the_stream_once(server):
    await server.start()
    client = await server.stream()
    (event,) = some("Send")
    for _ in range(2):
        out = destination(server.port)
        assert isinstance((await out.tell([event]))[0], Told)
        await out.close()
    info = await client.jetstream().stream_info("EVENTS")
    assert info.state.messages == 1
    await client.close()


@needs_server
async def test_a_server_that_went_away_is_trouble_and_is_told_when_it_is_back(server):
    await server.start()
    client = await server.stream()
    await client.close()
    out = destination(server.port)
    events = some("Send", "Delivery")
    await out.tell(events[:1])
    await server.stop()
    (outcome,) = await out.tell(events[1:])
    assert isinstance(outcome, Failed)
    await server.start()
    assert isinstance((await out.tell(events[1:]))[0], Told)
    await out.close()


@needs_server
async def test_without_a_stream_for_the_subject_nothing_is_told(server):
    await server.start()
    out = destination(server.port, subject="elsewhere.{type}")
    (outcome,) = await out.tell(some())
    assert isinstance(outcome, Failed)
    await out.close()


@needs_server
async def test_an_event_that_the_server_finds_too_large_is_refused(server):
    await server.start("max_payload: 300")
    out = destination(server.port)
    (outcome,) = await out.tell(some("Send"))
    assert isinstance(outcome, Refused)
    await out.close()


@needs_server
async def test_a_login_is_needed_where_the_server_wants_one(server):
    await server.start("authorization { user: relay, password: sesame }")
    client = await server.stream(user="relay", password="sesame")
    await client.close()
    out = destination(server.port, username="relay", password="wrong")
    (outcome,) = await out.tell(some())
    assert isinstance(outcome, Failed)
    assert "authorization" in outcome.error.lower()
    await out.close()
    out = destination(server.port, username="relay", password="sesame")
    assert isinstance((await out.tell(some()))[0], Told)
    await out.close()


@needs_server
async def test_tls_is_spoken_where_the_server_wants_it_and_its_certificate_is_checked(
    server, tmp_path
):
    ca, leaf = tmp_path / "ca.pem", tmp_path / "leaf.pem"
    AUTHORITY.cert_pem.write_to_path(str(ca))
    AUTHORITY.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(leaf)
    )
    await server.start(f'tls {{ cert_file: "{leaf}", key_file: "{leaf}" }}')
    servers = [f"tls://localhost:{server.port}"]
    out = destination(server.port, servers=servers, ca=ca, subject="nowhere")
    (outcome,) = await out.tell(some())
    assert "no response from stream" in outcome.error
    await out.close()
    out = destination(server.port, servers=servers)
    (outcome,) = await out.tell(some())
    assert outcome.error.startswith("no connection: ")
    assert "certificate verify failed" in outcome.error
    await out.close()


async def test_where_nobody_listens_it_is_trouble(unused_tcp_port_of_nobody):
    out = destination(unused_tcp_port_of_nobody)
    (outcome,) = await out.tell(some())
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("no connection: ")
    await out.close()


@pytest.fixture
def unused_tcp_port_of_nobody():
    import socket

    with socket.socket() as held:  # bound and not listening: nobody else gets it meanwhile
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_what_belongs_to_no_set_has_a_subject_too():
    (pause,) = some("SendingPaused")
    assert subject_of("a.{configuration_set}.{type}", pause) == "a.none.SendingPaused"
