"""The listener for what comes back, over the wire."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from relay.mail.message_id import new_message_id
from relay.mail.verp import VerpKey, make
from relay.store.happenings import Complained, Returned
from relay.store.interface import StoreFull, StoreUnavailable
from tests.frontend.client import Client
from tests.frontend.house import Authority, House, make_config, open_house

KEY = VerpKey(3, b"k" * 32)
OTHER_KEY = VerpKey(3, b"o" * 32)
DOMAIN = "bounce.sender.test"
COMPLAINTS = "fbl@bounce.sender.test"
DAY_MS = 86_400_000

Open = Callable[..., AbstractAsyncContextManager[House]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def return_path(
    recipient: int | None = 0, *, key: VerpKey = KEY, domain: str = DOMAIN, age: int = 0
) -> tuple[str, str]:
    """A message id, and an address for what comes back of it."""
    message_id = new_message_id(now_ms() - age)
    return message_id, make(message_id, recipient, domain, key)


def report(action: str = "failed", status: str = "5.1.1", to: str = "bob@example.test") -> bytes:
    return (
        "From: MAILER-DAEMON@mx.example.test\r\nSubject: Undelivered Mail\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n"
        "--x\r\n\r\nIt failed.\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.test\r\n\r\n"
        f"Final-Recipient: rfc822; {to}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; 550 {status} No such user\r\n--x--\r\n"
    ).encode()


def complaint(original: str, kind: str = "abuse") -> bytes:
    return (
        "From: feedback@isp.test\r\nSubject: complaint\r\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=x\r\n\r\n"
        "--x\r\n\r\nThis is a complaint.\r\n--x\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"Feedback-Type: {kind}\r\nUser-Agent: Isp-FBL/1.0\r\nVersion: 1\r\n"
        "Arrival-Date: Wed, 25 Nov 2026 10:00:00 +0000\r\n--x\r\n"
        f"Content-Type: message/rfc822\r\n\r\nReturn-Path: <{original}>\r\n"
        "From: <a@sender.test>\r\nSubject: x\r\n\r\nHello\r\n--x--\r\n"
    ).encode()


ABSENCE = (
    b"From: <bob@example.test>\r\nAuto-Submitted: auto-replied\r\nSubject: Out of office\r\n\r\n"
    b"I am away.\r\n"
)
LETTER = b"From: <bob@example.test>\r\nSubject: Hello\r\n\r\nWhere is my order?\r\n"


@pytest.fixture
def open_returns(authority: Authority, tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(**returns: object) -> AsyncIterator[House]:
        config = make_config(
            authority,
            tmp_path,
            identities={"sender.test": {"mail_from": DOMAIN}},
            returns={
                "address": "127.0.0.1:0",
                "feedback_addresses": [COMPLAINTS],
                "postmaster": "people@sender.test",
                **returns,
            },
        )
        async with open_house(config, authority, return_path_keys=[KEY]) as house:
            yield house

    return opened


@asynccontextmanager
async def greeted(house: House) -> AsyncIterator[Client]:
    async with Client(house, "returns") as client:
        assert (await client.reply()).startswith("220")
        assert (await client.say(b"EHLO mx.example.test")).startswith("250")
        yield client


async def hand_in(client: Client, recipient: str, content: bytes, sender: str = "") -> str:
    assert (await client.say(f"MAIL FROM:<{sender}>".encode())).startswith("250")
    answer = await client.say(f"RCPT TO:<{recipient}>".encode())
    if not answer.startswith("250"):
        await client.say(b"RSET")
        return answer
    assert (await client.say(b"DATA")).startswith("354")
    client.writer.write(content + b".\r\n")
    return await client.reply()


async def test_a_report_to_a_return_path_is_written_down_before_it_is_acknowledged(
    open_returns: Open,
) -> None:
    message_id, address = return_path(recipient=2)
    async with open_returns() as house, greeted(house) as client:
        answer = await hand_in(client, address, report())

        assert answer.startswith("250 2.6.0")
        assert house.store.happened == [
            (
                message_id,
                Returned(
                    2,
                    "bob@example.test",
                    "failed",
                    "5.1.1",
                    "550 5.1.1 No such user",
                    "mx.example.test",
                ),
            )
        ]
        assert house.metric("returns_total", kind="bounce", outcome="recorded") == 1
        assert house.store.messages == []


async def test_a_report_that_comes_again_is_taken_and_counts_once(open_returns: Open) -> None:
    _, address = return_path()
    async with open_returns() as house, greeted(house) as client:
        for _ in range(3):
            assert (await hand_in(client, address.upper(), report())).startswith("250")

        assert len(house.store.happened) == 1
        assert house.metric("returns_total", kind="bounce", outcome="repeated") == 2


async def test_everybody_without_a_token_of_ours_is_refused_in_the_dialogue(
    open_returns: Open,
) -> None:
    _, address = return_path()
    strangers = {
        return_path(key=OTHER_KEY)[1]: "550 5.7.1",  # forged
        address.replace(DOMAIN, "other.sender.test"): "550 5.7.1 Relaying",  # of another domain
        return_path(domain="other.test")[1].replace("other.test", DOMAIN): "550 5.7.1",
        return_path(age=31 * DAY_MS)[1]: "550 5.7.1",
        f"b+{'a' * 61}@{DOMAIN}": "550 5.7.1",
        f"info@{DOMAIN}": "550 5.1.1",
        "victim@elsewhere.test": "550 5.7.1 Relaying",
        f"postmaster@{DOMAIN}": "551 5.1.6 Nobody reads mail here; please write to <people@",
        f"Abuse@{DOMAIN}": "551 5.1.6",
        "postmaster@elsewhere.test": "550 5.7.1 Relaying",
    }
    async with open_returns() as house, greeted(house) as client:
        for stranger, answer in strangers.items():
            assert (await hand_in(client, stranger, report())).startswith(answer), stranger

        assert house.store.happened == []
        assert house.metric("commands_refused_total", listener="returns", reason="relaying") == 3


async def test_what_is_no_report_is_refused_and_an_absence_note_is_dropped(
    open_returns: Open,
) -> None:
    _, address = return_path()
    async with open_returns() as house, greeted(house) as client:
        assert (await hand_in(client, address, LETTER)).startswith("550 5.7.1 Message refused")
        assert (await hand_in(client, address, ABSENCE)).startswith("250")
        assert (await hand_in(client, address, report("delayed", "4.4.1"))).startswith("250")

        assert house.store.happened == []
        assert house.metric("returns_total", kind="other", outcome="refused") == 1
        assert house.metric("returns_total", kind="auto_reply", outcome="dropped") == 1
        assert house.metric("returns_total", kind="bounce", outcome="no_failure") == 1
        assert house.metric("commands_refused_total", listener="returns", reason="not a report")


async def test_a_complaint_is_about_the_mail_whose_return_path_it_holds(
    open_returns: Open,
) -> None:
    message_id, original = return_path(recipient=1)
    forged = return_path(key=OTHER_KEY)[1]
    async with open_returns() as house, greeted(house) as client:
        sender = "feedback@isp.test"
        for content in (
            complaint(forged),
            complaint(original, "not-spam"),
            complaint(original),
            complaint(original),
        ):
            assert (await hand_in(client, COMPLAINTS, content, sender)).startswith("250")

        assert house.store.happened == [
            (
                message_id,
                Complained(1, "", "abuse", "Isp-FBL/1.0", arrived_at=1_795_600_800_000),
            )
        ]
        for outcome in ("unmatched", "no_complaint", "recorded", "repeated"):
            assert house.metric("returns_total", kind="complaint", outcome=outcome) == 1


async def test_reports_of_delivery_and_letters_have_no_business_at_the_address_for_complaints(
    open_returns: Open,
) -> None:
    async with open_returns() as house, greeted(house) as client:
        for content in (report(), LETTER):
            assert (await hand_in(client, COMPLAINTS, content)).startswith("550 5.7.1")
        assert house.store.happened == []


@pytest.mark.parametrize(
    ("error", "code"), [(StoreFull("x"), "452 4.3.1"), (StoreUnavailable("x"), "451 4.3.0")]
)
async def test_a_store_that_fails_has_the_report_come_again(
    open_returns: Open, error: Exception, code: str
) -> None:
    _, address = return_path()
    async with open_returns() as house, greeted(house) as client:
        house.store.write_error = error
        assert (await hand_in(client, address, report())).startswith(code)

        house.store.write_error = None
        assert (await hand_in(client, address, report())).startswith("250")
        assert len(house.store.happened) == 1


async def test_nobody_logs_in_there_and_tls_is_offered_and_not_demanded(
    open_returns: Open,
) -> None:
    _, address = return_path()
    async with open_returns() as house, Client(house, "returns") as client:
        await client.reply()
        extensions = await client.say(b"EHLO mx.example.test")
        assert "STARTTLS" in extensions
        assert "SIZE 1000000" in extensions
        assert "DSN" not in extensions
        assert (await client.auth()).startswith("502 5.5.1")

        await client.start_tls()
        assert "AUTH" not in await client.say(b"EHLO mx.example.test")
        assert (await hand_in(client, address, report())).startswith("250")


async def test_a_report_has_one_recipient_and_a_bounded_size(open_returns: Open) -> None:
    _, address = return_path()
    async with open_returns(message_size=64_000) as house, greeted(house) as client:
        await client.say(b"MAIL FROM:<>")
        assert (await client.say(f"RCPT TO:<{address}>".encode())).startswith("250")
        other = return_path()[1]
        assert (await client.say(f"RCPT TO:<{other}>".encode())).startswith("452 4.5.3")
        await client.say(b"RSET")
        large = report() + b"x" * 70 * 1_000 + b"\r\n"
        assert (await hand_in(client, address, large)).startswith("552 5.3.4")
        assert house.store.happened == []


async def test_connections_there_are_counted_apart_from_those_of_clients(
    open_returns: Open,
) -> None:
    async with open_returns(connections_per_client=1) as house, greeted(house):
        async with Client(house, "returns") as second:
            assert (await second.reply()).startswith("421 4.7.0")
        async with Client(house) as client:
            await client.log_in()
        assert house.door.session_count("returns") == 1


async def test_clients_must_log_in_still_and_their_listeners_take_no_return_paths(
    open_returns: Open,
) -> None:
    _, address = return_path()
    async with open_returns() as house, Client(house) as client:
        await client.reply()
        await client.start_tls()
        await client.say(b"EHLO client.test")
        assert (await client.say(b"MAIL FROM:<>")).startswith("530")
        assert (await client.say(f"RCPT TO:<{address}>".encode())).startswith("530")
        assert house.store.happened == []


async def test_the_log_says_what_was_taken_and_refused(open_returns: Open) -> None:
    message_id, address = return_path()
    async with open_returns() as house, greeted(house) as client:
        await hand_in(client, address, report())
        await hand_in(client, address, LETTER)
        lines = [json.loads(line) for line in house.log.getvalue().splitlines()]

    taken = next(line for line in lines if line["event"] == "returned mail taken")
    refused = next(line for line in lines if line["event"] == "returned mail refused")
    assert (taken["message_id"], taken["form"]) == (message_id, "RFC 3464")
    assert (refused["kind"], refused["subject"]) == ("other", "Hello")


async def test_a_reload_without_the_section_closes_the_listener(
    open_returns: Open, authority: Authority, tmp_path: Path
) -> None:
    async with open_returns() as house:
        house.reconfigure(make_config(authority, tmp_path))
        assert "returns" not in house.door.addresses


async def test_a_large_report_is_read_beside_the_loop_and_counts_as_any(open_returns: Open) -> None:
    message_id, address = return_path()
    original = b"Content-Type: message/rfc822\r\n\r\n" + b"a line of the original\r\n" * 20_000
    large = report().replace(b"--x--\r\n", b"--x\r\n" + original + b"--x--\r\n")
    async with open_returns() as house, greeted(house) as client:
        assert (await hand_in(client, address, large)).startswith("250")
        assert [told for told, _ in house.store.happened] == [message_id]
        assert house.metric("in_flight_bytes") == 0


async def test_a_report_of_many_recipients_is_written_down_once_for_each_of_them(
    open_returns: Open,
) -> None:
    _, address = return_path(recipient=None)
    fields = b"".join(
        b"Final-Recipient: rfc822; r%d@example.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n" % n
        for n in range(150)
    )
    many = report().replace(b"Final-Recipient", fields + b"Final-Recipient", 1)
    async with open_returns() as house, greeted(house) as client:
        for _ in range(2):
            assert (await hand_in(client, address, many)).startswith("250")
        named = [what.address for _, what in house.store.happened]
        assert named == [f"r{number}@example.test" for number in range(100)]


async def test_whoever_holds_a_return_path_of_several_cannot_fill_the_store_by_naming_strangers(
    open_returns: Open,
) -> None:
    _, address = return_path(recipient=None)
    _, another = return_path(recipient=None)
    async with open_returns() as house, greeted(house) as client:
        for batch in range(11):
            fields = b"".join(
                b"Final-Recipient: rfc822; s%d@example.test\r\nAction: failed\r\n"
                b"Status: 5.1.1\r\n\r\n" % (batch * 99 + number)
                for number in range(99)
            )
            many = report().replace(b"Final-Recipient", fields + b"Final-Recipient", 1)
            assert (await hand_in(client, address, many)).startswith("250")
        assert len(house.store.happened) == 1_000
        assert (await hand_in(client, another, report())).startswith("250")
        assert len(house.store.happened) == 1_001


async def test_who_tries_many_addresses_is_cut_off(open_returns: Open) -> None:
    async with open_returns() as house, greeted(house) as client:
        await client.say(b"MAIL FROM:<>")
        answers = [
            await client.say(f"RCPT TO:<guess{number}@{DOMAIN}>".encode()) for number in range(99)
        ]
        assert {answer[:9] for answer in answers} == {"550 5.1.1"}
        client.writer.write(f"RCPT TO:<last@{DOMAIN}>\r\n".encode())
        await client.reply()
        assert (await client.reply()).startswith("421 4.7.0 Too many errors")
        assert await client.closed()
