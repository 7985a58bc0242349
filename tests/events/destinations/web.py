"""A web server that answers as a test says, with a certificate of its own authority."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme

from relay.events.notification import Notification
from relay.events.samples import samples

HOSTNAME = "relay.test"
NOW = 1_790_000_000_123
AUTHORITY = trustme.CA()


def some(*types: str) -> list[Notification]:
    return samples(types or ("Send",), "news", HOSTNAME, NOW)


@dataclass
class Request:
    """What came."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Web:
    """`answers` are octets, one for each request, the last one for all that follow; None closes
    the connection without an answer, octets in a tuple after it, and a number waits so many seconds
    for nothing."""

    port: int = 0
    answers: list = field(default_factory=lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: set = field(default_factory=set)

    def say(self, status: str, *headers: str, body: bytes = b"") -> None:
        """Answer so from now on."""
        head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
        self.answers = [head.encode() + b"\r\n\r\n" + body]

    async def serve(self, reader, writer) -> None:
        self.connections += 1
        number = self.connections
        self.open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.splitlines()
                raw = dict(one.split(": ", 1) for one in fields if one)
                headers = {name.lower(): value for name, value in raw.items()}
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append(Request(line, headers, body, number))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                if isinstance(answer, int | float):
                    await asyncio.sleep(answer)
                    return
                closes = isinstance(answer, tuple)
                writer.write(answer[0] if closes else answer)
                await writer.drain()
                if closes:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            self.open.discard(writer)
            writer.close()


@asynccontextmanager
async def web(*, tls: bool = True, name: str = "localhost"):
    """The server, on loopback."""
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert(name).configure_cert(context)
    site = Web()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for writer in list(site.open):
            writer.close()
        await server.wait_closed()
