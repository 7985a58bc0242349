"""The load generator: authenticated STARTTLS clients that send messages as fast as they may.

Run as a process of its own (`python -m bench.load`), so that its CPU is not the system's; prints
one JSON object. It shares the machine with what it loads, so it is made to cost little: a dialogue
without I/O under an `asyncio.Protocol` on uvloop, and a body that is built once. The clock of an
acknowledgement starts when the last octet of the message has gone to the kernel.

With `--hold N` it opens N connections, logs in, says so, and holds them until its input ends.
"""

import argparse
import asyncio
import json
import resource
import ssl
import sys
import time
from collections.abc import Callable
from typing import cast

import uvloop

from bench.dialogue import Dialogue, Exchange, Load, login, message, session

__all__ = ["Load", "message", "run"]

_HANDSHAKES = 50  # at the same time, of connections to hold


class Client(asyncio.Protocol):
    """Holds one dialogue over one connection; `done` ends with it, or with what went wrong."""

    def __init__(
        self, dialogue: Dialogue, context: ssl.SSLContext, acknowledged: Callable[[float], None]
    ) -> None:
        self._dialogue = dialogue
        self._context = context
        self._acknowledged = acknowledged
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._input = b""
        self._exchange = Exchange((), ())
        self._replies = 0
        self._full = False  # the transport has not yet written all that it was given
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)
        self._next()

    def data_received(self, data: bytes) -> None:
        *lines, self._input = (self._input + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self._reply(line)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._sent_at = time.perf_counter()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the connection was closed"))

    def close(self) -> None:
        self._transport.abort()

    def _reply(self, line: bytes) -> None:
        if self.done.done():
            return
        if self._replies == len(self._exchange.codes):
            self.done.set_exception(ConnectionError(f"nothing was asked, but {line!r} came"))
            return
        expected = self._exchange.codes[self._replies]
        if line[:3] != b"%d" % expected:
            self.done.set_exception(ConnectionError(f"expected {expected}, got {line!r}"))
            return
        self._replies += 1
        if self._replies < len(self._exchange.codes):
            return
        if self._exchange.timed:
            self._acknowledged(time.perf_counter() - self._sent_at)
        if self._exchange.upgrade:
            self._task = self._loop.create_task(self._upgrade())
        else:
            self._next()

    async def _upgrade(self) -> None:
        try:
            upgraded = await self._loop.start_tls(
                self._transport, self, self._context, server_hostname="localhost"
            )
        except OSError as error:
            if not self.done.done():
                self.done.set_exception(error)
            return
        self._transport = cast("asyncio.Transport", upgraded)
        self._transport.set_write_buffer_limits(0)
        self._next()

    def _next(self) -> None:
        exchange = next(self._dialogue, None)
        if exchange is None:
            self.done.set_result(None)
            return
        self._exchange, self._replies = exchange, 0
        for octets in exchange.octets:
            self._transport.write(octets)
        if not self._full:
            self._sent_at = time.perf_counter()


async def run(load: Load) -> dict[str, float | int | list[float]]:
    """Send `messages` over `connections` at a time; every one must be acknowledged."""
    context = ssl.create_default_context(cafile=load.ca)
    left = Peekable(load.messages)
    delays: list[float] = []

    async def lane() -> None:
        while left.any():
            await _converse(load, session(load, left), context, delays.append)

    started = time.time()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(load.connections, load.messages)):
            group.create_task(lane())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "started": started,
        "finished": time.time(),
        "acknowledged": len(delays),
        "delays": delays,
        "cpu": usage.ru_utime + usage.ru_stime,
    }


class Peekable:
    """The numbers of the messages that nobody has begun to send."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = 0

    def any(self) -> bool:
        return self._next < self._count

    def __iter__(self) -> "Peekable":
        return self

    def __next__(self) -> int:
        if not self.any():
            raise StopIteration
        self._next += 1
        return self._next - 1


async def _converse(
    load: Load, dialogue: Dialogue, context: ssl.SSLContext, acknowledged: Callable[[float], None]
) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(dialogue, context, acknowledged), load.host, load.port
    )
    try:
        await client.done
    except BaseException:
        client.close()
        raise
    return client


async def hold(load: Load) -> None:
    """Log in on `connections` connections, say so, and hold them until the input ends."""
    context = ssl.create_default_context(cafile=load.ca)
    slots = asyncio.Semaphore(_HANDSHAKES)

    async def one() -> Client:
        async with slots:
            return await _converse(load, login(load), context, lambda _: None)

    clients = await asyncio.gather(*(one() for _ in range(load.connections)))
    print("held", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for client in clients:
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("host", "user", "password", "ca", "sender", "recipient-domain"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, required=True)
    defaults = {
        "connections": 1,
        "messages-per-connection": 1,
        "messages": 0,
        "size": 4096,
        "recipients": 1,
        "sets": 0,
    }
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pipelining", action="store_true")
    parser.add_argument("--spread-recipients", action="store_true")
    parser.add_argument("--hold", action="store_true")
    options = vars(parser.parse_args())
    holding = options.pop("hold")
    load = Load(**options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if holding:
            runner.run(hold(load))
        else:
            print(json.dumps(runner.run(run(load))))


if __name__ == "__main__":
    main()
