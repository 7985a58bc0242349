"""The line between the supervisor and one worker: typed messages over a pair of Unix sockets.

What can be said is in `relay.runtime.messages`. `tell` expects nothing back; `ask` waits for the
answer. Messages of one side arrive in the order in which they were said. Either end learns at once
when the other is gone (`LinkLost`): the kernel closes the socket of a process that dies.

Owns framing and the questions that are open. Never decides anything, never reconnects. What comes
is from a process of the same user, started by the same relay, and is believed.

A frame is its length (4 octets), the kind of its message (1) and the number of its question (4, 0
where nothing is asked), then the message in MessagePack.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, TypeVar, cast

import msgspec

from relay.observe.logging import Logger
from relay.runtime.messages import KINDS, Question

R = TypeVar("R")

Handler = Callable[[Any], Any]
"""Takes a message. Its result, or what the awaitable it returns results in, answers a question."""

_FRAME = struct.Struct(">IBI")
_ANSWER, _FAULT, _FIRST_KIND = 0, 1, 2
_NUMBERS = {kind: number for number, kind in enumerate(KINDS, start=_FIRST_KIND)}
_DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {
    _NUMBERS[kind]: msgspec.msgpack.Decoder(kind) for kind in KINDS
}


class LinkLost(Exception):
    """The other end is gone."""


class LinkFault(Exception):
    """The other end failed to answer; the text says why."""


class Link(asyncio.Protocol):
    """One end. `handlers` say what is done with each kind of message that may come here."""

    def __init__(
        self,
        handlers: Mapping[type, Handler],
        log: Logger,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._handlers = {_NUMBERS[kind]: handler for kind, handler in handlers.items()}
        self._log = log
        self._when_lost = lost
        self._encode = msgspec.msgpack.Encoder().encode
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._output: list[bytes] = []
        self._asked = 0
        self._open: dict[int, tuple[asyncio.Future[Any], type]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be said any more."""
        return self._transport is None

    def handle(self, handlers: Mapping[type, Handler]) -> None:
        """Handle these kinds of messages too."""
        self._handlers |= {_NUMBERS[kind]: handler for kind, handler in handlers.items()}

    # Speaking

    def tell(self, message: object) -> None:
        """Say something. Where the other end is gone it is lost, as is whoever was to hear it."""
        if self._transport is not None:
            self._send(_NUMBERS[type(message)], 0, message)

    async def ask(self, question: Question[R]) -> R:
        """The answer. Raises `LinkLost`, or `LinkFault` where the other end failed."""
        if self._transport is None:
            raise LinkLost
        self._asked = self._asked % 0xFFFFFFFF + 1
        number = self._asked
        future: asyncio.Future[R] = self._loop.create_future()
        self._open[number] = future, type(question).answer
        self._send(_NUMBERS[type(question)], number, question)
        try:
            return await future
        finally:
            del self._open[number]

    def close(self) -> None:
        """Say nothing more. What was said is still sent."""
        if self._transport is not None:
            if self._output:
                self._flush()
            self._transport.close()

    def _send(self, kind: int, number: int, message: object) -> None:
        """What is said in one turn of the loop is sent together: each write wakes a process."""
        if self._transport is None:
            return
        octets = self._encode(message)
        if not self._output:
            self._loop.call_soon(self._flush)
        self._output += (_FRAME.pack(len(octets), kind, number), octets)

    def _flush(self) -> None:
        output, self._output = self._output, []
        if output and self._transport is not None:
            self._transport.write(b"".join(output))

    # Listening

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._input += data
        start = 0
        while len(self._input) - start >= _FRAME.size:
            length, kind, number = _FRAME.unpack_from(self._input, start)
            end = start + _FRAME.size + length
            if len(self._input) < end:
                break
            self._take(kind, number, bytes(self._input[start + _FRAME.size : end]))
            start = end
        if start:
            del self._input[:start]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for future, _ in self._open.values():
            if not future.done():
                future.set_exception(LinkLost())
        self._when_lost()

    def _take(self, kind: int, number: int, octets: bytes) -> None:
        if kind >= _FIRST_KIND:
            self._handle(kind, number, _DECODERS[kind].decode(octets))
            return
        future, answer = self._open.get(number, (None, object))
        if future is None or future.done():
            return  # whoever asked has gone away
        if kind == _FAULT:
            future.set_exception(LinkFault(msgspec.msgpack.decode(octets, type=str)))
        else:
            future.set_result(msgspec.msgpack.decode(octets, type=answer))

    def _handle(self, kind: int, number: int, message: object) -> None:
        try:
            result = self._handlers[kind](message)
        except Exception as error:  # the root of what a message sets off
            self._failed(number, message, error)
            return
        if isawaitable(result):
            task = self._loop.create_task(self._answer(number, message, result))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif number:
            self._send(_ANSWER, number, result)

    async def _answer(self, number: int, message: object, result: Awaitable[object]) -> None:
        """The root of a task."""
        try:
            answer = await result
        except Exception as error:
            self._failed(number, message, error)
        else:
            if number:
                self._send(_ANSWER, number, answer)

    def _failed(self, number: int, message: object, error: Exception) -> None:
        self._log.exception("a message between processes failed", message=type(message).__name__)
        if number:
            self._send(_FAULT, number, f"{type(error).__name__}: {error}")


async def connect(end: socket.socket, make: Callable[[], Link]) -> Link:
    """A link over one end of a pair of connected Unix sockets, which it owns from now on."""
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(make, sock=end)
    return link
