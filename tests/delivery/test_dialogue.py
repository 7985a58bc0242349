"""What peers answer, at each moment of the dialogue, and what becomes of the mail."""

from pathlib import Path
from typing import Any

import pytest

from relay.mail.envelope import Recipient
from tests.delivery.outgoing import Outgoing, make_config
from tests.delivery.receiver import OFFERED, Do, Receiver, Scripted, Session

LOCKSTEP = tuple(word for word in OFFERED if word != "PIPELINING")
_ALL = ("b@example.test", "c@example.test", "d@example.test")


async def attempt(
    directory: Path, receiver: Receiver, *recipients: str | Recipient, **facts: Any
) -> dict[str, Any]:
    """The log line of one attempt at one message, which has the null reverse-path."""
    delivery = facts.pop("delivery", {})
    async with Outgoing(make_config(directory, route=receiver.address, delivery=delivery)) as relay:
        await relay.send(*(recipients or ("b@example.test",)), reverse_path="", **facts)
        line = (await relay.until_attempted())[0]
        line["queued"] = [a for entry in await relay.queue() for a in entry.recipients]
    return line


@pytest.mark.parametrize(
    "extensions", [OFFERED, LOCKSTEP, ()], ids=["pipelined", "lockstep", "bare"]
)
async def test_each_recipient_gets_its_own_answer(
    tmp_path: Path, extensions: tuple[str, ...]
) -> None:
    answers = {
        "b": b"250 2.1.5 ok\r\n",
        "c": b"550 5.1.1 no such user\r\n",
        "d": b"450 4.2.1 later\r\n",
    }
    script = {"RCPT": lambda session, line: answers[line.partition("<")[2][0]]}
    async with Receiver(script, extensions=extensions) as receiver:
        line = await attempt(tmp_path, receiver, *_ALL)
    assert [message.recipients for message in receiver.messages] == [["b@example.test"]]
    assert line["queued"] == ["d@example.test"]
    assert (line["kind"], line["outcome"]) == ("bounced", "mailbox_unknown")


@pytest.mark.parametrize("extensions", [OFFERED, LOCKSTEP], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize(
    ("moment", "said", "kind", "phase"),
    [
        ("MAIL", b"451 4.7.1 not now\r\n", "deferred", "mail"),
        ("MAIL", b"550 5.7.1 not you\r\n", "bounced", "mail"),
        ("RCPT", b"450 4.2.1 busy\r\n", "deferred", "rcpt"),
        ("RCPT", b"550 5.1.1 nobody\r\n", "bounced", "rcpt"),
        ("DATA", b"451 4.3.0 not now\r\n", "deferred", "data"),
        ("DATA", b"554 5.5.1 never\r\n", "bounced", "data"),
        ("end", b"451 4.3.0 no room\r\n", "deferred", "final"),
        ("end", b"554 5.6.0 bad content\r\n", "bounced", "final"),
        ("MAIL", (b"421 4.3.2 closing\r\n", Do.CLOSE), "deferred", "mail"),
        ("RCPT", (b"421 4.3.2 closing\r\n", Do.CLOSE), "deferred", "rcpt"),
        ("DATA", (b"421 4.3.2 closing\r\n", Do.CLOSE), "deferred", "data"),
        ("end", (b"421 4.3.2 closing\r\n", Do.CLOSE), "deferred", "final"),
        ("RCPT", b"421 4.3.2 closing, but the peer stays\r\n", "deferred", "rcpt"),
        ("MAIL", Do.CLOSE, "deferred", "mail"),
        ("RCPT", Do.CLOSE, "deferred", "rcpt"),
        ("DATA", Do.RESET, "deferred", "data"),
        ("end", Do.CLOSE, "deferred", "final"),
    ],
)
async def test_a_refusal_or_a_lost_connection_at_each_moment(
    tmp_path: Path,
    extensions: tuple[str, ...],
    moment: str,
    said: Scripted,
    kind: str,
    phase: str,
) -> None:
    async with Receiver({moment: said}, extensions=extensions) as receiver:
        line = await attempt(tmp_path, receiver)
    assert (line["kind"], line["phase"]) == (kind, phase), line
    assert line["queued"] == (["b@example.test"] if kind == "deferred" else [])
    assert receiver.messages == []


@pytest.mark.parametrize("deed", [Do.DEAFEN, Do.CLOSE])
async def test_a_peer_that_loses_what_goes_together_gets_it_command_by_command_for_an_hour(
    tmp_path: Path, deed: Do
) -> None:
    def mail(session: Session, line: str) -> Any:
        return (b"250 2.1.0 ok\r\n", deed) if session.ahead else b"250 2.1.0 ok\r\n"

    bounds = {"command_timeout": "100ms", "idle_timeout": "10ms"}
    async with Receiver({"MAIL": mail}) as receiver:
        config = make_config(tmp_path, route=receiver.address, delivery=bounds)
        async with Outgoing(config) as relay:
            await relay.send("b@example.test")
            (line,) = await relay.until_attempted()
            await receiver.until(lambda: receiver.open == 0)
            await relay.send("c@example.test")
            await receiver.until_messages(2)
    assert (line["kind"], line["attempt"]) == ("delivered", 1)
    assert [session.ahead for session in receiver.sessions] == [["MAIL"], [], []]


async def test_a_peer_that_is_gone_after_the_final_dot_may_have_the_message(tmp_path: Path) -> None:
    async with Receiver({"end": Do.CLOSE}) as receiver:
        line = await attempt(tmp_path, receiver)
    assert "it may be delivered twice" in line["reply"]
    assert line["reply"].startswith("451 4.4.2")


async def test_a_connection_lost_in_the_content_delivers_nothing(tmp_path: Path) -> None:
    async with Receiver(content_limit=100_000) as receiver:
        line = await attempt(tmp_path, receiver, body=b"0123456789abcd\r\n" * 200_000)
    assert (line["kind"], line["phase"]) == ("deferred", "content")
    assert "which was not taken" in line["reply"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [(b"552 5.3.4 too much\r\n", "bounced"), (b"421 4.3.2 shutting down\r\n", "deferred")],
)
async def test_a_refusal_in_the_middle_of_the_content_counts(
    tmp_path: Path, said: bytes, kind: str
) -> None:
    async with Receiver({"content": (said, Do.HANG)}, content_limit=100_000) as receiver:
        line = await attempt(tmp_path, receiver, body=b"0123456789abcd\r\n" * 1_000_000)
    assert (line["kind"], line["phase"]) == (kind, "content")
    assert line["reply"].startswith(said[:3].decode())


@pytest.mark.parametrize("moment", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"])
@pytest.mark.parametrize("extensions", [OFFERED, LOCKSTEP], ids=["pipelined", "lockstep"])
async def test_a_silent_peer_is_given_up_after_its_time(
    tmp_path: Path, moment: str, extensions: tuple[str, ...]
) -> None:
    bounds = {"command_timeout": "100ms", "final_timeout": "100ms", "data_timeout": "100ms"}
    async with Receiver({moment: Do.HANG}, extensions=extensions) as receiver:
        line = await attempt(tmp_path, receiver, delivery=bounds)
    assert line["kind"] == "deferred"
    assert line["reply"].startswith("451 4.4.2")
    assert ("delivered twice" in line["reply"]) == (moment == "end")
    assert receiver.messages == []


async def test_a_peer_that_stops_reading_is_given_up_after_one_block(tmp_path: Path) -> None:
    bounds = {"data_timeout": "200ms"}
    async with Receiver(stall_after=1000) as receiver:
        line = await attempt(
            tmp_path, receiver, body=b"0123456789abcd\r\n" * 1_000_000, delivery=bounds
        )
    assert (line["kind"], line["phase"]) == ("deferred", "content")


@pytest.mark.parametrize("extensions", [OFFERED, LOCKSTEP], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize("moment", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"])
@pytest.mark.parametrize(
    "said",
    [
        b"thank you\r\n",
        b"250 " + b"x" * 12_000 + b"\r\n",
        b"250 o\x00k\r\n",
        b"250 ok\n250 ok\n",
        b"250-ok\r\n550 no\r\n",
        b"999 what\r\n",
        b"\r\n",
    ],
    ids=["no code", "12 kB", "NUL", "bare LF", "two codes", "999", "empty"],
)
async def test_nonsense_never_delivers_anything(
    tmp_path: Path, extensions: tuple[str, ...], moment: str, said: bytes
) -> None:
    bounds = {"command_timeout": "500ms", "final_timeout": "500ms"}
    async with Receiver({moment: said}, extensions=extensions) as receiver:
        line = await attempt(tmp_path, receiver, delivery=bounds)
    if moment == "EHLO":  # what is odd there may be overlooked
        assert (line["kind"] == "delivered") == bool(receiver.messages), line
    else:
        assert line["kind"] == "deferred"
        assert line["queued"] == ["b@example.test"]


@pytest.mark.parametrize("extensions", [OFFERED, LOCKSTEP], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("MAIL", b"250 ok\r\n250 ok\r\n"),
        ("RCPT", b"250 ok\r\n250 ok\r\n"),
        ("DATA", b"354 go\r\n250 taken\r\n"),
        ("DATA", b"250 ok\r\n"),
        ("RCPT", b"354 go ahead\r\n"),
        ("MAIL", b"354 go ahead\r\n"),
        ("end", b"354 more\r\n"),
        ("end", b"250 taken\r\n550 no, it is not\r\n"),
    ],
)
async def test_replies_out_of_step_never_deliver_anything(
    tmp_path: Path, extensions: tuple[str, ...], moment: str, said: bytes
) -> None:
    async with Receiver(
        {"end": b"550 5.6.0 not taken\r\n", moment: said}, extensions=extensions
    ) as it:
        line = await attempt(tmp_path, it)
    assert line["kind"] == "deferred", line
    assert line["reply"].startswith("451 4.5.0")
    assert line["queued"] == ["b@example.test"]


async def test_a_farewell_after_the_message_was_taken_takes_nothing_back(tmp_path: Path) -> None:
    said = (b"250 2.0.0 taken\r\n421 4.3.2 bye\r\n", Do.CLOSE)
    async with Receiver({"end": said}) as receiver:
        line = await attempt(tmp_path, receiver)
    assert line["kind"] == "delivered"
    assert len(receiver.messages) == 1


async def test_a_peer_that_says_354_although_all_recipients_were_refused_gets_an_empty_message(
    tmp_path: Path,
) -> None:
    script = {"RCPT": b"550 5.1.1 no\r\n", "DATA": b"354 go ahead\r\n", "end": b"554 none\r\n"}
    async with Receiver(script) as receiver:
        line = await attempt(tmp_path, receiver)
        await receiver.until(lambda: receiver.sessions[0].ended_with_quit)
    assert (line["kind"], line["phase"]) == ("bounced", "rcpt")
    assert receiver.sessions[0].raw == b".\r\n"


async def test_a_half_open_transaction_is_reset_before_the_next_message(tmp_path: Path) -> None:
    def first_refused(session: Session, line: str) -> bytes:
        return b"550 5.1.1 no\r\n" if session.seen["RCPT"] == 1 else b"250 ok\r\n"

    async with (
        Receiver({"RCPT": first_refused}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test", reverse_path="")
        await relay.until_attempted()
        for count in (1, 2):
            await relay.send("c@example.test", reverse_path="")
            await receiver.until_messages(count)
            await relay.until_empty()
    (session,) = receiver.sessions
    verbs = [line.split(" ")[0] for line in session.lines]
    assert verbs.count("RSET") == 1
    assert verbs[4:7] == ["RSET", "MAIL", "RCPT"]
    assert session.taken == 2


async def test_commands_go_together_where_the_peer_offers_pipelining(tmp_path: Path) -> None:
    arrived: list[int] = []

    def count(session: Session, line: str) -> bytes:
        arrived.append(session.seen["DATA"])
        return b"250 ok\r\n"

    async with Receiver({"MAIL": count}) as receiver:
        line = await attempt(tmp_path, receiver, *_ALL)
    assert line["kind"] == "delivered"
    assert receiver.messages[0].recipients == list(_ALL)


async def test_many_recipients_go_in_several_transactions_on_one_connection(tmp_path: Path) -> None:
    everybody = [f"r{number}@example.test" for number in range(250)]
    async with Receiver() as receiver:
        line = await attempt(tmp_path, receiver, *everybody)
    assert line["kind"] == "delivered"
    assert [len(message.rcpts) for message in receiver.messages] == [100, 100, 50]
    assert [r for message in receiver.messages for r in message.recipients] == everybody
    assert len(receiver.sessions) == 1


async def test_a_server_of_1982_that_knows_only_helo_is_served(tmp_path: Path) -> None:
    async with Receiver({"EHLO": b"500 what?\r\n"}) as receiver:
        line = await attempt(tmp_path, receiver)
    assert line["kind"] == "delivered"
    assert receiver.messages[0].mail == "<>"


@pytest.mark.parametrize(
    ("extensions", "body", "header", "enhanced"),
    [
        (("PIPELINING",), "é\r\n".encode(), b"Subject: x\r\n", "5.6.3"),
        (("PIPELINING",), b"x\r\n", "Subject: é\r\n".encode(), "5.6.3"),
        (("PIPELINING", "SIZE 20"), b"x\r\n" * 20, b"Subject: x\r\n", "5.3.4"),
    ],
)
async def test_what_a_peer_cannot_take_whole_bounces_with_a_clear_text(
    tmp_path: Path, extensions: tuple[str, ...], body: bytes, header: bytes, enhanced: str
) -> None:
    async with Receiver(extensions=extensions) as receiver:
        line = await attempt(tmp_path, receiver, body=body, header=header)
    assert line["kind"] == "bounced"
    assert enhanced in line["reply"]
    assert receiver.sessions[0].seen["MAIL"] == 0


async def test_8_bit_content_is_declared_to_a_peer_that_takes_it(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        await attempt(tmp_path, receiver, body="é\r\n".encode())
    assert "BODY=8BITMIME" in receiver.messages[0].mail
    assert receiver.messages[0].content.endswith("é\r\n".encode())


async def test_delivery_reports_are_asked_for_where_the_peer_can_make_them(tmp_path: Path) -> None:
    wish = Recipient("b@example.test", ("SUCCESS",), "rfc822;B@example.test")
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send(wish, ret="HDRS", envid="abc")
        await relay.until_empty()
    (message,) = receiver.messages
    assert "RET=HDRS ENVID=abc" in message.mail
    assert "NOTIFY=SUCCESS ORCPT=rfc822;B@example.test" in message.rcpts[0]


@pytest.mark.parametrize("stray", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\nb\r\n", b"a\n.\r\nb\r\n"])
async def test_content_with_a_bare_line_end_is_never_sent(tmp_path: Path, stray: bytes) -> None:
    async with Receiver() as receiver:
        line = await attempt(tmp_path, receiver, body=stray)
    assert line["kind"] == "bounced"
    assert "5.6.0" in line["reply"]
    assert receiver.messages == []


async def test_a_stray_line_end_deep_in_a_large_body_leaves_the_peer_without_the_message(
    tmp_path: Path,
) -> None:
    body = b"0123456789abcd\r\n" * 100_000 + b"\n.\r\nMAIL FROM:<evil@x.test>\r\n"
    async with Receiver() as receiver:
        line = await attempt(tmp_path, receiver, body=body)
    assert line["kind"] == "bounced"
    assert receiver.messages == []
    assert all("evil" not in line for session in receiver.sessions for line in session.lines)


async def test_a_large_body_arrives_octet_for_octet(tmp_path: Path) -> None:
    body = b"".join(b".%d dots\r\n..%d\r\n" % (n, n) for n in range(150_000))
    async with Receiver() as receiver:
        line = await attempt(tmp_path, receiver, body=body)
    assert line["kind"] == "delivered"
    assert receiver.messages[0].content.partition(b"\r\n\r\n")[2] == body


async def test_a_kept_connection_that_the_peer_has_just_closed_costs_no_attempt(
    tmp_path: Path,
) -> None:
    def close_on_second(session: Session, line: str) -> Any:
        again = session.number == 0 and session.seen["MAIL"] == 2
        return (b"421 4.3.2 idle for too long\r\n", Do.CLOSE) if again else b"250 ok\r\n"

    async with (
        Receiver({"MAIL": close_on_second}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test")
        await receiver.until_messages(1)
        await relay.until_empty()
        await relay.send("c@example.test")
        await receiver.until_messages(2)
        await relay.until_empty()
        assert len(receiver.sessions) == 2
        assert len(relay.lines.of("delivery attempt")) == 2
