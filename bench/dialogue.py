"""What the load generator says and what it waits for, without I/O: a dialogue is a generator of
exchanges, and is resumed when the replies to the last one have come.
"""

import base64
import functools
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """How much to send, and how. `sets` spreads messages over so many configuration sets."""

    host: str
    port: int
    user: str
    password: str
    ca: str
    connections: int
    messages_per_connection: int
    messages: int
    size: int
    recipients: int
    pipelining: bool
    sender: str
    recipient_domain: str
    sets: int = 0
    spread_recipients: bool = False


def message(load: Load, number: int) -> bytes:
    """A message of about `size` octets with a plausible header, dot-stuffed and ended."""
    head = header(load, number)
    return head + body(max(0, load.size - len(head)))


def header(load: Load, number: int) -> bytes:
    """The header of message `number`, the empty line included."""
    chosen = f"X-SES-CONFIGURATION-SET: set{_own(number) % load.sets}\r\n" if load.sets else ""
    return (
        f"From: Sender <{load.sender}>\r\nTo: <r0@{load.recipient_domain}>\r\n{chosen}"
        f"Subject: Benchmark message {number}\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{number}.{os.getpid()}@load.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    ).encode()


@functools.cache
def body(size: int) -> bytes:
    """About `size` octets in lines of Base64, with the dot that ends the message."""
    line = base64.b64encode((1 << 60).to_bytes(8, "big") * 7) + b"\r\n"
    return line * max(1, size // len(line)) + b".\r\n"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Octets to write, and the codes of the replies to wait for before the dialogue goes on."""

    octets: tuple[bytes, ...]
    codes: tuple[int, ...]
    timed: bool = False  # the reply acknowledges a message
    upgrade: bool = False  # TLS begins after the reply


Dialogue = Generator[Exchange, None, None]


def login(load: Load) -> Dialogue:
    """From the greeting to a login inside TLS."""
    secret = base64.b64encode(f"\0{load.user}\0{load.password}".encode())
    yield Exchange((), (220,))
    yield Exchange((b"EHLO load.test\r\n",), (250,))
    yield Exchange((b"STARTTLS\r\n",), (220,), upgrade=True)
    yield Exchange((b"EHLO load.test\r\n",), (250,))
    yield Exchange((b"AUTH PLAIN " + secret + b"\r\n",), (235,))


def session(load: Load, left: Iterator[int]) -> Dialogue:
    """One connection: log in, send messages while any are left, quit."""
    yield from login(load)
    for _ in range(load.messages_per_connection):
        number = next(left, None)
        if number is None:
            break
        yield from transaction(load, number)
    yield Exchange((b"QUIT\r\n",), (221,))


def transaction(load: Load, number: int) -> Dialogue:
    """One message; with pipelining everything up to DATA goes in one write."""
    mail, *rest = envelope(load, number)
    if load.pipelining:
        yield Exchange((b"".join((mail, *rest)),), (250,) * len(rest) + (354,))
    else:
        yield Exchange((mail,), (250,))
        for command in rest[:-1]:
            yield Exchange((command,), (250,))
        yield Exchange((rest[-1],), (354,))
    head = header(load, number)
    content = (head, body(max(0, load.size - len(head))))
    yield Exchange(content if load.size > 65_536 else (b"".join(content),), (250,), timed=True)


def envelope(load: Load, number: int) -> list[bytes]:
    """The commands from MAIL to DATA."""
    return [
        f"MAIL FROM:<{load.sender}>\r\n".encode(),
        *(
            f"RCPT TO:<{recipient(load, number, n)}@{load.recipient_domain}>\r\n".encode()
            for n in range(load.recipients)
        ),
        b"DATA\r\n",
    ]


def recipient(load: Load, number: int, n: int) -> str:
    """The local part of recipient `n` of message `number`.

    `spread_recipients` gives each its own, spread evenly over all numbers of eight hexadecimal
    digits (by the golden ratio), so that looking them up in an order touches every part of it.
    """
    if not load.spread_recipients:
        return f"r{n}"
    return f"{(_own(number) * load.recipients + n) * 2_654_435_761 % 2**32:08x}"


def _own(number: int) -> int:
    """A number that the messages of other generators have not had."""
    return os.getpid() * 1_009 + number
