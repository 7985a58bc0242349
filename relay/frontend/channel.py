"""The octets of one connection: lines or chunks in, batched replies out, one deadline for all.

Owns the buffers of a connection and their bounds. Reading is paused while more than `_HIGH` octets
wait to be taken, so that a fast client waits and does not fill memory. Replies are collected and
written together when the session waits for input, which batches those to pipelined commands.

A command line ends in CRLF. A bare LF is answered once and what follows it up to the next CRLF is
ignored with it; so there is exactly one reply for each CRLF, whatever the line holds and however
the octets were cut into packets.

Waiting ends in `ConnectionLost`, `TimedOut` or `Interrupted`; none is raised while something else
than the channel is awaited, so that a message being stored is never torn by a lost connection.
"""

import asyncio
import re
from contextlib import suppress

from relay.frontend import replies
from relay.frontend.replies import Answer

COMMAND_LINE = 2_048  # RFC 5321 §4.5.3.1.4 with all extensions of MAIL and RCPT (RFC 3461, 4954)
AUTH_LINE = 12_288  # RFC 4954 §4
CHUNK = 65_536

_HIGH, _LOW = 65_536, 16_384
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]").search


class ConnectionLost(Exception):
    """The client is gone."""


class TimedOut(Exception):
    """The deadline passed while the session waited for the client."""


class Interrupted(Exception):
    """The session is to end, and was waiting for a command."""


class BadLine(Exception):
    """What came is not a command line; its `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class Channel:
    """Between the callbacks of a protocol and the coroutine of a session."""

    __slots__ = (
        "_input",
        "_interrupted",
        "_interruptible",
        "_loop",
        "_lost",
        "_output",
        "_reading_paused",
        "_skipping",
        "_timer",
        "_timer_at",
        "_transport",
        "_waiter",
        "_writing_paused",
        "deadline",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._output: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._interruptible = False
        self._interrupted = False
        self._lost = False
        self._skipping = False
        self._reading_paused = False
        self._writing_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.deadline = loop.time() + 60.0

    # --- told by the protocol

    def attach(self, transport: asyncio.Transport) -> None:
        """Speak through `transport` from now on."""
        self._transport = transport
        self._reading_paused = False
        self._let_wait()

    def detach(self) -> None:
        """Write what was said, stop reading and throw away what came (RFC 3207 §4.2).

        What is fed from now on was decrypted by the handshake that begins; nothing is written
        until `attach` names the transport that encrypts.
        """
        self.flush()
        if self._transport is not None:
            self._transport.pause_reading()
            self._transport = None
        self._input.clear()
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Octets came."""
        self._input += data
        self._let_wait()
        self._wake()

    def lose(self) -> None:
        """The connection is gone, or will send nothing more: nothing it sent is executed now."""
        self._lost = True
        self._input.clear()
        self._wake()

    def pause_writing(self) -> None:
        """The client does not take our replies fast enough."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The client has taken them."""
        self._writing_paused = False
        self._wake()

    # --- used by the session

    @property
    def is_lost(self) -> bool:
        return self._lost

    @property
    def has_input(self) -> bool:
        """Whether octets wait that the session has not taken."""
        return bool(self._input)

    def say(self, octets: bytes) -> None:
        """Add to what is written when the session next waits."""
        self._output.append(octets)

    def flush(self) -> None:
        """Write what was said."""
        if self._output:
            if self._transport is not None and not self._lost:
                octets = self._output[0] if len(self._output) == 1 else b"".join(self._output)
                self._transport.write(octets)
            self._output.clear()

    async def line(self, limit: int = COMMAND_LINE) -> bytes:
        """The next line without its CRLF: no control characters, at most `limit` octets.

        A line that begins with AUTH may be longer. Raises `BadLine` for what is no such line, with
        the rest of it thrown away.
        """
        while True:
            end = self._input.find(b"\n")
            if end >= 0:
                line = bytes(self._input[: end + 1])
                del self._input[: end + 1]
                self._let_read()
                if not line.endswith(b"\r\n"):
                    self._bare_line_feed()
                elif self._skipping:
                    self._skipping = False
                else:
                    return _checked(line[:-2], limit)
                continue
            if len(self._input) > AUTH_LINE + 1:
                self._drop_unfinished_line()
            await self._wait()

    async def chunk(self) -> bytes:
        """The next octets of content, at most `CHUNK`."""
        while not self._input:
            await self._wait()
        chunk = bytes(self._input[:CHUNK])
        del self._input[:CHUNK]
        self._let_read()
        return chunk

    def put_back(self, octets: bytes) -> None:
        """Octets after the end of content: they are commands."""
        if octets:
            self._input[:0] = octets

    def interruptible(self, may_be: bool) -> None:
        """Whether `interrupt` may end the waiting (between messages) or not (within one)."""
        self._interruptible = may_be

    def interrupt(self) -> None:
        """Raise `Interrupted` in a session that waits between messages, now or later."""
        self._interrupted = True
        self._wake()

    async def swallow(self, seconds: float) -> None:
        """Throw away what comes until the client closes, for some time.

        Closing a socket with unread octets resets the connection, and can destroy the last reply
        on its way to a client that is still sending.
        """
        self.deadline = self._loop.time() + seconds
        with suppress(ConnectionLost, TimedOut, Interrupted):
            while True:
                self._input.clear()
                self._let_read()
                await self._wait()

    def close(self) -> None:
        """Write what was said, then close."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    # --- inside

    def _bare_line_feed(self) -> None:
        if not self._skipping:
            self._skipping = True
            raise BadLine(replies.BARE_LINE_END)

    def _drop_unfinished_line(self) -> None:
        """Too long already: answer once, and ignore the rest of it as it comes."""
        keep = b"\r" if self._input.endswith(b"\r") else b""
        self._input[:] = keep
        self._let_read()
        if not self._skipping:
            self._skipping = True
            raise BadLine(replies.LINE_TOO_LONG)

    def _let_wait(self) -> None:
        if len(self._input) > _HIGH and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _let_read(self) -> None:
        if self._reading_paused and len(self._input) <= _LOW and not self._lost:
            self._reading_paused = False
            if self._transport is not None:
                self._transport.resume_reading()

    async def _wait(self) -> None:
        """Until something comes; and, where the client does not read, until it has read."""
        self.flush()
        before = len(self._input)
        while True:
            if self._lost:
                raise ConnectionLost
            if self._interrupted and self._interruptible:
                raise Interrupted
            if len(self._input) != before and not self._writing_paused:
                return
            self._arm()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _arm(self) -> None:
        """One timer for the connection; moving the deadline later costs nothing but a number."""
        if self._timer is not None:
            if self._timer_at <= self.deadline:
                return
            self._timer.cancel()
        self._timer_at = self.deadline
        self._timer = self._loop.call_at(self.deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self.deadline:
            self._waiter.set_exception(TimedOut())
        else:
            self._arm()


def _checked(line: bytes, limit: int) -> bytes:
    if len(line) > limit:
        if line[:5].upper() != b"AUTH ":
            raise BadLine(replies.LINE_TOO_LONG)
        if len(line) > AUTH_LINE:
            raise BadLine(replies.AUTH_TOO_LONG)
    if _CONTROL(line):
        bare = b"\r" in line
        raise BadLine(replies.BARE_LINE_END if bare else replies.CONTROL_CHARACTER)
    return line
