"""A store with mail in it, and the operations over it, for tests of what operators do."""

from contextlib import asynccontextmanager
from itertools import count

from relay.admin.operations import StoreOperations
from relay.config.model import Config
from relay.mail.envelope import Envelope, Recipient
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.log import SqliteLog
from relay.store.values import Body, Message, NewMessage

NOW = 1_795_550_000_000
HOUR = 3_600_000

_numbers = count(1)


def a_config(data_dir, **more):
    return Config.model_validate(
        {
            "hostname": "relay.test",
            "data_dir": data_dir,
            "tls": {"certificate": "cert.pem", "key": "key.pem"},
            "listeners": {"main": {"address": "127.0.0.1:2587"}},
            "identities": {"sender.test": {}},
            "configuration_sets": {"news": {"pool": "main"}, "bills": {"pool": "main"}},
            "pools": {
                "main": {"sources": [{"address": "127.0.0.2"}]},
                "fresh": {"sources": [{"address": "127.0.0.8", "warmup": "slow"}]},
            },
            "warmups": {"slow": {"days": [100, 200, 300], "providers": {"google": {"days": [10]}}}},
            "credentials": {"app": {}, "web": {"enabled": False}},
            **more,
        }
    )


def a_message(
    *recipients, configuration_set="news", reverse_path="app@sender.test", due_at=NOW, header=b""
):
    body = b"Hello.\r\n"
    message = Message(
        id=f"0100{next(_numbers):012x}-11111111-1111-4111-8111-111111111111-000000",
        accepted_at=NOW - HOUR,
        expires_at=NOW + 10 * HOUR,
        envelope=Envelope(reverse_path, tuple(Recipient(address) for address in recipients)),
        credential="app",
        configuration_set=configuration_set,
        identity="sender.test",
        header=header or b"From: app@sender.test\r\nSubject: hello\r\n",
        body=Body(size=len(body), simple_digest=b"\0" * 32, inline=body),
        tags=(("campaign", "spring"),),
    )
    return NewMessage(message, due_at)


@asynccontextmanager
async def operations_over(data_dir, **hooks):
    """A store in `data_dir` and its operations; closed at the end."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    store = SqliteStore(data_dir)
    await store.open()
    log = SqliteLog(data_dir)
    await log.open()
    config = a_config(data_dir)
    try:
        yield StoreOperations(
            store=store, message_log=log, config=lambda: config, clock=lambda: NOW, **hooks
        )
    finally:
        await log.close()
        await store.close()
