"""Clients that hold connections and do nothing: they take their own room and no one else's."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(program: Program, stack: ExitStack, source: str = "127.0.0.1") -> socket.socket:
    found = socket.create_connection(
        ("127.0.0.1", program.port), timeout=20, source_address=(source, 0)
    )
    return stack.enter_context(found)


def is_at_its_end(peer: socket.socket) -> bool:
    """Whether the relay has closed it; what it said before is read."""
    peer.settimeout(0.2)
    try:
        return not peer.recv(4_096)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_four_hundred_that_say_nothing_or_an_octet_at_a_time_stop_nobody(
    program: Program, receiver: Receiver, stack: ExitStack
) -> None:
    program.configure(lambda d: d.update(bounds={"login_timeout": "6s"}))
    program.start()
    idle = [connect(program, stack, "127.0.0.9") for _ in range(400)]
    for number, peer in enumerate(idle[:200]):
        peer.send(b"EHLO x"[: 1 + number % 6])
    began = time.monotonic()
    with program.client() as client:
        for number in range(50):
            name = f"<{number}@client.test>"
            client.sendmail("app@sender.test", ["to@dest.test"], letter(message_id=name))
    assert time.monotonic() - began < 5
    wait_until(lambda: len(receiver.messages) == 50, 5, "delivery")
    # An octet now and then does not prolong the time that there is for a login.
    end = time.monotonic() + 15
    slow = idle[0]
    while not is_at_its_end(slow):
        assert time.monotonic() < end, "still open"
        try:
            slow.send(b"x")
        except ConnectionError:
            break
    wait_until(lambda: program.metric("relay_connections") == 0, 20, "the end of the others")


def test_a_message_that_comes_an_octet_at_a_time_is_cut(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda d: d.update(bounds={"data_timeout": "2s", "message_timeout": "20s"}))
    program.start()
    began = time.monotonic()
    with program.client() as client:
        client.mail("app@sender.test")
        client.rcpt("to@dest.test")
        client.docmd("DATA")
        assert client.sock is not None
        client.sock.settimeout(0.3)
        answer = b""
        while not answer:
            try:
                client.sock.sendall(b"x")
                answer = client.sock.recv(1_000) or b"closed"
            except TimeoutError:
                assert time.monotonic() - began < 15
            except OSError:
                answer = b"closed"
        client.close()
    assert answer == b"closed" or answer.startswith((b"421", b"451"))
    program.send(message_id="<other@client.test>")
    wait_until(lambda: receiver.ids() == ["<other@client.test>"], what="another's delivery")


def test_connections_above_the_bounds_hear_421_at_once(
    program: Program, receiver: Receiver, stack: ExitStack
) -> None:
    program.configure(lambda d: d.update(bounds={"connections": 30, "connections_per_client": 20}))
    program.start()
    for _ in range(20):
        assert connect(program, stack, "127.0.0.9").recv(4).startswith(b"220")
    began = time.monotonic()
    refused = connect(program, stack, "127.0.0.9")
    assert refused.recv(4).startswith(b"421")
    wait_until(lambda: is_at_its_end(refused), 5, "the end of the refused connection")
    assert time.monotonic() - began < 2
    program.send()  # from another address
    for _ in range(10):
        assert connect(program, stack, "127.0.0.8").recv(4).startswith(b"220")
    assert connect(program, stack, "127.0.0.7").recv(4).startswith(b"421")
    stack.close()
    wait_until(lambda: program.metric("relay_connections") == 0, what="their end")
    program.send(message_id="<2@client.test>")
    wait_until(lambda: len(receiver.messages) == 2, what="delivery")
    assert program.metric("relay_connections_refused_total") == 2
