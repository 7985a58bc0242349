"""How several processes share the connections of one port: `python -m bench.spread`.

The ways are those of `bench.sharing`. Measured: how evenly connections spread, when they come in
one burst and one after another; the CPU of all processes for each connection (no TLS, no mail: only
what sharing costs, beside accepting); and what becomes of connections that came to a process that
hangs, and then is killed.
"""

import argparse
import os
import platform
import random
import signal
import socket
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.sharing import WAYS, Group


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
                for way in WAYS:
                    text += measure(way, processes, connections, arriving, rounds).row() + "\n"
    connections = 40
    text += _DEATH.format(connections=connections)
    text += "".join(death(way, connections) + "\n" for way in WAYS)
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
