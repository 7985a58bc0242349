"""The mailbox simulator, spoken to over a real socket with real TLS."""

import asyncio
import smtplib
import ssl
from pathlib import Path

import pytest
import trustme

from relay.config.model import Simulator
from relay.observe.logging import make_logger
from relay.signing.body_hash import BodyHash
from relay.signing.keys import SigningKey
from relay.signing.make import make_private_key, record_name, record_text
from relay.signing.sign import dkim_fields
from relay.simulator.answers import answer
from relay.simulator.mailbox import Mailbox
from relay.simulator.server import start_simulator
from relay.store.values import Body

HEADER = b"From: a@sender.test\r\nSubject: hello\r\n"
BODY = b"A line.\r\n.A line with a dot.\r\n"


@pytest.mark.parametrize(
    ("address", "codes"),
    [
        ("anyone@x.test", [250, 250]),
        ("bounce@x.test", [550, 550]),
        ("Bounce+label@x.test", [550, 550]),
        ("full@x.test", [452, 452]),
        ("tempfail@x.test", [451, 451]),
        ("greylist@x.test", [451, 250]),
    ],
)
def test_the_local_part_says_how_a_recipient_is_answered(address: str, codes: list[int]) -> None:
    assert [answer(address, seen).code for seen in (False, True)] == codes


def test_the_oldest_messages_leave_a_full_mailbox(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mailbox", limit=2)
    paths = [mailbox.keep([], b"%d" % number, 1_000 + number) for number in range(3)]
    assert [path.exists() for path in paths] == [False, True, True]
    assert Mailbox(tmp_path / "mailbox", limit=2).keep([], b"new", 2_000).exists()
    assert not paths[1].exists(), "what an earlier process kept counts, too"


async def test_a_signed_message_is_kept_octet_for_octet_with_its_verdict(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    key = SigningKey("sender.test", "s1", make_private_key("rsa"))
    body_hash = BodyHash(relaxed=False)
    body_hash.update(BODY)
    body = Body(len(BODY), *body_hash.digests(), inline=BODY)
    content = dkim_fields(HEADER, body, [key], 1) + HEADER + b"\r\n" + BODY
    server = await start_simulator(
        Simulator(address="127.0.0.1:0", mailbox=tmp_path / "mailbox"),
        name="relay.test",
        tls=context,
        records={record_name("sender.test", "s1"): record_text(key.private)},
        log=make_logger(level="error"),
    )
    port = server.sockets[0].getsockname()[1]

    def send() -> None:
        with smtplib.SMTP("localhost", port, timeout=20) as session:
            session.starttls(context=client)
            session.sendmail("a@sender.test", ["b@x.test"], content)

    await asyncio.to_thread(send)
    server.close()
    await server.wait_closed()
    [path] = (tmp_path / "mailbox").glob("*.eml")
    kept = path.read_bytes()
    assert kept.endswith(content)
    assert b"dkim=pass header.d=sender.test\r\n header.s=s1" in kept
    assert kept.startswith(b"Return-Path: <a@sender.test>\r\nDelivered-To: b@x.test\r\n")
