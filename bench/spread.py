"""How several processes share the connections of one port: `python -m bench.spread`.

Four ways, each with N processes on uvloop that greet and then hold what they get:

- `reuseport`: each process has its own listening socket with SO_REUSEPORT; the kernel hashes.
- `shared`: all accept from one inherited listening socket; who wakes first takes.
- `handed over`: one supervisor accepts and passes each socket (SCM_RIGHTS) to the process that
  holds the fewest; it closes its own copy at once.
- `handed over, kept`: the same, but the supervisor keeps its copy until the process has said that
  it took the socket, and gives it to another when the process dies first.

Measured: how evenly connections spread, when they come in one burst and one after another; the CPU
of all processes for each connection (no TLS, no mail: only what sharing costs, beside accepting);
and what becomes of connections that came to a process that hangs, and then is killed.
"""

import argparse
import asyncio
import os
import platform
import random
import signal
import socket
import statistics
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import cast

import uvloop

_WAYS = ("reuseport", "shared", "handed over", "handed over, kept")
_BACKLOG = 1024
_TAKEN, _CLOSED = b"+", b"-"


class Greeter(asyncio.Protocol):
    """Greets with the number of its process, and holds the connection until the client goes."""

    def __init__(self, number: int, closed: Callable[[], object]) -> None:
        self._greeting = b"220 %03d\r\n" % number
        self._closed = closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(self._greeting)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed()


def _listener(reuse_port: bool, port: int = 0) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


async def _serve_listener(number: int, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Greeter(number, lambda: None), sock=listener, backlog=_BACKLOG
    )
    await server.serve_forever()


async def _serve_handed(number: int, link: socket.socket) -> None:
    """Take sockets from the supervisor; tell it of each one taken and each one closed."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def take() -> None:
        try:
            while True:
                data, descriptors, _, _ = socket.recv_fds(link, 1, 1)
                if not data:
                    loop.stop()
                    return
                taken = socket.socket(fileno=descriptors[0])
                taken.setblocking(False)
                link.send(_TAKEN)
                task = loop.create_task(_greet(loop, number, taken, lambda: link.send(_CLOSED)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except BlockingIOError:
            return

    loop.add_reader(link, take)
    await asyncio.Event().wait()


async def _greet(
    loop: asyncio.AbstractEventLoop,
    number: int,
    taken: socket.socket,
    closed: Callable[[], object],
) -> None:
    await loop.connect_accepted_socket(lambda: Greeter(number, closed), taken)


@dataclass(slots=True)
class Handed:
    """What the supervisor knows of one process: its link, how much it holds, what is on the way."""

    link: socket.socket
    held: int = 0
    on_the_way: list[socket.socket] = field(default_factory=list)
    alive: bool = True


class Supervisor:
    """Accepts everything, and hands each socket to the living process that holds the fewest."""

    def __init__(self, listener: socket.socket, links: list[socket.socket], keep: bool) -> None:
        self._listener = listener
        self._processes = [Handed(link) for link in links]
        self._keep = keep

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._accept)
        for process in self._processes:
            loop.add_reader(process.link, self._hear, process)
        await asyncio.Event().wait()

    def _accept(self) -> None:
        try:
            while True:
                self._hand(self._listener.accept()[0])
        except BlockingIOError:
            return

    def _hand(self, accepted: socket.socket) -> None:
        process = min((p for p in self._processes if p.alive), key=lambda p: p.held)
        socket.send_fds(process.link, [b"c"], [accepted.fileno()])
        process.held += 1
        if self._keep:
            process.on_the_way.append(accepted)
        else:
            accepted.close()

    def _hear(self, process: Handed) -> None:
        try:
            said = process.link.recv(4096)
        except (BlockingIOError, ConnectionResetError):
            said = b""
        if not said:
            asyncio.get_running_loop().remove_reader(process.link)
            process.alive = False
            for accepted in process.on_the_way:
                self._hand(accepted)
            return
        process.held -= said.count(_CLOSED)
        taken = said.count(_TAKEN)
        for accepted in process.on_the_way[:taken]:
            accepted.close()
        del process.on_the_way[:taken]


def _forked(main: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        main()
    finally:
        os._exit(0)


def _run(serving: Callable[[], Coroutine[None, None, None]]) -> Callable[[], object]:
    def main() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving())

    return main


class Group:
    """The processes of one way to share, and the port that they serve."""

    def __init__(self, way: str, processes: int) -> None:
        self.workers: list[int] = []
        self._supervisor: int | None = None
        first = _listener(way == "reuseport")
        self.port = first.getsockname()[1]
        if way in ("reuseport", "shared"):
            listeners = [first] * processes
            if way == "reuseport":
                listeners[1:] = [_listener(True, self.port) for _ in range(processes - 1)]
            for number, listener in enumerate(listeners):
                self._fork_worker(number, _serve_listener, listener, listeners, way == "reuseport")
            for listener in listeners:
                listener.close()
            return
        pairs = [socket.socketpair() for _ in range(processes)]
        for pair in pairs:
            for end in pair:
                end.setblocking(False)
        for number, (_, theirs) in enumerate(pairs):
            others = [end for pair in pairs for end in pair if end is not theirs]
            self._fork_worker(number, _serve_handed, theirs, [*others, first, theirs], True)
        for _, theirs in pairs:
            theirs.close()
        links = [ours for ours, _ in pairs]
        keep = way.endswith("kept")
        self._supervisor = _forked(_run(lambda: Supervisor(first, links, keep).serve()))
        for kept in (first, *links):
            kept.close()

    def _fork_worker(
        self,
        number: int,
        serve: Callable[[int, socket.socket], Coroutine[None, None, None]],
        own: socket.socket,
        inherited: list[socket.socket],
        close: bool,
    ) -> None:
        def main() -> None:
            for other in inherited if close else ():
                if other is not own:
                    other.close()
            _run(lambda: serve(number, own))()

        self.workers.append(_forked(main))

    def cpu(self) -> float:
        """CPU seconds of all processes so far, by the kernel's clock of each."""
        pids = [*self.workers, *([self._supervisor] if self._supervisor else [])]
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)

    def kill(self, number: int) -> None:
        pid = self.workers.pop(number)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def stop(self) -> None:
        for pid in (*self.workers, *([self._supervisor] if self._supervisor else [])):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT
    return client


def _greeter(client: socket.socket) -> int | None:
    """The number of the process that greets; None where the connection ends without a greeting."""
    try:
        greeting = client.recv(64)
    except (ConnectionResetError, TimeoutError):
        return None
    return int(greeting[4:7]) if greeting else None


def _known_greeter(client: socket.socket) -> int:
    number = _greeter(client)
    if number is None:
        raise SystemExit("a connection ended without a greeting")
    return number


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one way, number of processes, number of connections and manner of arriving."""

    way: str
    processes: int
    connections: int
    arriving: str
    most: list[float]
    least: list[float]
    microseconds: float

    def row(self) -> str:
        return (
            f"| {self.way} | {self.processes} | {self.connections} | {self.arriving} "
            f"| {100 / self.processes:.0f} % "
            f"| {statistics.median(self.most):.0%} ({max(self.most):.0%}) "
            f"| {statistics.median(self.least):.0%} ({min(self.least):.0%}) "
            f"| {self.microseconds:.0f} |"
        )


def measure(way: str, processes: int, connections: int, arriving: str, rounds: int) -> Spread:
    """Open `connections`, see who greets, close; `rounds` times."""
    group = Group(way, processes)
    most, least = [], []
    try:
        _settle(group.port)
        before = group.cpu()
        for _ in range(rounds):
            counts = [0] * processes
            clients = []
            for _ in range(connections):
                clients.append(_connect(group.port))
                if arriving == "one by one":
                    counts[_known_greeter(clients[-1])] += 1
            if arriving == "burst":
                for client in clients:
                    counts[_known_greeter(client)] += 1
            most.append(max(counts) / connections)
            least.append(min(counts) / connections)
            for client in random.sample(clients, len(clients)):
                client.close()
            time.sleep(0.01)
        cpu = (group.cpu() - before) / rounds / connections * 1e6
    finally:
        group.stop()
    return Spread(way, processes, connections, arriving, most, least, cpu)


def _settle(port: int) -> None:
    """Until every process has had time to start: each greets within a few hundred connections."""
    for _ in range(50):
        with _connect(port) as client:
            _greeter(client)
    time.sleep(0.3)


def death(way: str, connections: int) -> str:
    """Of two processes one hangs while connections come, and is then killed."""
    group = Group(way, 2)
    try:
        _settle(group.port)
        os.kill(group.workers[0], signal.SIGSTOP)
        clients = [_connect(group.port) for _ in range(connections)]
        time.sleep(0.5)
        early = sum(_readable(client) for client in clients)
        group.kill(0)
        answered = sum(_greeter(client) is not None for client in clients)
        later = [_connect(group.port) for _ in range(connections)]
        served = sum(_greeter(client) is not None for client in later)
        for client in (*clients, *later):
            client.close()
    finally:
        group.stop()
    return f"| {way} | {early} | {answered - early} | {connections - answered} | {served} |"


def _readable(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(64, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        client.settimeout(3)


_HEAD = """\
# How processes share connections

Made by `python -m bench.spread` on Linux {kernel}, {cores} cores, Python {python}, uvloop \
{uvloop}. {rounds} rounds of each line. A share is that of the process with the most, or the \
fewest, of the connections that are open at the same time: median (worst round). CPU is that of \
all processes of the server for one connection accepted, greeted and closed, without TLS and mail.

| way | processes | connections | arriving | fair share | share of the most | of the fewest \
| CPU µs a connection |
|---|---|---|---|---|---|---|---|
"""

_DEATH = """
## When a process hangs, and then dies

Two processes; one is stopped (SIGSTOP), {connections} clients connect, half a second later the \
stopped one is killed (SIGKILL), and {connections} more connect.

| way | answered while one hangs | answered after its death | lost | of those that came later, \
answered |
|---|---|---|---|---|
"""

_READING = """
With `reuseport` the kernel picks a process by a hash of addresses and ports, however many \
connections each one holds; what waits at a process that dies is reset (unless \
`net.ipv4.tcp_migrate_req` is set), and what waits at one that hangs, waits. With `shared` nothing \
waits at a process, but who wakes first takes what it finds, and all wake for each connection. A \
supervisor that hands over gives each its share exactly, for some CPU more a connection: little \
beside the TLS handshake and the login that follow. It must keep its copy until the socket is \
taken, or what is under way to a process that dies is lost. Sessions that a process has begun end \
with it, whatever the way.
"""


def document(rounds: int, quick: bool) -> str:
    """All of it, as Markdown."""
    text = _HEAD.format(
        kernel=platform.release(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        uvloop=version("uvloop"),
        rounds=rounds,
    )
    for processes in (2,) if quick else (2, 4):
        for connections in (10, 50) if quick else (10, 50, 200):
            for arriving in ("burst", "one by one"):
                for way in _WAYS:
                    text += measure(way, processes, connections, arriving, rounds).row() + "\n"
    connections = 40
    text += _DEATH.format(connections=connections)
    text += "".join(death(way, connections) + "\n" for way in _WAYS)
    return text + _READING


def main() -> None:
    parser = argparse.ArgumentParser(description="How processes share connections.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="2 processes, few rounds")
    parser.add_argument("--output", type=Path, help="write the results to this file, too")
    options = parser.parse_args()
    text = document(5 if options.quick else options.rounds, options.quick)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
