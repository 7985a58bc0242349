"""Configuration sets, pools, rates and quotas of the real program, seen by the receiver."""

import smtplib
import time

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver


def two_pools(document) -> None:
    """Set `marketing` through a pool of its own on 127.0.0.3; fast retries."""
    document["pools"]["marketing"] = {"sources": [{"address": "127.0.0.3"}]}
    document["configuration_sets"]["marketing"] = {"pool": "marketing"}
    document["default_configuration_set"] = "default"


def test_messages_of_two_sets_leave_from_the_addresses_of_their_pools(
    program: Program, receiver: Receiver
) -> None:
    program.configure(two_pools)
    program.start()
    for number in range(6):
        named = "X-SES-CONFIGURATION-SET: marketing\r\n" if number % 2 else ""
        program.send(headers=named, message_id=f"<{number}@client.test>")
    wait_until(lambda: len(receiver.messages) == 6, what="delivery")
    for message in receiver.messages:
        number = int(message.header("Message-ID")[1])
        assert message.source == ("127.0.0.3" if number % 2 else "127.0.0.2")
        assert message.header("X-SES-CONFIGURATION-SET") == ""
        assert message.header("DKIM-Signature")
    assert program.metric("relay_recipients_delivered_total", source="127.0.0.3") == 3


def test_a_pool_without_a_usable_address_defers_and_never_borrows_another(
    program: Program, receiver: Receiver
) -> None:
    def change(document) -> None:
        two_pools(document)
        document["pools"]["marketing"]["sources"] = [{"address": "192.0.2.77"}]

    program.configure(change)
    program.start()
    program.send(headers="X-SES-CONFIGURATION-SET: marketing\r\n", message_id="<stays@client.test>")
    program.send(message_id="<goes@client.test>")
    wait_until(lambda: len(receiver.messages) == 1, what="delivery of the other set")
    wait_until(lambda: "192.0.2.77" in program.run("queue", "list", "--json").stdout)
    assert receiver.ids() == ["<goes@client.test>"]
    assert program.metric("relay_source_available", source="192.0.2.77") == 0


def test_a_rate_of_twenty_a_second_is_kept_and_its_backlog_drains(
    program: Program, receiver: Receiver
) -> None:
    def change(document) -> None:
        document["configuration_sets"]["default"]["rate"] = "20/s"

    program.configure(change)
    program.start()
    count = 220
    with program.client() as client:
        for number in range(count):
            client.sendmail(
                "app@sender.test", ["to@dest.test"], letter(message_id=f"<{number}@client.test>")
            )
    wait_until(lambda: len(receiver.messages) == count, 40, "the backlog's end")
    times = sorted(message.at for message in receiver.messages)
    assert len(set(receiver.ids())) == count
    for start in range(count):
        # What the receiver sees in a second may be a permit more than what left in one: the path
        # between the two is not of equal length for each message.
        within = sum(1 for at in times[start : start + 40] if at < times[start] + 1.0)
        assert within <= 22
    # 220 at 20/s take 10.95 s; a limiter that is too shy would take longer.
    assert 10.5 <= times[-1] - times[0] <= 14


def test_a_throttled_set_does_not_delay_another(program: Program, receiver: Receiver) -> None:
    def change(document) -> None:
        two_pools(document)
        document["configuration_sets"]["marketing"]["rate"] = "1/s"

    program.configure(change)
    program.start()
    with program.client() as client:
        for number in range(50):
            client.sendmail(
                "app@sender.test",
                ["to@dest.test"],
                letter("X-SES-CONFIGURATION-SET: marketing\r\n", message_id=f"<slow{number}@c>"),
            )
    started = time.monotonic()
    program.send(message_id="<urgent@client.test>")
    wait_until(lambda: "<urgent@client.test>" in receiver.ids(), 5, "the other set's delivery")
    assert time.monotonic() - started < 5


def test_the_daily_quota_survives_a_restart(program: Program, receiver: Receiver) -> None:
    def change(document) -> None:
        document["credentials"]["app"].update(quota="10/day", on_limit="reject")

    program.configure(change)
    program.start()
    for number in range(6):
        program.send(message_id=f"<{number}@client.test>")
    assert program.terminate() == 0
    program.start()
    for number in range(6, 10):
        program.send(message_id=f"<{number}@client.test>")
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        program.send(message_id="<10@client.test>")
    assert refusal.value.smtp_code == 454
    assert b"Throttling failure: Daily message quota exceeded" in refusal.value.smtp_error
    wait_until(lambda: len(receiver.messages) == 10, what="delivery of the ten")


def test_a_rate_that_rejects_says_the_seconds_to_wait(program: Program, receiver: Receiver) -> None:
    def change(document) -> None:
        document["credentials"]["app"].update(rate="1/min", on_limit="reject")

    program.configure(change)
    program.start()
    refusals = []
    for number in range(4):
        try:
            program.send(message_id=f"<{number}@client.test>")
        except smtplib.SMTPDataError as error:
            refusals.append(error)
    assert refusals
    assert all(error.smtp_code == 454 for error in refusals)
    assert b"Throttling failure: Maximum sending rate exceeded" in refusals[0].smtp_error
    assert b"seconds" in refusals[0].smtp_error
