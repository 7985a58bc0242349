import asyncio
import json
from dataclasses import dataclass

import pytest

from relay.cli.main import main
from tests.admin.running import relay_in_a_thread
from tests.admin.stored import operations_over

CONFIG = """\
hostname: relay.test
data_dir: data
tls: {certificate: tls/cert.pem, key: tls/key.pem}
listeners:
  main: {address: "127.0.0.1:2587"}
identities:
  sender.test: {}
configuration_sets:
  news: {pool: main}
  bills: {pool: main}
pools:
  main: {sources: [{address: 127.0.0.2}]}
  fresh: {sources: [{address: 127.0.0.8, warmup: slow}]}
warmups:
  slow: {days: [100, 200, 300], providers: {google: {days: [10]}}}
credentials:
  app: {}
  web: {enabled: false}
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def config_path(tmp_path, monkeypatch):
    """A configuration that commands find by themselves."""
    path = tmp_path / "relay.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("RELAY_CONFIG", str(path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    return path


@pytest.fixture
def run(capsys):
    """Run a command in this process."""

    def command(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return command


@pytest.fixture
def running(config_path):
    """A relay that runs on that configuration's data: (FakeRelay, run a coroutine there)."""
    with relay_in_a_thread(config_path.parent / "data") as relay:
        yield relay


@pytest.fixture(params=["offline", "online"])
def queued(request, config_path):
    """Put messages into the queue: of a running relay, or of a store that no relay has open."""
    if request.param == "online":
        relay, on_its_loop = request.getfixturevalue("running")

        def put(*messages):
            for message in messages:
                on_its_loop(relay.operations.store.insert(message, None))
            return [message.message.id for message in messages]

        return put

    def put_offline(*messages):
        async def insert():
            async with operations_over(config_path.parent / "data") as operations:
                for message in messages:
                    await operations.store.insert(message, None)

        asyncio.run(insert())
        return [message.message.id for message in messages]

    return put_offline


@pytest.fixture
def anywhere(queued):
    """Commands of this test run with and without a running relay."""
    return queued


@pytest.fixture(params=["offline", "online"])
def filed(request, config_path):
    """Put filings into the message log: of a running relay, or of one that nobody has open."""
    if request.param == "online":
        relay, on_its_loop = request.getfixturevalue("running")
        return lambda filing: on_its_loop(relay.operations.message_log.file(filing))

    def file_offline(filing):
        async def file():
            async with operations_over(config_path.parent / "data") as operations:
                await operations.message_log.file(filing)

        asyncio.run(file())

    return file_offline
