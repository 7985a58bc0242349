import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.frontend.channel import (
    AUTH_LINE,
    CHUNK,
    COMMAND_LINE,
    BadLine,
    Channel,
    ConnectionLost,
    Interrupted,
    TimedOut,
)


class Wire:
    """A transport that only remembers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.paused = False
        self.closed = False

    def write(self, octets: bytes) -> None:
        self.written.append(octets)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True


def make_channel() -> tuple[Channel, Wire]:
    channel, wire = Channel(asyncio.get_running_loop()), Wire()
    channel.attach(wire)  # type: ignore[arg-type]  # all of a transport that a channel uses
    channel.deadline = asyncio.get_running_loop().time() + 10
    return channel, wire


async def read_all(channel: Channel) -> list[bytes | str]:
    """Lines, or the reasons for which they are none, until the client is gone."""
    events: list[bytes | str] = []
    while True:
        try:
            events.append(await channel.line())
        except BadLine as bad:
            events.append(bad.answer.reason)
        except ConnectionLost:
            return events


def events_of(octets: bytes, cuts: list[int]) -> list[bytes | str]:
    async def play() -> list[bytes | str]:
        channel, _ = make_channel()
        reading = asyncio.create_task(read_all(channel))
        for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
            channel.feed(octets[start:end])
            for _ in range(3):
                await asyncio.sleep(0)
        while channel.has_input and not reading.done():
            before = bytes(channel._input)
            await asyncio.sleep(0)
            if bytes(channel._input) == before:
                break
        channel.lose()
        return await reading

    return asyncio.run(play())


@given(
    st.lists(
        st.sampled_from(
            [b"NOOP", b"\r\n", b"\n", b"\r", b"\0", b"RSET\r\n", b"A" * COMMAND_LINE, b"AUTH x"]
        ),
        max_size=12,
    ).map(b"".join),
    st.data(),
)
def test_any_cutting_of_the_same_octets_gives_the_same_lines(octets: bytes, data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    assert events_of(octets, cuts) == events_of(octets, [])


@given(st.lists(st.sampled_from([b"NOOP", b"\n", b"\r", b"\0", b"x" * 5_000]), max_size=8))
def test_there_is_one_event_for_each_crlf(parts: list[bytes]):
    line = b"".join(parts).replace(b"\r\n", b"\r.\n") + b"."
    assert len(events_of(line + b"\r\nNOOP\r\n", [])) == 2


def test_a_line_that_never_ends_is_answered_once_and_not_kept():
    async def play() -> None:
        channel, _ = make_channel()
        for number in range(100):
            channel.feed(b"x" * 50_000)
            if number == 0:
                with pytest.raises(BadLine):
                    await channel.line()
                reading = asyncio.create_task(channel.line())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(channel._input) <= AUTH_LINE + 50_000
        channel.feed(b"\r\nNOOP\r\n")
        assert await reading == b"NOOP"

    asyncio.run(play())


async def test_replies_are_written_together_when_the_session_waits():
    channel, wire = make_channel()
    channel.feed(b"A\r\nB\r\n")
    for reply in (b"1\r\n", b"2\r\n"):
        await channel.line()
        channel.say(reply)
    assert wire.written == []
    waiting = asyncio.create_task(channel.line())
    await asyncio.sleep(0)
    assert wire.written == [b"1\r\n2\r\n"]
    channel.feed(b"C\r\n")
    assert await waiting == b"C"


async def test_reading_pauses_while_much_is_unread_and_resumes_when_it_was_taken():
    channel, wire = make_channel()
    channel.feed(b"x" * (CHUNK + 1))
    assert wire.paused
    assert len(await channel.chunk()) == CHUNK
    assert not wire.paused
    assert await channel.chunk() == b"x"


async def test_a_client_that_does_not_read_is_not_read_from():
    channel, _ = make_channel()
    channel.pause_writing()
    waiting = asyncio.create_task(channel.line())
    await asyncio.sleep(0)
    channel.feed(b"NOOP\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    channel.resume_writing()
    assert await waiting == b"NOOP"


async def test_the_deadline_ends_the_waiting():
    channel, _ = make_channel()
    channel.deadline = asyncio.get_running_loop().time()
    with pytest.raises(TimedOut):
        await channel.line()


async def test_a_deadline_moved_later_is_kept_and_one_moved_earlier_too():
    channel, _ = make_channel()
    loop = asyncio.get_running_loop()
    channel.deadline = loop.time() + 0.01
    channel.feed(b"A\r\n")
    await channel.line()
    waiting = asyncio.create_task(channel.line())
    await asyncio.sleep(0)
    channel.deadline = loop.time() + 10  # while waiting, as progress does
    channel.feed(b"B\r\n")
    assert await waiting == b"B"
    channel.deadline = loop.time() + 0.02
    with pytest.raises(TimedOut):
        await channel.line()


async def test_an_interrupt_ends_the_waiting_between_messages_only():
    channel, _ = make_channel()
    channel.interruptible(False)
    waiting = asyncio.create_task(channel.line())
    await asyncio.sleep(0)
    channel.interrupt()
    channel.feed(b"within\r\n")
    assert await waiting == b"within"
    channel.interruptible(True)
    with pytest.raises(Interrupted):
        await channel.line()


async def test_nothing_of_a_client_that_is_gone_is_executed():
    channel, _ = make_channel()
    channel.feed(b"MAIL\r\n")
    channel.lose()
    with pytest.raises(ConnectionLost):
        await channel.line()


async def test_octets_before_a_handshake_are_thrown_away_and_those_of_it_kept():
    channel, wire = make_channel()
    channel.feed(b"injected\r\n")
    channel.say(b"220\r\n")
    channel.detach()
    assert wire.written == [b"220\r\n"]
    assert wire.paused
    channel.feed(b"EHLO x\r\n")  # decrypted before the handshake was seen to be over
    channel.attach(Wire())  # type: ignore[arg-type]  # all of a transport that a channel uses
    assert await channel.line() == b"EHLO x"
