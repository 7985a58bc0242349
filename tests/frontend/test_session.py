import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from relay.admission.submission import Refusal
from relay.mail.replies import Reply
from relay.store.interface import StoreFull, StoreUnavailable
from tests.frontend.client import MESSAGE, Client
from tests.frontend.conftest import Run
from tests.frontend.house import USERNAME, House


@pytest.mark.parametrize("listener", ["submission", "implicit"])
def test_a_message_goes_through_on_each_loop(run: Run, opened: Callable[..., Any], listener: str):
    async def play() -> None:
        async with opened() as house:
            async with Client(house, listener) as client:
                await client.log_in()
                reply = await client.send()
                assert (await client.say(b"QUIT")).startswith("221")
                assert await client.closed()
            (message,) = house.store.messages
            assert reply == f"250 Ok {message.id}"
            submission = house.admission.submissions[0]
            assert (submission.listener, submission.client) == (listener, "127.0.0.1")
            assert (submission.helo, submission.tls) == ("client.test", "TLSv1.3")
            assert submission.credential == USERNAME

    run(play())


def test_a_large_message_goes_through_on_each_loop(run: Run, opened: Callable[..., Any]):
    body = b"0123456789abcdef" * 4 + b"\r\n"

    async def play() -> None:
        async with opened() as house, Client(house) as client:
            await client.log_in()
            await client.begin()
            client.writer.write(b"From: <a@sender.test>\r\n\r\n" + body * 50_000 + b".\r\n")
            assert (await client.reply()).startswith("250 Ok")
            assert house.store.messages[0].body.inline == body * 50_000

    run(play())


async def test_what_was_accepted_is_counted_and_logged_under_its_id(house: House):
    async with Client(house) as client:
        await client.log_in()
        await client.begin("b@example.test", "c@example.test")
        client.writer.write(MESSAGE + b".\r\n")
        message_id = (await client.reply()).removeprefix("250 Ok ")
    stream = {"credential": USERNAME, "configuration_set": "main"}
    assert house.metric("messages_accepted_total", listener="submission", **stream) == 1
    assert house.metric("recipients_accepted_total", **stream) == 2
    assert house.metric("accepted_bytes_total", listener="submission") == len(MESSAGE)
    assert house.metric("in_flight_bytes") == 0
    assert message_id in house.log.getvalue()
    assert "Hello" not in house.log.getvalue()


async def test_a_refusal_of_admission_is_the_final_reply_and_nothing_is_kept(house: House):
    house.admission.refusal = Refusal(Reply(554, "5.7.1", "Not you"), "identity not allowed")
    async with Client(house) as client:
        await client.log_in()
        assert await client.send() == "554 5.7.1 Not you"
        house.admission.refusal = None
        assert (await client.send()).startswith("250 Ok")
    assert len(house.store.messages) == 1
    assert house.store.discarded == 1
    assert house.metric(
        "messages_refused_total", credential=USERNAME, reason="identity not allowed"
    )


@pytest.mark.parametrize(
    ("error", "reply"), [(StoreFull("full"), "452 4.3.1"), (StoreUnavailable("x"), "451 4.3.0")]
)
async def test_a_store_that_cannot_keep_a_message_refuses_it_for_now(
    house: House, error: Exception, reply: str
):
    house.store.accept_error = error
    async with Client(house) as client:
        await client.log_in()
        assert (await client.send()).startswith(reply)
        house.store.accept_error = None
        assert (await client.send()).startswith("250 Ok")
    assert house.store.discarded == 1


async def test_an_error_of_ours_tells_nothing_but_a_reference(house: House):
    house.admission.error = RuntimeError("db password=hunter2")
    async with Client(house) as client:
        await client.log_in()
        reply = await client.send()
        assert reply.startswith("451 4.3.0 Temporary service failure; reference ")
        assert "hunter2" not in reply
        assert await client.closed()
    reference = reply.split("reference ")[1][:8]
    assert reference in house.log.getvalue()


async def test_250_is_said_after_the_message_is_stored_and_not_before(house: House):
    house.store.gate = asyncio.Event()
    async with Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(MESSAGE + b".\r\n")
        await house.store.accepting.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reader.readline()
        house.store.gate.set()
        assert (await client.reply()).startswith("250 Ok")


async def test_a_client_that_leaves_while_its_message_is_stored_tears_nothing(house: House):
    house.store.gate = asyncio.Event()
    async with Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(MESSAGE + b".\r\n")
        await house.store.accepting.wait()
    house.store.gate.set()
    await house.drain(5)
    assert len(house.store.messages) == 1
    assert house.store.discarded == 0
    assert house.metric("connections", listener="submission") == 0


async def test_a_client_that_leaves_within_a_message_leaves_nothing(house: House):
    async with Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(MESSAGE)
    await house.drain(5)
    assert house.store.messages == []
    assert house.store.discarded == 1
    assert house.metric("in_flight_bytes") == 0


async def test_an_idle_client_hears_why_it_is_cut(opened: Callable[..., Any]):
    async with opened(bounds={"command_timeout": "50ms"}) as house, Client(house) as client:
        await client.log_in()
        assert await client.reply() == "451 4.4.2 Timeout waiting for data from client."
        assert await client.closed()


async def test_a_client_must_log_in_in_time_whatever_else_it_says(opened: Callable[..., Any]):
    async with opened(bounds={"login_timeout": "100ms"}) as house, Client(house) as client:
        await client.reply()
        said = 0
        while (reply := await client.say(b"NOOP")).startswith("250"):
            said += 1
            await asyncio.sleep(0.02)
        assert said
        assert reply.startswith("451 4.4.2")


async def test_a_message_that_stops_is_cut_and_nothing_of_it_kept(opened: Callable[..., Any]):
    async with opened(bounds={"data_timeout": "50ms"}) as house, Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(MESSAGE)
        assert (await client.reply()).startswith("451 4.4.2")
        assert house.store.discarded == 1


async def test_a_message_that_trickles_is_cut(opened: Callable[..., Any]):
    """An octet now and then is no progress."""
    async with opened(bounds={"data_timeout": "150ms"}) as house, Client(house) as client:
        await client.log_in()
        await client.begin()
        reading = asyncio.create_task(client.reply())
        while not reading.done():
            client.writer.write(b"x")
            await asyncio.sleep(0.01)
        assert (await reading).startswith("451 4.4.2")


async def test_a_message_has_its_time_in_all(opened: Callable[..., Any]):
    bounds = {"data_timeout": "10s", "message_timeout": "100ms"}
    async with opened(bounds=bounds) as house, Client(house) as client:
        await client.log_in()
        await client.begin()
        reading = asyncio.create_task(client.reply())
        while not reading.done():
            client.writer.write(b"x: " + b"y" * 90 + b"\r\n")
            await asyncio.sleep(0.01)
        assert (await reading).startswith("451 4.4.2")


async def test_a_slow_message_that_makes_progress_is_not_cut(opened: Callable[..., Any]):
    async with opened(bounds={"data_timeout": "300ms"}) as house, Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(b"From: <a@sender.test>\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.05)
            client.writer.write((b"x" * 98 + b"\r\n") * 50)
        client.writer.write(b".\r\n")
        assert (await client.reply()).startswith("250 Ok")


async def test_a_full_disk_refuses_mail_before_its_content(opened: Callable[..., Any]):
    async with opened() as house, Client(house) as client:
        await client.log_in()
        house.store.free = 0
        await house.frontend._check_disk()
        assert (await client.say(b"MAIL FROM:<a@sender.test>")).startswith("452 4.3.1")
        house.store.free = 10**12
        await house.frontend._check_disk()
        assert (await client.say(b"MAIL FROM:<a@sender.test>")).startswith("250")


async def test_above_the_budget_of_all_sessions_mail_is_refused_for_now(
    opened: Callable[..., Any],
):
    async with opened(bounds={"bytes_in_flight": "200KB"}) as house:
        async with Client(house) as first, Client(house) as second:
            await first.log_in()
            await second.log_in()
            await first.begin()
            await second.begin()
            first.writer.write(b"X: y\r\n\r\n" + (b"x" * 98 + b"\r\n") * 1_900)
            second.writer.write(b"X: y\r\n\r\n" + (b"x" * 98 + b"\r\n") * 1_900 + b".\r\n")
            assert (await second.reply()).startswith("452 4.3.1 Too much mail in flight")
            first.writer.write(b".\r\n")
            assert (await first.reply()).startswith("250 Ok")
            assert (await second.send()).startswith("250 Ok")
        assert house.metric("in_flight_bytes") == 0


async def test_a_login_in_the_clear_is_never_asked_for(house: House):
    async with Client(house) as client:
        await client.reply()
        assert "AUTH" not in await client.say(b"EHLO client.test")
        assert (await client.say(b"AUTH LOGIN")).startswith("530 5.7.0")


async def test_an_unfinished_refused_message_is_answered_without_its_end(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    """A client that believes that LF . LF ends data would wait for ever."""
    monkeypatch.setattr("relay.frontend.intake._REFUSED_PATIENCE", 0.05)
    async with opened() as house, Client(house) as client:
        await client.log_in()
        await client.begin()
        client.writer.write(b"From: <a@sender.test>\n\nhello\n.\n")
        assert (await client.reply()).startswith("554 5.6.11")
        assert await client.closed()
        assert house.store.messages == []
