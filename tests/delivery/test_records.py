"""The dialogues that are kept of attempts: what is in them, and what is not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.delivery.dialogue import LINE_CHARACTERS, MOST_LINES, Dialogue
from relay.delivery.peer import Peer
from relay.feedback.outcome import RecipientResult
from relay.feedback.told import MOST_NAMED, told
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply
from relay.store.values import Attempt
from tests.delivery.outgoing import Outgoing, make_config
from tests.delivery.receiver import Do, Receiver

PEER = Peer("mx.x.test", "192.0.2.2")
SECRET = b"The content of a message is nobody's business.\r\n"


async def attempts_of(tmp_path: Path, receiver: Receiver, **delivery: Any) -> list[Attempt]:
    """Of one message to two recipients."""
    config = make_config(tmp_path, route=receiver.address, delivery=delivery)
    async with Outgoing(config) as relay:
        message = await relay.send("a@x.test", "b@x.test", body=SECRET)
        await relay.until_attempted(1)
        found: list[Attempt] = await relay.store.attempts.of(message.id, 10)
        return found


async def test_a_delivered_message_keeps_each_command_and_reply_and_not_its_content(
    tmp_path: Path,
) -> None:
    async with Receiver() as receiver:
        (attempt,) = await attempts_of(tmp_path, receiver)
    said = [(line.who, line.text) for line in attempt.dialogue]
    assert [text.split(":")[0] for who, text in said if who == "us"] == [
        "MAIL FROM", "RCPT TO", "RCPT TO", "DATA",
    ]  # fmt: skip
    assert [text[:3] for who, text in said if who == "peer"] == ["250", "250", "250", "354", "250"]
    (note,) = [text for who, text in said if who == "note"]
    assert note.endswith(" octets of content and the dot")
    assert "nobody" not in str(attempt)
    assert (attempt.source, attempt.pool, attempt.number) == ("127.0.0.2", "main", 1)
    assert (attempt.results[0].kind, attempt.results[0].count) == ("delivered", 2)
    assert attempt.peer.startswith("127.0.0.1[127.0.0.1]:")
    times = [line.after for line in attempt.dialogue]
    assert times == sorted(times)


async def test_without_pipelining_commands_and_replies_alternate(tmp_path: Path) -> None:
    async with Receiver(extensions=("8BITMIME",)) as receiver:
        (attempt,) = await attempts_of(tmp_path, receiver)
    who = [line.who for line in attempt.dialogue]
    assert who == ["us", "peer"] * 4 + ["note", "peer"]


async def test_a_peer_that_hangs_up_leaves_what_was_said_until_then(tmp_path: Path) -> None:
    async with Receiver({"end": Do.CLOSE}) as receiver:
        (attempt,) = await attempts_of(tmp_path, receiver)
    assert attempt.dialogue[-1].who == "note"
    assert attempt.results[0].kind == "deferred"
    assert "delivered twice" in attempt.results[0].reply


async def test_a_connection_that_did_not_come_about_is_told_too(tmp_path: Path) -> None:
    async with Receiver({"greeting": b"421 4.3.2 not now\r\n"}) as receiver:
        (attempt,) = await attempts_of(tmp_path, receiver)
    assert [line.text for line in attempt.dialogue] == ["ended before MAIL: the greeting"]
    assert attempt.results[0].reply == "421 4.3.2 not now"


async def test_a_login_leaves_no_trace(tmp_path: Path) -> None:
    async with Receiver(login=("user", "secret-word")) as receiver:
        route = {
            "to": receiver.address,
            "tls": "require",
            "login": {"username": "user", "password": "secret-word"},
        }
        config = make_config(tmp_path, route=route)
        async with Outgoing(config) as relay:
            message = await relay.send("a@x.test")
            await relay.until_attempted(1)
            (attempt,) = await relay.store.attempts.of(message.id, 10)
    assert "secret" not in str(attempt)
    assert "c2VjcmV0" not in str(attempt)


@pytest.mark.parametrize(
    ("kept", "of_delivered", "of_deferred"), [("all", 1, 1), ("failures", 0, 1), ("none", 0, 0)]
)
async def test_the_configuration_says_of_which_attempts_it_is_kept(
    tmp_path: Path, kept: str, of_delivered: int, of_deferred: int
) -> None:
    async with Receiver() as receiver:
        found = await attempts_of(tmp_path / "one", receiver, dialogues=kept)
        assert len(found) == of_delivered
    async with Receiver({"RCPT": b"451 4.7.1 Greylisted\r\n"}) as receiver:
        found = await attempts_of(tmp_path / "two", receiver, dialogues=kept)
        assert len(found) == of_deferred


_ANY_TEXT = some.text(max_size=600)


@given(
    some.lists(
        some.tuples(
            some.floats(0, 1e6),
            some.one_of(
                some.binary(max_size=600),
                some.integers(0, 10**9),
                some.lists(some.tuples(some.integers(200, 599), _ANY_TEXT), max_size=20),
            ),
        ),
        max_size=30,
    )
)
def test_whatever_was_said_is_bounded_and_printable(said: Any) -> None:
    lines = Dialogue(PEER, 0.0, said).lines()
    assert len(lines) <= MOST_LINES + 1
    for line in lines:
        assert line.text.isprintable()
        assert len(line.text) <= LINE_CHARACTERS


def test_a_long_reply_has_a_hyphen_in_all_lines_but_the_last() -> None:
    lines = Dialogue(PEER, 0.0, [(0.0, [(550, "5.7.1 one\n5.7.1 two")])]).lines()
    assert [line.text for line in lines] == ["550-5.7.1 one", "550 5.7.1 two"]


def test_recipients_with_the_same_reply_are_told_together() -> None:
    reply, other = Reply(250, "2.1.5", "Ok"), Reply(550, "5.1.1", "unknown")
    results = [
        RecipientResult(Recipient(f"{n}@x.test"), "delivered", reply, "delivered")
        for n in range(MOST_NAMED + 5)
    ]
    results.append(RecipientResult(Recipient("z@x.test"), "bounced", other, "mailbox_unknown"))
    taken, refused = told(results)
    assert (taken.count, len(taken.recipients)) == (MOST_NAMED + 5, MOST_NAMED)
    assert (refused.count, refused.recipients, refused.reply) == (
        1,
        ("z@x.test",),
        "550 5.1.1 unknown",
    )
