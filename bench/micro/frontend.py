"""What accepting costs: CPU of a process that has the front end and nothing behind it.

    python -m bench.micro.frontend                         4 kB: a connection, and a message in one
    python -m bench.micro.frontend --size 40000000 --messages 5 --per-connection 1
    python -m bench.micro.frontend --idle 2000             memory of an idle connection

Door, sessions, TLS, logins and admission are the real ones; the store keeps nothing and answers at
once. The load generator of `bench.load` runs in a process of its own. What a connection and what a
message costs follows from runs with one and with many messages a connection. Wall-clock rates mean
nothing here; the median of several rounds is shown, and the lowest.
"""

import argparse
import asyncio
import base64
import json
import resource
import socket
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import trustme
import uvloop

from bench.systems.system import PASSWORD, SENDER, USER
from relay.admission.admission import Admission
from relay.config.model import Config
from relay.frontend.authenticator import Authenticator
from relay.frontend.door import Door
from relay.frontend.frontend import Frontend
from relay.frontend.gatekeeper import LocalGatekeeper
from relay.frontend.service import SpoolStore
from relay.frontend.visit import Visit
from relay.limits.limits import Limits, PermitStore, config_limits
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.values import Accepted, Body, NewMessage

_INLINE = 65_536


class Discarding:
    """A `BodyWriter` that keeps what a small body needs in memory, and of a large one nothing."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = self.in_memory = 0

    async def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= _INLINE:
            self._chunks.append(chunk)
            self.in_memory += len(chunk)

    async def finish(
        self,
        *,
        simple_digest: bytes,
        relaxed_digest: bytes | None,
        eight_bit: bool,
        dots: bool | None = None,
    ) -> Body:
        inline = b"".join(self._chunks) if self._size <= _INLINE else None
        reference = "" if inline is not None else "nowhere"
        return Body(self._size, simple_digest, relaxed_digest, eight_bit, inline, reference, dots)

    async def discard(self) -> None:
        self._chunks.clear()


class Nowhere:
    """A store that answers at once."""

    def __init__(self) -> None:
        self.accepted = 0

    def new_body(self) -> Discarding:
        return Discarding()

    async def accept(self, new: NewMessage) -> Accepted:
        self.accepted += 1
        return Accepted((), ())

    async def free_space(self) -> int:
        return 10**15


class Bench:
    """A front end on a port of its own, and what is behind it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.store = Nowhere()
        self.authority = directory / "ca.pem"

    async def start(self) -> None:
        config = _config(self._directory, self.authority)
        nowhere = Path("/dev/null").open("w")  # noqa: SIM115  # open as long as the process runs
        log, metrics = make_logger("json", "info", nowhere), Metrics()
        limits = Limits(cast("PermitStore", self.store), time.monotonic, _now)
        limits.configure(config_limits(config))
        self._authenticator = Authenticator()
        self._authenticator.load(config)
        self._door = Door(config=config, hand_over=self._adopt, metrics=metrics, log=log)
        self._frontend = Frontend(
            config=config,
            admission=Admission(config, limits, config.hostname, metrics),
            store=cast("SpoolStore", self.store),
            accept=self.store.accept,
            authenticator=self._authenticator,
            gatekeeper=LocalGatekeeper(self._door),
            metrics=metrics,
            log=log,
        )
        await self._frontend.start()
        await self._door.start()
        self.port = self._door.addresses["main"][1]

    def _adopt(self, visit: Visit, connection: socket.socket) -> bool:
        self._frontend.adopt(visit, connection)
        return True

    async def stop(self) -> None:
        self._door.stop()
        await self._frontend.drain(0)
        self._authenticator.close()

    async def cpu_of(self, messages: int, per_connection: int, given: argparse.Namespace) -> float:
        """The CPU seconds of this process while `messages` come in."""
        options: dict[str, object] = {
            "--host": "127.0.0.1",
            "--port": self.port,
            "--user": USER,
            "--password": PASSWORD,
            "--ca": self.authority,
            "--connections": given.connections,
            "--messages-per-connection": per_connection,
            "--messages": messages,
            "--size": given.size,
            "--recipients": given.recipients,
            "--sender": SENDER,
            "--recipient-domain": "dest.test",
        }
        words = [str(word) for option in options.items() for word in option]
        if given.pipelining:
            words.append("--pipelining")
        before, started = self.store.accepted, time.process_time()
        generator = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.load", *words, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await generator.communicate()
        used = time.process_time() - started
        if (
            self.store.accepted - before != messages
            or json.loads(output)["acknowledged"] != messages
        ):
            raise SystemExit("not every message was accepted")
        return used


def _config(directory: Path, authority: Path) -> Config:
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    ca.cert_pem.write_to_path(str(authority))
    return Config.model_validate(
        {
            "hostname": "relay.test",
            "data_dir": directory,
            "tls": {"certificate": certificate, "key": key},
            "listeners": {"main": {"address": "127.0.0.1:0"}},
            "bounds": {"connections_per_client": 100_000, "connections_per_credential": 100_000},
            "credentials": {USER: {"password": PASSWORD}},
            "identities": {"sender.test": {}},
            "configuration_sets": {"main": {"pool": "main"}},
            "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
        }
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _costs(bench: Bench, given: argparse.Namespace) -> None:
    many = given.per_connection
    await bench.cpu_of(min(given.messages, 10 * many), many, given)  # caches and the login warm up
    per_message, per_connection = [], []
    for _ in range(given.rounds):
        long = await bench.cpu_of(given.messages, many, given) / given.messages * 1e6
        if many == 1:
            per_message.append(long)
            continue
        connections = max(1, given.messages // 5)
        short = await bench.cpu_of(connections, 1, given) / connections * 1e6
        # short = connection + message; long = connection / many + message
        per_connection.append((short - long) * many / (many - 1))
        per_message.append(short - per_connection[-1])
    _show("a message" if many > 1 else "a message with its connection", per_message)
    if per_connection:
        _show("a connection", per_connection)


def _show(what: str, rounds: list[float]) -> None:
    print(f"{statistics.median(rounds):10.1f} µs {what} (lowest {min(rounds):.1f})")


async def _idle(bench: Bench, count: int) -> None:
    """Memory of this process before and while `count` clients are logged in and silent."""
    for round_count in (50, count):  # the first brings in what is allocated once
        before = _resident()
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.micro.frontend", "--hold", str(round_count)),
            *("--port", str(bench.port), "--ca", str(bench.authority)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdout is not None
        await client.stdout.readline()
        held = _resident() - before
        await client.communicate(b"\n")
    print(f"{held / count / 1024:10.1f} KiB an idle connection ({held / 2**20:.1f} MiB in all)")


def _resident() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line[:4] == "Pss:")


async def _hold(count: int, port: int, ca: str) -> None:
    """The clients of `_idle`: log in, say so, and wait for a line."""
    context = ssl.create_default_context(cafile=ca)
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for command in (
            b"",
            b"EHLO load.test",
            b"STARTTLS",
            b"EHLO load.test",
            b"AUTH PLAIN " + plain,
        ):
            if command:
                writer.write(command + b"\r\n")
            while (await reader.readline())[3:4] == b"-":
                pass
            if command == b"STARTTLS":
                await writer.start_tls(context, server_hostname="localhost")
        writers.append(writer)
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _run(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        bench = Bench(Path(name))
        await bench.start()
        try:
            if given.idle:
                await _idle(bench, given.idle)
            else:
                await _costs(bench, given)
        finally:
            await bench.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--per-connection", type=int, default=50)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pipelining", action="store_true")
    parser.add_argument("--idle", type=int, default=0, help="connections to hold")
    parser.add_argument("--hold", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--ca", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.hold:
            runner.run(_hold(given.hold, given.port, given.ca))
        else:
            runner.run(_run(given))


if __name__ == "__main__":
    main()
