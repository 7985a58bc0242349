"""Ends and beginnings that are not simple: a long queue, a destination that holds, a day's rest."""

import asyncio
import hashlib
import time
from pathlib import Path

import pytest

from relay.mail.envelope import Envelope, Recipient
from relay.store.sqlite import SqliteStore
from relay.store.values import Body, Message, NewMessage
from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import SILENCE, Later, Receiver
from tests.fault.test_kill import LARGE, queue_is_empty, spool_files

QUEUED = 20_000
DAY_MS = 86_400_000


def queued_message(number: int, now: int) -> NewMessage:
    body = b"Hello.\r\n"
    header = f"From: app@sender.test\r\nTo: to@dest.test\r\nMessage-ID: <{number}@client.test>\r\n"
    message = Message(
        id=f"{number:020d}",
        accepted_at=now,
        expires_at=now + 4 * DAY_MS,
        envelope=Envelope("app@sender.test", (Recipient(f"to{number}@d{number % 50}.test"),)),
        credential="app",
        configuration_set="default",
        identity="sender.test",
        header=header.encode(),
        body=Body(len(body), hashlib.sha256(body).digest(), inline=body),
    )
    return NewMessage(message, now)


async def fill_queue(data_dir: Path, count: int, now: int) -> None:
    """Queue messages that were accepted at `now`, for anybody to claim."""
    store = SqliteStore(data_dir)
    await store.open()
    for start in range(0, count, 2_000):
        await asyncio.gather(
            *(
                store.insert(queued_message(n, now), None)
                for n in range(start, min(count, start + 2_000))
            )
        )
    await store.close()


@pytest.mark.timeout(150)
def test_twenty_thousand_queued_messages_do_not_delay_the_start_and_all_go_out(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda d: d.update(logging={"level": "warning"}))
    now = time.time_ns() // 1_000_000
    asyncio.run(fill_queue(program.directory / "data", QUEUED, now))
    began = time.monotonic()
    program.start()
    ready = time.monotonic() - began
    program.send(message_id="<new@client.test>")
    wait_until(lambda: "<new@client.test>" in receiver.ids()[-2_000:], 60, "new mail")
    waited = time.monotonic() - began
    wait_until(lambda: len(receiver.messages) >= QUEUED + 1, 100, "the whole queue")
    drained = time.monotonic() - began
    print(f"\nready in {ready:.1f} s, new mail after {waited:.1f} s, drained in {drained:.0f} s")
    assert ready < 10  # two seconds on a machine that has nothing else to do
    wait_until(lambda: queue_is_empty(program), 10, "an empty queue")
    assert len(receiver.messages) == len(set(receiver.ids())) == QUEUED + 1


def test_sigterm_while_a_destination_takes_mail_slowly_ends_in_time_and_loses_nothing(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda d: d.update(shutdown={"grace": "3s"}, retry={"schedule": ["1s"]}))
    program.start()
    receiver.behave = lambda stage, text: SILENCE if stage == "in-data" else None
    names = [f"<{number}@client.test>" for number in range(8)]
    for name in names:
        program.send(message_id=name, body=LARGE * 60_000)
    wait_until(lambda: receiver.open_connections >= 2, what="deliveries under way")
    began = time.monotonic()
    assert program.terminate() == 0
    assert time.monotonic() - began < 3 + 4
    assert receiver.messages == []
    receiver.behave = lambda stage, text: None
    program.start()
    wait_until(lambda: len(receiver.messages) == len(names), what="delivery after the restart")
    assert sorted(receiver.ids()) == sorted(names)
    wait_until(lambda: queue_is_empty(program) and not spool_files(program), what="the end of it")


def test_sigterm_waits_for_a_reply_that_comes_within_the_grace_period(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda d: d.update(shutdown={"grace": "10s"}))
    program.start()
    receiver.behave = lambda stage, text: Later(2) if stage == "final" else None
    program.send()
    wait_until(lambda: len(receiver.messages) == 1, what="the final dot")
    began = time.monotonic()
    assert program.terminate() == 0
    assert 0.5 < time.monotonic() - began < 8
    assert queue_is_empty(program), "the reply was not waited for"


def test_mail_that_waited_for_a_day_while_the_relay_was_down_goes_out(
    program: Program, receiver: Receiver
) -> None:
    then = time.time_ns() // 1_000_000 - DAY_MS
    asyncio.run(fill_queue(program.directory / "data", 5, then))
    program.start()
    wait_until(lambda: len(receiver.messages) == 5, 20, "the mail of yesterday")
    wait_until(lambda: queue_is_empty(program), what="an empty queue")
