"""What distance costs: messages a second over one connection to a peer that is 50 ms away.

    python -m bench.distance                       the table, printed
    python -m bench.distance --output bench/DISTANCE.md

Between the delivering half of relay and Postfix's smtp-sink is a proxy that holds back each octet
for half of the round trip, in both directions, in order and without a bound on throughput. The same
client sends the same messages in the same run, once as the sink offers it, with PIPELINING (RFC
2920), and once with PIPELINING taken out of the reply to EHLO. The store settles at once, and the
messages are not signed: what is measured is waiting.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from bench.machine import this_machine
from bench.micro.delivery import Bench, free_port, until_it_listens

_OFFER = b"250-PIPELINING\r\n"
_IN_FLIGHT = 50


class Delay:
    """Hands on octets after `seconds`, in the order in which they came."""

    def __init__(self, seconds: float, hand_on: Callable[[bytes | None], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._hand_on = hand_on
        self._held: deque[tuple[float, bytes | None]] = deque()

    def put(self, data: bytes | None) -> None:
        """None is the end of what comes."""
        at = self._loop.time() + self._seconds
        if not self._held:
            self._loop.call_at(at, self._release)
        self._held.append((at, data))

    def _release(self) -> None:
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            self._hand_on(self._held.popleft()[1])
        if self._held:
            self._loop.call_at(self._held[0][0], self._release)


class _End(asyncio.Protocol):
    """One end of a connection through the proxy. What it receives goes to `into`."""

    into: Callable[[bytes | None], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.into(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.into(None)

    def hand_on(self, data: bytes | None) -> None:
        if data is None:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write(data)


class Proxy:
    """Listens on loopback and leads to `port`, `seconds` away in each direction. `hide` is taken
    out of what comes back."""

    def __init__(self, port: int, seconds: float, hide: bytes = b"") -> None:
        self._target = port
        self._seconds = seconds
        self._hide = hide
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def start(self) -> int:
        """Listen; the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._near, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._server.close()

    def _near(self) -> _End:
        self.connections += 1
        near, early = _End(), list[bytes | None]()
        near.into = early.append
        task = asyncio.get_running_loop().create_task(self._join(near, early))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    async def _join(self, near: _End, early: list[bytes | None]) -> None:
        loop = asyncio.get_running_loop()
        far = _End()
        back = Delay(self._seconds, near.hand_on)
        far.into = lambda data: back.put(data and data.replace(self._hide, b""))
        if not self._hide:
            far.into = back.put
        await loop.create_connection(lambda: far, "127.0.0.1", self._target)
        out = Delay(self._seconds, far.hand_on)
        for data in early:
            out.put(data)
        near.into = out.put


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one way to speak: messages a second in each round, over so many connections in all."""

    way: str
    rates: list[float]
    connections: int

    @property
    def middle(self) -> float:
        return statistics.median(self.rates)

    def row(self, round_trip: float, base: float) -> str:
        return (
            f"| {self.way} | {self.middle:.2f} ({min(self.rates):.2f}–{max(self.rates):.2f}) "
            f"| {1 / self.middle / round_trip:.2f} | {self.middle / base:.2f} |"
        )


async def measure(way: str, sink: int, round_trip: float, messages: int, rounds: int) -> Rate:
    """`way` is `pipelined` or `one by one`. A first message sets the connection up, uncounted."""
    proxy = Proxy(sink, round_trip / 2, _OFFER if way == "one by one" else b"")
    port = await proxy.start()
    bounds = {"connections_per_destination": 1, "messages_per_connection": 1_000_000}
    rates = []
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        bench = Bench(Path(directory), port, 4096, 1, False, bounds)
        running = asyncio.create_task(bench.scheduler.run())
        await bench.deliver(1, 1)
        for _ in range(rounds):
            started = time.monotonic()
            await bench.deliver(messages, _IN_FLIGHT)
            rates.append(messages / (time.monotonic() - started))
        await bench.scheduler.drain(5.0)
        running.cancel()
        proxy.close()
    if bench.stored.undelivered or proxy.connections != 1:
        raise SystemExit(
            f"{bench.stored.undelivered} messages were not delivered, over {proxy.connections}"
            " connections: this figure would mean nothing"
        )
    return Rate(way, rates, proxy.connections)


_PAGE = """\
# What distance costs

Made by `python -m bench.distance` on {machine}.

{messages} messages of 4 kB, {rounds} rounds, over one connection that stays open, to a peer \
{trip} ms away (round trip); the same client, with PIPELINING as the sink offers it, and with \
the word taken out of its reply to EHLO. Median (range).

| commands | messages/s | round trips a message | times |
|---|---|---|---|
{rows}

A message costs what it waits for: with PIPELINING the replies to MAIL, RCPT and DATA, which go \
out together, and the reply to the content: two round trips. One by one they are four. To send \
MAIL of the next message with the content of this one would save one more where mail queues for \
a connection; why relay does not is said in [delivery](../docs/delivery.md#on-the-wire).
"""


async def _page(sink: int, round_trip: float, messages: int, rounds: int) -> str:
    one_by_one = await measure("one by one", sink, round_trip, messages, rounds)
    pipelined = await measure("pipelined", sink, round_trip, messages, rounds)
    return _PAGE.format(
        machine=this_machine(),
        messages=messages,
        rounds=rounds,
        trip=f"{round_trip * 1000:g}",
        rows="\n".join(rate.row(round_trip, one_by_one.middle) for rate in (one_by_one, pipelined)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What distance costs.")
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-trip", type=float, default=50.0, help="milliseconds")
    parser.add_argument("--output", type=Path, help="write the page to this file, too")
    given = parser.parse_args()
    port = free_port()
    sink = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1024"])
    try:
        until_it_listens(port)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            page = runner.run(_page(port, given.round_trip / 1000, given.messages, given.rounds))
    finally:
        sink.terminate()
        sink.wait()
    print(page)
    if given.output:
        given.output.write_text(page)


if __name__ == "__main__":
    main()
