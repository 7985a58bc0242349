"""The load generator: authenticated STARTTLS clients that send messages as fast as they may.

Run as a process of its own (`python -m bench.load`), so that its CPU is not the system's; prints
one JSON object. The clock of an acknowledgement starts with the last octet of the message.
"""

import argparse
import asyncio
import base64
import json
import os
import resource
import ssl
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """How much to send, and how."""

    host: str
    port: int
    user: str
    password: str
    ca: str
    connections: int
    messages_per_connection: int
    messages: int
    size: int
    recipients: int
    pipelining: bool
    sender: str
    recipient_domain: str


def message(load: Load, number: int) -> bytes:
    """A message of about `size` octets with a plausible header, dot-stuffed and ended."""
    header = (
        f"From: Sender <{load.sender}>\r\nTo: <r0@{load.recipient_domain}>\r\n"
        f"Subject: Benchmark message {number}\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
        f"Message-ID: <{number}.{os.getpid()}@load.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    ).encode()
    line = base64.b64encode(number.to_bytes(8, "big") * 7) + b"\r\n"
    return header + line * max(1, (load.size - len(header)) // len(line)) + b".\r\n"


class Client:
    """One connection: EHLO, STARTTLS, AUTH, then messages."""

    def __init__(self, load: Load, context: ssl.SSLContext) -> None:
        self._load = load
        self._context = context

    async def connect(self) -> None:
        load = self._load
        self._reader, self._writer = await asyncio.open_connection(load.host, load.port)
        await self._expect(220)
        await self._command(b"EHLO load.test", 250)
        await self._command(b"STARTTLS", 220)
        await self._writer.start_tls(self._context, server_hostname="localhost")
        await self._command(b"EHLO load.test", 250)
        secret = base64.b64encode(f"\0{load.user}\0{load.password}".encode())
        await self._command(b"AUTH PLAIN " + secret, 235)

    async def send(self, content: bytes) -> float:
        """Send one message; the seconds from its last octet to the reply."""
        load = self._load
        commands = [f"MAIL FROM:<{load.sender}>".encode()]
        commands += [
            f"RCPT TO:<r{n}@{load.recipient_domain}>".encode() for n in range(load.recipients)
        ]
        if load.pipelining:
            self._writer.write(b"\r\n".join([*commands, b"DATA", b""]))
            for _ in commands:
                await self._expect(250)
            await self._expect(354)
        else:
            for command in commands:
                await self._command(command, 250)
            await self._command(b"DATA", 354)
        self._writer.write(content)
        await self._writer.drain()
        sent = time.perf_counter()
        await self._expect(250)
        return time.perf_counter() - sent

    async def quit(self) -> None:
        await self._command(b"QUIT", 221)
        self._writer.close()

    async def _command(self, line: bytes, code: int) -> None:
        self._writer.write(line + b"\r\n")
        await self._expect(code)

    async def _expect(self, code: int) -> None:
        while True:
            line = await self._reader.readline()
            if line[3:4] == b"-":
                continue
            if not line.startswith(str(code).encode()):
                raise ConnectionError(f"expected {code}, got {line!r}")
            return


async def run(load: Load) -> dict[str, float | int | list[float]]:
    """Send `messages` over `connections` at a time; every one must be acknowledged."""
    context = ssl.create_default_context(cafile=load.ca)
    left = iter(range(load.messages))
    delays: list[float] = []

    async def lane() -> None:
        done = False
        while not done:
            client = None
            for _ in range(load.messages_per_connection):
                number = next(left, None)
                if number is None:
                    done = True
                    break
                if client is None:
                    client = Client(load, context)
                    await client.connect()
                delays.append(await client.send(message(load, number)))
            if client is not None:
                await client.quit()

    started = time.time()
    async with asyncio.TaskGroup() as group:
        for _ in range(load.connections):
            group.create_task(lane())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "started": started,
        "finished": time.time(),
        "acknowledged": len(delays),
        "delays": delays,
        "cpu": usage.ru_utime + usage.ru_stime,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("host", "user", "password", "ca", "sender", "recipient-domain"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "connections", "messages-per-connection", "messages", "size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--pipelining", action="store_true")
    load = Load(**vars(parser.parse_args()))
    with asyncio.Runner() as runner:
        print(json.dumps(runner.run(run(load))))


if __name__ == "__main__":
    main()
