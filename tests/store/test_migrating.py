"""Stores that an older relay has left: their mail goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path

from relay.store.happenings import Sent
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.schema import MIGRATIONS
from relay.store.values import QueueFilter, Settlement, SuppressionEntry

ID = "0100019aa51c7e30-00000001-0000-4000-8000-000000000000-000000"
ACCEPTED_AT, EXPIRES_AT = 1_800_000_000_000, 1_800_050_400_000
FACTS = (  # as version 1 wrote them
    b'{"accepted_at":1800000000000,"expires_at":1800050400000,"envelope":{"reverse_path":'
    b'"app@sender.test","recipients":[{"address":"a@destination.test","notify":[],"orcpt":""}],'
    b'"body":"7BIT","smtputf8":false,"ret":"","envid":""},"credential":"app",'
    b'"configuration_set":"main","identity":"sender.test","body_size":7,"simple_digest":'
    b'"c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M=","header_crc":333542532,'
    b'"body_crc":2306061104,"tags":[["kind","test"]]}'
)
HEADER, BODY = b"From: app@sender.test\r\nSubject: hello\r\n", b"Hello\r\n"
RECIPIENTS = b'[{"address":"a@destination.test","notify":[],"orcpt":""}]'


def make_version_1(path: Path) -> None:
    """With one message, which a worker had claimed when it was killed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"{MIGRATIONS[0]} PRAGMA user_version=1;")
        db.execute(
            "INSERT INTO message (message_id, facts, header, body) VALUES (?, ?, ?, ?)",
            (ID, FACTS, HEADER, BODY),
        )
        db.execute(
            "INSERT INTO delivery (id, domain, state, due_at, epoch, configuration_set,"
            " accepted_at, recipients)"
            " VALUES (?, 'destination.test', 'queued', ?, 7, 'main', ?, ?)",
            (1 << 20, ACCEPTED_AT, ACCEPTED_AT, RECIPIENTS),
        )
        db.execute("INSERT INTO worker (epoch, name, lease) VALUES (7, 'worker-1', 30000)")
        db.execute("UPDATE life SET clean = 0")


async def test_mail_of_version_1_is_claimed_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    make_version_1(tmp_path / "relay.db")
    store = SqliteStore(tmp_path)
    await store.open()
    try:
        owner = await store.register("worker-1", 30_000)
        (delivery,) = await store.claim(owner, ACCEPTED_AT + 1, 10)
        assert delivery.message.id == ID
        assert delivery.message.expires_at == EXPIRES_AT
        assert delivery.pool == ""
        blocks = [block async for block in store.read_body(delivery.message)]
        assert b"".join(blocks) == BODY
        assert await store.end([Settlement(delivery)]) == [True]
        assert await store.queue(QueueFilter()) == []
    finally:
        await store.close()


async def test_mail_of_version_1_grows_too_old_when_it_was_to(tmp_path: Path) -> None:
    make_version_1(tmp_path / "relay.db")
    store = SqliteStore(tmp_path)
    await store.open()
    try:
        await store.register("worker-1", 30_000)
        assert list(await store.find_expired(-1, EXPIRES_AT - 1, 10)) == []
        assert list(await store.find_expired(-1, EXPIRES_AT, 10)) == [1 << 20]
    finally:
        await store.close()


async def test_mail_of_version_1_is_told_of_like_mail_of_today(tmp_path: Path) -> None:
    make_version_1(tmp_path / "relay.db")
    store = SqliteStore(tmp_path)
    await store.open()
    try:
        (entry,) = await store.outbox.read(0, 10)
        assert (entry.message_id, entry.at) == (ID, ACCEPTED_AT)
        assert isinstance(entry.what, Sent)
        assert entry.what.message.header == HEADER
        assert entry.what.message.tags == (("kind", "test"),)
    finally:
        await store.close()


async def test_the_suppression_list_of_version_1_is_kept(tmp_path: Path) -> None:
    make_version_1(tmp_path / "relay.db")
    rows = [
        ("a@x.test", "A@x.test", "bounce", "bounce", 7, "550 no", 9),
        ("b@x.test", "b@x.test", "manual", "relay suppression add", 8, "told us", None),
        ("c@x.test", "c@x.test", "complaint", "relay suppression import", 9, "", None),
    ]
    with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as db:
        db.executemany("INSERT INTO suppression VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    store = SqliteStore(tmp_path)
    await store.open()
    try:
        assert await store.suppressions.count() == 3
        first, second, third = [entry async for entry in store.suppressions.all()]
        assert first == SuppressionEntry(
            "A@x.test", "bounce", "bounce", 7, "550 no", 9, seen_at=7, bounces=1
        )
        assert (second.source, second.evidence, second.bounces) == ("operator", "told us", 0)
        assert (third.address, third.source) == ("c@x.test", "import")
    finally:
        await store.close()
