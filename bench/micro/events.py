"""What an event costs: `python -m bench.micro.events`.

One message of the usual kind is accepted and delivered, again and again, in one process and without
a store: what is made of the two entries of the outbox (the logged message, Send and Delivery), and
what it takes to write each event for a destination. The header is read for the first event of a
message, and not again while others of it follow closely. Printed are microseconds of CPU.
"""

import argparse
import gc
import time
from collections.abc import Callable

from relay.events.making import events_of, logged_message
from relay.events.ses import render
from relay.mail.envelope import Envelope, Recipient
from relay.mail.message_id import new_message_id
from relay.store.attempted import Attempted, Way
from relay.store.happenings import OutboxEntry, Sent
from relay.store.log_values import LoggedEvent, LoggedMessage
from relay.store.values import Body, Message

HOSTNAME = "relay.test"
FIELDS = b"".join(
    name + b": " + value + b"\r\n"
    for name, value in (
        (b"Received", b"from app.test ([127.0.0.1])\r\n\tby relay.test with ESMTPSA"),
        (b"From", b'"The Shop" <no-reply@sender.test>'),
        (b"To", b"somebody@destination.test"),
        (b"Subject", b"=?utf-8?q?Your_order_=E2=84=96?= 1001"),
        (b"Date", b"Mon, 21 Sep 2026 14:13:20 +0000"),
        (b"Message-ID", b"<order-1001@sender.test>"),
        (b"MIME-Version", b"1.0"),
        (b"Content-Type", b"text/plain; charset=utf-8"),
    )
)
Case = tuple[OutboxEntry, OutboxEntry]


def case(number: int) -> Case:
    """A message of its own, accepted and delivered a second later."""
    now = 1_790_000_000_000 + number
    identifier = new_message_id(now)
    envelope = Envelope("app@sender.test", (Recipient("somebody@destination.test"),))
    header = FIELDS + b"X-Number: %d\r\n" % number
    body = Body(4_096, b"s" * 32)
    message = Message(
        identifier, now, now + 50_400_000, envelope, "app", "main", "sender.test", header, body
    )  # fmt: skip
    delivered = Attempted(
        at=now + 1_000,
        number=1,
        delivered=("somebody@destination.test",),
        reply="250 2.0.0 queued",
        way=Way(source="127.0.0.2", remote="mx.destination.test", remote_address="127.0.0.3"),
        expires_at=message.expires_at,
    )
    return (
        OutboxEntry(2 * number + 1, identifier, now, Sent(message)),
        OutboxEntry(2 * number + 2, identifier, now + 1_000, delivered),
    )


def made(one: Case) -> tuple[LoggedMessage, tuple[LoggedEvent, ...]]:
    """What is filed of a message."""
    message = logged_message(one[0], HOSTNAME)
    return message, (*events_of(one[0], message, HOSTNAME), *events_of(one[1], message, HOSTNAME))


def measured(name: str, messages: int, work: Callable[[int], object]) -> None:
    """Print the CPU that `work` takes for each message."""
    started = time.process_time()
    for number in range(messages):
        work(number)
    spent = (time.process_time() - started) / messages
    print(f"{name:34}{spent * 1e6:8.1f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    messages = parser.parse_args().messages
    cases = [case(number) for number in range(messages)]
    filed = [made(one) for one in cases]
    gc.freeze()  # what stands ready here is no work of the relay's
    measured("made of a message", messages, lambda number: made(cases[number]))
    measured("its Send written", messages, lambda n: render(filed[n][1][0], filed[n][0], HOSTNAME))
    for_all = [(message, event) for message, events in filed for event in events]
    measured(
        "an event written, both in turn",
        2 * messages,
        lambda n: render(for_all[n][1], for_all[n][0], HOSTNAME),
    )


if __name__ == "__main__":
    main()
