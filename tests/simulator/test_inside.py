"""The mailbox simulator of a worker, spoken to over its pair of sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from relay.mail.simulated import Sequel
from relay.simulator.greylist import Greylist
from relay.simulator.inside import InsideSimulator

DOMAIN = "simulator.relay.test"
Followed = list[tuple[Sequel, str, str]]
Talk = Callable[..., Awaitable[list[str]]]


@pytest.fixture
def followed() -> Followed:
    return []


@pytest.fixture
async def simulator(followed: Followed) -> AsyncIterator[InsideSimulator]:
    greylist = Greylist()

    async def is_first(who: str) -> bool:
        return greylist.is_first(who)

    async def follow(sequel: Sequel, reverse_path: str, mailbox: str) -> bool:
        followed.append((sequel, reverse_path, mailbox))
        return not reverse_path.startswith("full")

    simulator = InsideSimulator("relay.test", is_first, follow)
    yield simulator
    await simulator.close()


@pytest.fixture
def talk(simulator: InsideSimulator) -> Talk:
    async def talk(*said: bytes) -> list[str]:
        """All that is answered to what is said at once, until the connection ends."""
        reader, writer = await asyncio.open_connection(sock=simulator.connect())
        writer.write(b"".join(said) + b"QUIT\r\n")
        answered = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answered.decode().splitlines()

    return talk


def transaction(*mailboxes: str, sender: str = "a@x.test", content: bytes = b"") -> bytes:
    recipients = b"".join(f"RCPT TO:<{box}@{DOMAIN}>\r\n".encode() for box in mailboxes)
    body = b"Subject: x\r\n\r\n" + content
    return b"MAIL FROM:<%b>\r\n%bDATA\r\n%b.\r\n" % (sender.encode(), recipients, body)


async def test_it_greets_and_offers_what_the_relay_uses(talk: Talk) -> None:
    answered = await talk(b"EHLO relay.test\r\n")
    assert answered[0] == f"220 {DOMAIN} ESMTP relay mailbox simulator"
    offered = {line[4:] for line in answered[1:-1]}
    assert {"PIPELINING", "8BITMIME", "SMTPUTF8"} < offered
    assert not offered & {"DSN", "CHUNKING"}, "what it cannot keep it must not promise"
    assert answered[-1].startswith("221 ")


async def test_each_recipient_has_its_answer_and_the_rest_are_delivered(talk: Talk) -> None:
    answered = await talk(transaction("success", "bounce", "full", "SUCCESS+label"))
    codes = [line[:3] for line in answered[1:]]
    assert codes == ["250", "250", "550", "452", "250", "354", "250", "221"]


async def test_content_is_read_to_its_end_however_long_it_is(talk: Talk) -> None:
    content = b"x" * 200_000 + b"\r\n..\r\n.x\r\n" + b"y\r\n" * 50_000
    answered = await talk(transaction("success", content=content), transaction("success"))
    assert [line[:3] for line in answered[1:]] == ["250", "250", "354", "250"] * 2 + ["221"]


async def test_mail_that_nobody_takes_has_no_content(talk: Talk) -> None:
    answered = await talk(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<bounce@x.test>\r\nDATA\r\n")
    assert [line[:3] for line in answered[1:]] == ["250", "550", "554", "221"]


async def test_it_greylists_each_pair_of_sender_and_recipient_once(talk: Talk) -> None:
    async def answer(sender: str, mailbox: str) -> str:
        said = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{mailbox}@{DOMAIN}>\r\n"
        return (await talk(said.encode()))[2][:3]

    assert [await answer("a@x.test", "greylist") for _ in range(3)] == ["451", "250", "250"]
    assert await answer("b@x.test", "greylist") == "451"
    assert await answer("a@x.test", "greylist+2") == "451"


async def test_what_follows_is_asked_for_by_return_path_and_mailbox(
    talk: Talk, followed: Followed
) -> None:
    await talk(transaction("success", "ooto", "complaint+7", sender="b+token@x.test"))
    assert followed == [
        ("auto_reply", "b+token@x.test", f"ooto@{DOMAIN}"),
        ("complaint", "b+token@x.test", f"complaint+7@{DOMAIN}"),
    ]


async def test_mail_waits_while_what_follows_it_cannot_be_seen_to(talk: Talk) -> None:
    answered = await talk(transaction("complaint", sender="full@x.test"))
    assert answered[-2].startswith("451 4.3.0 ")


async def test_commands_out_of_order_are_refused(talk: Talk) -> None:
    answered = await talk(
        b"RCPT TO:<a@x.test>\r\nMAIL nonsense\r\nVRFY a\r\nMAIL FROM:<>\r\nRSET\r\nDATA\r\nNOOP\r\n"
    )
    assert [line[:3] for line in answered[1:]] == [
        *("503", "501", "502", "250", "250", "554", "250", "221")
    ]


async def test_addresses_with_angle_brackets_and_beyond_ascii_are_read_whole(
    talk: Talk, followed: Followed
) -> None:
    said = f'MAIL FROM:<"a>b"@x.test> SIZE=10 SMTPUTF8\r\nRCPT TO:<ooto+ü@{DOMAIN}>\r\nDATA\r\n'
    await talk(said.encode(), b"Subject: x\r\n\r\n.\r\n")
    assert followed == [("auto_reply", '"a>b"@x.test', f"ooto+ü@{DOMAIN}")]


async def test_closing_ends_sessions_that_are_open(simulator: InsideSimulator) -> None:
    reader, writer = await asyncio.open_connection(sock=simulator.connect())
    assert (await reader.readline()).startswith(b"220 ")
    await simulator.close()
    assert await reader.read() == b""
    writer.close()
