"""One connection: between the callbacks of the event loop and a session that knows no loop.

Owns the transport, TLS on it, the bounds of what is buffered, the one deadline, and the end of a
connection. What comes is given to the session at once, inside the callback; replies are collected
and written together when the session has taken all it could, which batches those to pipelined
commands. Reading is paused while much waits to be taken, so that a fast client waits and does not
fill memory, and a client that does not read is not read from.

Octets of all connections arrive in the same buffers: they are taken before the next can come. So
there is one event loop of connections in a process.
"""

import asyncio
import ssl
from math import inf
from typing import Protocol, cast

from relay.frontend.deadline import Deadline
from relay.frontend.encryption import Encryption
from relay.frontend.lines import Lines

_HIGH, _LOW = 65_536, 16_384
_SWALLOW = 1.0  # seconds in which a client that is sending may notice that it was refused
_LINGER = 10.0  # seconds for the last reply to be taken

_COMMANDS = bytearray(16_384)
_CONTENT = bytearray(262_144)


class Session(Protocol):
    """What a connection is given to talk to. Called from callbacks; none of it may block."""

    def began(self) -> None:
        """The connection is made."""

    def go_on(self) -> None:
        """Take what `input` has, as far as possible. Raises nothing."""

    def secured(self, version: str) -> None:
        """The handshake is done."""

    def not_secured(self, problem: str) -> None:
        """The handshake failed, and with it the connection."""

    def timed_out(self) -> None:
        """The deadline has passed."""

    def lost(self) -> None:
        """The client is gone, or will send nothing more: nothing it sent is executed now."""

    def is_closed(self) -> None:
        """Nothing is left of the connection."""


class Connection(asyncio.BufferedProtocol):
    """The wire of one session."""

    __slots__ = (
        "_encryption",
        "_ending",
        "_is_choked",
        "_is_reading",
        "_loop",
        "_output",
        "_session",
        "_tls",
        "_transport",
        "deadline",
        "input",
        "is_lost",
        "takes_content",
    )

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self.input = Lines()
        self.deadline = Deadline(loop, self._too_late)
        self.is_lost = False
        self.takes_content = False  # whether larger buffers are worth while
        self._session = session
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._encryption: Encryption | None = None
        self._output: list[bytes] = []
        self._is_reading = True
        self._is_choked = False
        self._ending = False

    # --- told by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._session.began()

    def get_buffer(self, sizehint: int) -> bytearray:
        return _CONTENT if self.takes_content else _COMMANDS

    def buffer_updated(self, nbytes: int) -> None:
        octets = memoryview(_CONTENT if self.takes_content else _COMMANDS)[:nbytes]
        content = bytes(octets) if self._encryption is None else self._decrypt(octets)
        if content and not self._ending and not self.is_lost:
            self.input.feed(content)
            self._session.go_on()
            if self._is_reading and len(self.input) > _HIGH:
                self._pause_reading()

    def eof_received(self) -> bool:
        self._lose()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.deadline.cancel()
        self._transport = None
        self._lose()
        self._encryption = None  # its memory is not left to the next collection of garbage
        self._session.is_closed()

    def pause_writing(self) -> None:
        self._is_choked = True

    def resume_writing(self) -> None:
        self._is_choked = False
        self._session.go_on()

    # --- used by the session

    @property
    def is_choked(self) -> bool:
        """Whether the client does not take our replies fast enough to be listened to."""
        return self._is_choked

    def say(self, octets: bytes) -> None:
        """Add to what is written by `flush`."""
        self._output.append(octets)

    def flush(self) -> None:
        """Write what was said, and read on where that was paused and is not needed any more."""
        if self._output:
            octets = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self._write(octets)
        if not self._is_reading and len(self.input) <= _LOW:
            self._resume_reading()

    def secure(self, context: ssl.SSLContext, until: float) -> None:
        """Begin TLS, with the handshake done before `until`.

        What was said is written in the clear before; what came in the clear after the command that
        led here is thrown away (RFC 3207 §4.2).
        """
        self.flush()
        self.input.clear()
        self.deadline.set(until)
        self._encryption = Encryption(context)

    def go_on_later(self) -> None:
        """Give other connections a turn, then go on with this one."""
        self._pause_reading()
        self._loop.call_soon(self._session.go_on)

    def end(self, *, is_sending: bool = False) -> None:
        """Write what was said and close. What the client still sends is thrown away.

        Closing a socket with unread octets resets the connection and can destroy the last reply on
        its way, so a client that `is_sending` has a moment to notice and close first.
        """
        if self._ending:
            return
        self.flush()
        self._ending = True
        is_sending = is_sending or bool(self.input)
        self.input.clear()
        if is_sending and not self.is_lost:
            self._resume_reading()
            self.deadline.set(self._loop.time() + _SWALLOW)
        else:
            self._close()

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    # --- inside

    def _decrypt(self, octets: memoryview) -> bytes:
        encryption = self._encryption
        assert encryption is not None
        before = encryption.is_established
        try:
            content = encryption.decrypt(octets)
        except ssl.SSLError as problem:
            self._send(encryption.outgoing())  # the alert that says why
            if not before:
                self._session.not_secured(str(problem))
            self._lose()
            return b""
        self._send(encryption.outgoing())
        if encryption.is_established and not before:
            self.deadline.set(inf)
            self._session.secured(encryption.version)
        if encryption.is_over:
            self._lose()
        return content

    def _write(self, octets: bytes) -> None:
        if self.is_lost or self._ending:
            return
        if self._encryption is not None:
            if not self._encryption.is_established:
                return  # nobody hears
            self._encryption.encrypt(octets)
            octets = self._encryption.outgoing()
        self._send(octets)

    def _send(self, octets: bytes) -> None:
        if octets and self._transport is not None:
            self._transport.write(octets)

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.input.clear()
            self._session.lost()
            if self._ending:
                self._close()

    def _close(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._encryption is not None:
            self._encryption.say_goodbye()
            self._send(self._encryption.outgoing())
        self._transport.close()
        self.deadline.set(self._loop.time() + _LINGER)

    def _too_late(self) -> None:
        transport = self._transport
        if self._encryption is not None and not self._encryption.is_established:
            self._session.not_secured("the handshake took too long")
            self.abort()
        elif not self._ending:
            self._session.timed_out()
        elif transport is not None and transport.is_closing():
            transport.abort()
        else:
            self._close()

    def _pause_reading(self) -> None:
        transport = self._transport
        if self._is_reading and transport is not None and not transport.is_closing():
            self._is_reading = False
            transport.pause_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if not self._is_reading and transport is not None and not transport.is_closing():
            self._is_reading = True
            transport.resume_reading()
