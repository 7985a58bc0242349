"""Processes that share the connections of one port, in four ways; `bench.spread` compares them.

- `reuseport`: each process has its own listening socket with SO_REUSEPORT; the kernel hashes.
- `shared`: all accept from one inherited listening socket; who wakes first takes.
- `handed over`: one supervisor accepts and passes each socket (SCM_RIGHTS) to the process that
  holds the fewest; it closes its own copy at once.
- `handed over, kept`: the same, but the supervisor keeps its copy until the process has said that
  it took the socket, and gives it to another when the process dies first.

Each process runs uvloop, greets with its number, and then holds what it got.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import cast

import uvloop

WAYS = ("reuseport", "shared", "handed over", "handed over, kept")
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
