"""Destinations that are down, silent, slow, refusing, cut off or talking nonsense."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import DROP, SILENCE, Action, Behaviour, Later, Receiver

STAGES = ("connect", "ehlo", "mail", "rcpt", "data", "final")


@pytest.fixture
def bad() -> Iterator[Receiver]:
    """A second receiver, for `bad.test`, that misbehaves."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def started(quick: Program, bad: Receiver) -> Program:
    quick.configure(lambda d: d["routes"].update({"bad.test": {"to": f"127.0.0.1:{bad.port}"}}))
    quick.configure(lambda d: d["delivery"].update(messages_per_connection=1))
    return quick.start()


def once(stage: str, action: Action) -> Behaviour:
    """Answer so the first time that stage is reached; as usual from then on."""
    done = []

    def behave(at: str, text: str) -> Action:
        if at != stage or done:
            return None
        done.append(at)
        return action

    return behave


def always(stage: str, action: Action) -> Behaviour:
    return lambda at, text: action if at == stage else None


def queue(program: Program) -> list[dict]:
    found = program.json("queue", "list")
    return found if isinstance(found, list) else found["deliveries"]


def send_to_both(program: Program, count: int) -> None:
    with program.client() as client:
        for number in range(count):
            for domain in ("bad.test", "dest.test"):
                name = f"<{number}@{domain}>"
                client.sendmail("app@sender.test", [f"to@{domain}"], letter(message_id=name))


def test_a_destination_that_is_down_hurts_no_other_and_gets_its_mail_when_it_is_back(
    started: Program, bad: Receiver, receiver: Receiver
) -> None:
    bad.pause()
    began = time.monotonic()
    send_to_both(started, 20)
    wait_until(lambda: len(receiver.messages) == 20, 10, "the other domain's mail")
    assert time.monotonic() - began < 10
    wait_until(lambda: started.metric("relay_recipients_deferred_total") >= 20, what="deferral")
    bad.resume()
    wait_until(lambda: len(set(bad.ids())) == 20, 20, "delivery when it is back")
    assert len(bad.messages) == 20


@pytest.mark.parametrize("stage", ["connect", "mail", "data", "final"])
def test_a_silent_destination_holds_up_no_other_and_is_given_up_in_time(
    started: Program, bad: Receiver, receiver: Receiver, stage: str
) -> None:
    bad.behave = always(stage, SILENCE)
    send_to_both(started, 30)
    wait_until(lambda: len(receiver.messages) == 30, 5, "the other domain's mail")
    wait_until(lambda: started.metric("relay_recipients_deferred_total") > 0, what="the time-out")
    assert started.metric("relay_recipients_deferred_total", outcome="delivered") == 0
    bad.behave = lambda stage, text: None
    wait_until(lambda: len(set(bad.ids())) == 30, 30, "delivery when it speaks")


def test_a_tarpit_keeps_its_own_connections_busy_and_no_more(
    started: Program, bad: Receiver, receiver: Receiver
) -> None:
    bad.behave = lambda stage, text: Later(0.3)
    send_to_both(started, 40)
    wait_until(lambda: len(receiver.messages) == 40, 5, "the other domain's mail")
    assert bad.open_connections <= 20
    bad.behave = lambda stage, text: Later(0.02)
    wait_until(lambda: len(bad.messages) == 40, 40, "the slow domain's mail")
    assert len(set(bad.ids())) == 40


def test_a_refusal_for_now_at_any_stage_is_tried_again_and_delivered_once(
    started: Program, bad: Receiver
) -> None:
    for code in ("421 4.3.2 going down", "451 4.3.0 try later"):
        for stage in STAGES:
            name = f"<{code[:3]}.{stage}@client.test>"
            bad.behave = once(stage, code)
            before = started.metric("relay_recipients_deferred_total")
            started.send(("to@bad.test",), message_id=name)
            wait_until(lambda name=name: name in bad.ids(), 10, f"{code} at {stage}")
            assert started.metric("relay_recipients_deferred_total") == before + 1
    assert set(Counter(bad.ids()).values()) == {1}
    assert started.metric("relay_recipients_bounced_total") == 0


def test_a_refusal_for_good_bounces_except_before_there_is_a_message(
    started: Program, bad: Receiver, receiver: Receiver
) -> None:
    for number, stage in enumerate(STAGES):
        bad.behave = once(stage, "554 5.3.0 no")
        started.send((f"{stage}@bad.test",), message_id=f"<{stage}@client.test>")
        if stage in ("connect", "ehlo"):  # the session was refused, not the mail
            wait_until(lambda number=number: len(bad.messages) == number + 1, 10, stage)
            continue
        wait_until(lambda number=number: len(receiver.messages) == number - 1, 10, stage)
        assert f"{stage}@bad.test" in receiver.messages[-1].content.decode()
    assert bad.ids() == ["<connect@client.test>", "<ehlo@client.test>"]
    assert started.metric("relay_recipients_bounced_total") == 4
    assert queue(started) == []


# Lost at DATA, whose command went out with MAIL and RCPT, it is taken for a peer that cannot answer
# them together: the message goes again at once, command by command, and no attempt is counted.
@pytest.mark.parametrize(
    ("stage", "copies", "deferred"), [("in-data", 1, 1), ("data", 1, 0), ("final", 2, 1)]
)
def test_a_connection_lost_on_the_way_is_made_good_and_twice_only_where_it_was_in_doubt(
    started: Program, bad: Receiver, stage: str, copies: int, deferred: int
) -> None:
    bad.behave = once(stage, DROP)
    started.send(("to@bad.test",), body=("x" * 70 + "\r\n") * 20_000)
    wait_until(lambda: len(bad.messages) == copies, 10, "delivery")
    wait_until(lambda: queue(started) == [], 10, "an empty queue")
    assert len(bad.messages) == copies
    assert started.metric("relay_recipients_deferred_total") == deferred
    assert started.metric("relay_recipients_delivered_total") == 1


NONSENSE = (
    b"hello there\r\n",
    b"25\r\n",
    b"250 " + b"x" * 12_000 + b"\r\n",
    b"250 a\0b\r\n",
    b"250 only a line feed\n",
    b"250-first\r\n251 second\r\n",
    b"999 what\r\n",
    b"\xff\xfe\xfd\r\n",
    b"\r\n",
)


@pytest.mark.parametrize("stage", STAGES)
def test_nonsense_is_never_taken_for_a_delivery(
    started: Program, bad: Receiver, stage: str
) -> None:
    words: list[bytes] = [*NONSENSE]
    if stage in ("mail", "rcpt"):
        words += [b"354 go ahead\r\n", b"250 one\r\n250 two\r\n"]
    if stage in ("data", "final"):
        words += [b"220 hello\r\n"] if stage == "data" else [b"354 go on\r\n"]

    def behave(at: str, text: str) -> Action:
        return words.pop() if at == stage and words else None

    bad.behave = behave
    total = len(words)
    with started.client() as client:
        for number in range(total):
            client.sendmail(
                "app@sender.test", ["to@bad.test"], letter(message_id=f"<{number}@client.test>")
            )
    wait_until(lambda: not words and len(set(bad.ids())) == total, 30, "delivery in the end")
    wait_until(lambda: queue(started) == [], 10, "an empty queue")
    assert set(Counter(bad.ids()).values()) == {1}
    assert started.metric("relay_recipients_delivered_total") == total
    assert started.metric("relay_recipients_bounced_total") == 0
    assert "Traceback" not in started.log()


def test_without_the_encryption_that_a_set_requires_nothing_is_sent(
    quick: Program, receiver: Receiver
) -> None:
    quick.configure(lambda d: d["configuration_sets"]["default"].update(tls="require"))
    quick.start()
    said: list[str] = []

    def behave(stage: str, text: str) -> Action:
        said.append(text)
        return None

    receiver.behave = behave
    quick.send()
    deferred = "relay_recipients_deferred_total"
    wait_until(lambda: quick.metric(deferred, outcome="tls") >= 2, 15, "two attempts")
    assert not any(line.upper().startswith(("MAIL", "RCPT", "DATA")) for line in said)


@pytest.mark.parametrize(
    "answer",
    ["454 4.7.0 TLS not available", b"220 go\r\nthis is no handshake at all, is it?\r\n", DROP],
)
def test_a_broken_starttls_is_gone_round_where_encryption_is_optional(
    quick: Program, receiver: Receiver, answer: Action
) -> None:
    def behave(stage: str, text: str) -> Action:
        if stage == "ehlo":
            return "250-sink.test\r\n250-PIPELINING\r\n250 STARTTLS"
        return answer if text.upper().startswith("STARTTLS") else None

    receiver.behave = behave
    quick.start()
    quick.send()
    wait_until(lambda: len(receiver.messages) == 1, 15, "delivery in clear text")


def test_queue_retry_goes_out_at_once_also_to_a_destination_that_was_down(
    program: Program, receiver: Receiver
) -> None:
    receiver.pause()
    program.start()
    for number in range(6):
        program.send(message_id=f"<{number}@client.test>")
    wait_until(lambda: program.metric("relay_recipients_deferred_total") == 6, what="deferral")
    receiver.resume()
    program.run("queue", "retry", "--all")
    wait_until(lambda: len(receiver.messages) == 6, 10, "delivery")
