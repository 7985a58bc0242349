"""One open SMTP connection, as commands out and replies in.

Takes a transport over once aiosmtplib has set the connection up. Owns the transport, the count of
replies that the peer owes, and one timer for the whole connection: whoever waits moves its
deadline. Never interprets a reply beyond 421.

Fails by `fault`: the connection was lost, was silent for too long, or the peer broke the protocol
(nonsense, or a reply to nothing). The replies that came before are still handed out, the
connection is aborted, and nothing is sent on it afterwards.
"""

import asyncio
from collections.abc import Callable
from typing import Literal

from relay.delivery.reply_parser import PeerReply, ProtocolError, ReplyParser

GOODBYE_SECONDS = 5.0
_WRITE_BUFFER = 256 * 1024

FaultKind = Literal["lost", "silent", "protocol", "unsolicited"]


class Fault:
    """Why a connection ended. `unsolicited` carries the reply that answered nothing."""

    __slots__ = ("kind", "reply", "text")

    def __init__(self, kind: FaultKind, text: str, reply: PeerReply | None = None) -> None:
        self.kind = kind
        self.text = text
        self.reply = reply


class Wire(asyncio.Protocol):
    """Commands out, replies in, over a transport that is already connected."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        on_end: Callable[[], None],
    ) -> None:
        self.fault: Fault | None = None
        self._loop = loop
        self._transport = transport
        self._on_end = on_end
        self._parser = ReplyParser()
        self._inbox: list[PeerReply] = []
        self._owed = 0
        self._asking: asyncio.Future[list[PeerReply]] | None = None
        self._wanted = 0  # replies, by whoever asks
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._parted = False  # the peer has said 421: it answers nothing more (RFC 5321 §3.8)
        self._leaving = False
        self._ended = False
        self._seconds = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether a new transaction may start: no fault, nothing owed, not being closed."""
        return (
            self.fault is None
            and not self._parted
            and not self._leaving
            and not self._owed
            and self._parser.is_idle
            and not self._transport.is_closing()
        )

    @property
    def is_closed(self) -> bool:
        """Whether the peer sees no connection any more."""
        return self._ended

    def ask(self, data: bytes, count: int, seconds: float) -> "asyncio.Future[list[PeerReply]]":
        """Write commands; the future has their `count` replies, each given within `seconds`.

        It has fewer where a 421 or a `fault` ends the connection. One question at a time.
        """
        answer = self._asking = self._loop.create_future()
        self._wanted = count
        self._say(data, count, seconds)
        if self.fault is not None or self._parted:
            self._answer()
        return answer

    def _say(self, data: bytes, replies: int, seconds: float) -> None:
        self._owed += replies
        self._set_deadline(seconds)
        if self.fault is None:
            self._transport.write(data)

    async def send_block(self, data: bytes, seconds: float) -> bool:
        """Write a block of content; wait, at most `seconds`, until there is room for the next.

        False when the connection has failed meanwhile, or the peer spoke before the end of data.
        """
        if self.fault is None:
            self._transport.write(data)
        if self._paused and self.fault is None:
            self._set_deadline(seconds)
            while self._paused and self.fault is None:
                self._room = self._loop.create_future()
                await self._room
            self._deadline = 0.0
        return self.fault is None

    def quit(self) -> None:
        """Say QUIT where the connection is in order, and close it when the peer has answered."""
        if self.is_usable:
            self._leaving = True
            self._say(b"QUIT\r\n", 1, GOODBYE_SECONDS)
        elif not self._leaving:
            self.abort()

    def abort(self) -> None:
        """Cut the connection now."""
        if not self._ended:
            self._transport.abort()

    # --- what the event loop calls

    def data_received(self, data: bytes) -> None:
        if self.fault is not None:
            return
        try:
            replies = self._parser.feed(data)
        except ProtocolError as error:
            self._fail("protocol", str(error))
            return
        for reply in replies:
            if not self._owed:
                self._fail("unsolicited", "a reply that answers no command", reply)
                return
            self._owed -= 1
            self._inbox.append(reply)
            self._parted = self._parted or reply[0] == 421
        if self._leaving:
            self._transport.close()
        elif len(self._inbox) >= self._wanted or self._parted:
            self._answer()
        elif replies and self._deadline:
            # Each reply of a pipelined group has the whole time.
            self._deadline = self._loop.time() + self._seconds

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._deadline = 0.0
        if self._timer is not None:
            self._timer.cancel()
        if self.fault is None:
            self.fault = Fault("lost", str(exc) if exc else "the peer closed the connection")
        self._answer()
        self._on_end()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._let_go_on()

    # --- inner workings

    def _answer(self) -> None:
        """Give whoever asks the replies that have come, and let whoever sends see how it stands."""
        asking, self._asking = self._asking, None
        if asking is not None:
            self._deadline = 0.0
            replies, self._inbox = self._inbox, []
            if not asking.done():
                asking.set_result(replies)
        if self._room is not None:
            self._let_go_on()

    def _let_go_on(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _fail(self, kind: FaultKind, text: str, reply: PeerReply | None = None) -> None:
        self.fault = Fault(kind, text, reply)
        self._transport.abort()
        self._answer()

    # The timer is moved only when a deadline comes before it; when it fires early it is set again.
    # So a connection that works touches the loop's heap once in minutes, not per command.

    def _set_deadline(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._start_timer()
        elif self._timer_at > self._deadline:
            self._timer.cancel()
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._deadline or self._ended:
            return
        if self._loop.time() < self._deadline:
            self._start_timer()
            return
        self._fail("silent", f"no answer in {self._seconds:g} seconds")
