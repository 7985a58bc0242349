import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from relay.frontend.connection import Connection
from relay.frontend.deadline import Deadline
from relay.frontend.encryption import Encryption
from relay.frontend.lines import BadLine
from relay.frontend.tls import server_context
from tests.frontend.house import Authority, make_config


class Wire:
    """A transport that only remembers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.paused = self.closed = self.cut = False

    def write(self, octets: bytes) -> None:
        self.written.append(octets)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.cut = True


class Talk:
    """A session that answers each line with itself while `listens`, and notes what it is told."""

    def __init__(self) -> None:
        self.connection = Connection(self, asyncio.get_running_loop())
        self.wire = Wire()
        self.told: list[str] = []
        self.lines: list[bytes] = []
        self.listens = True
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]  # all that is used

    def hear(self, octets: bytes) -> None:
        buffer = self.connection.get_buffer(-1)
        for start in range(0, len(octets), len(buffer)):
            part = octets[start : start + len(buffer)]
            buffer[: len(part)] = part
            self.connection.buffer_updated(len(part))

    def began(self) -> None:
        self.told.append("began")

    def go_on(self) -> None:
        while self.listens and not self.connection.is_choked:
            try:
                line = self.connection.input.line()
            except BadLine:
                continue
            if line is None:
                break
            self.lines.append(line)
            self.connection.say(line + b"\r\n")
        self.connection.flush()

    def secured(self, version: str) -> None:
        self.told.append(f"secured {version}")

    def not_secured(self, problem: str) -> None:
        self.told.append("not secured")

    def timed_out(self) -> None:
        self.told.append("timed out")

    def lost(self) -> None:
        self.told.append("lost")

    def is_closed(self) -> None:
        self.told.append("closed")


@pytest.fixture
def contexts(authority: Authority, tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return server_context(make_config(authority, tmp_path).tls), authority.client


async def test_replies_to_pipelined_commands_are_written_together():
    talk = Talk()
    talk.hear(b"A\r\nB\r\nC")
    talk.hear(b"\r\n")
    assert talk.wire.written == [b"A\r\nB\r\n", b"C\r\n"]


async def test_reading_pauses_while_much_is_unread_and_resumes_when_it_was_taken():
    talk = Talk()
    talk.listens = False
    talk.hear(b"NOOP\r\n" * 11_000)
    assert talk.wire.paused
    talk.listens = True
    talk.go_on()
    assert not talk.wire.paused
    assert len(talk.lines) == 11_000


async def test_a_client_that_does_not_read_is_not_listened_to():
    talk = Talk()
    talk.connection.pause_writing()
    talk.hear(b"NOOP\r\n")
    assert talk.lines == []
    talk.connection.resume_writing()
    assert talk.lines == [b"NOOP"]


async def test_nothing_of_a_client_that_is_gone_is_executed():
    talk = Talk()
    talk.listens = False
    talk.hear(b"MAIL\r\n")
    talk.connection.eof_received()
    talk.listens = True
    talk.go_on()
    talk.connection.connection_lost(None)
    assert talk.lines == []
    assert talk.told == ["began", "lost", "closed"]


async def test_octets_before_a_handshake_are_thrown_away(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
):
    talk = Talk()
    talk.listens = False
    talk.hear(b"injected\r\n")
    talk.connection.say(b"220\r\n")
    talk.connection.secure(contexts[0], asyncio.get_running_loop().time() + 10)
    talk.listens = True
    talk.go_on()
    assert talk.wire.written == [b"220\r\n"]
    assert talk.lines == []


async def test_a_client_that_is_still_sending_has_a_moment_to_notice_the_end(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("relay.frontend.connection._SWALLOW", 0.01)
    monkeypatch.setattr("relay.frontend.connection._LINGER", 0.01)
    talk = Talk()
    talk.connection.say(b"552\r\n")
    talk.connection.end(is_sending=True)
    talk.hear(b"more\r\n")
    assert talk.wire.written == [b"552\r\n"]
    assert talk.lines == []
    assert not talk.wire.closed
    async with asyncio.timeout(5):
        while not talk.wire.cut:  # closed, and cut as the client does not take the reply
            await asyncio.sleep(0.005)
    talk.connection.connection_lost(None)


@pytest.mark.parametrize("cut", [1, 7, 1_000, 100_000])
def test_tls_carries_both_ways_however_it_is_cut(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], cut: int
):
    server, client = contexts
    ours = Encryption(server)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(incoming, outgoing, server_hostname="localhost")

    def exchange() -> bytes:
        """What we read of all that the client sends."""
        sent, read = outgoing.read(), b""
        for start in range(0, len(sent), cut):
            read += ours.decrypt(memoryview(sent)[start : start + cut])
        incoming.write(ours.outgoing())
        return read

    while not ours.is_established:
        with suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
        exchange()
    assert ours.version == "TLSv1.3"
    message = b"0123456789abcdef" * 6_000
    theirs.write(message)
    assert exchange() == message
    ours.encrypt(message)
    incoming.write(ours.outgoing())
    received = b""
    while len(received) < len(message):
        received += theirs.read(100_000)
    assert received == message
    with pytest.raises(ssl.SSLWantReadError):
        theirs.unwrap()
    assert exchange() == b""
    assert ours.is_over


async def test_garbage_for_a_handshake_is_told_and_ends_the_connection(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
):
    talk = Talk()
    talk.connection.secure(contexts[0], asyncio.get_running_loop().time() + 10)
    talk.hear(b"EHLO this is no TLS\r\n\r\n")
    assert talk.told == ["began", "not secured", "lost"]


async def test_a_handshake_that_takes_too_long_is_cut(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
):
    talk = Talk()
    talk.connection.secure(contexts[0], asyncio.get_running_loop().time())
    async with asyncio.timeout(5):
        while not talk.wire.cut:
            await asyncio.sleep(0)
    assert talk.told == ["began", "not secured", "lost"]


async def test_a_deadline_moved_later_is_kept_and_one_moved_earlier_too():
    loop, passed = asyncio.get_running_loop(), asyncio.Event()
    deadline = Deadline(loop, passed.set)
    started = loop.time()
    deadline.set(started + 0.01)
    deadline.set(started + 0.05)
    async with asyncio.timeout(5):
        await passed.wait()
    assert loop.time() >= started + 0.05
    passed.clear()
    deadline.set(loop.time() + 60)
    deadline.set(loop.time() + 0.01)
    async with asyncio.timeout(5):
        await passed.wait()
    passed.clear()
    deadline.set(loop.time() + 0.01)
    deadline.set(float("inf"))
    await asyncio.sleep(0.03)
    assert not passed.is_set()


async def test_a_session_goes_on_only_in_its_turn_after_many_commands(
    opened: Callable[..., Any],
):
    from tests.frontend.client import Client

    async with opened() as house, Client(house) as busy, Client(house) as other:
        await busy.log_in()
        await other.log_in()
        busy.writer.write(b"NOOP\r\n" * 900)
        assert (await other.send()).startswith("250 Ok")
        for _ in range(900):
            assert (await busy.reply()).startswith("250")
