"""An HTTPS server on loopback that says what it is told to, as a policy host of MTA-STS."""

import asyncio
import re
import ssl
from typing import Self


class PolicyHost:
    """Answers each request with `answer`, octet by octet; notes requests and their contents."""

    def __init__(self, context: ssl.SSLContext, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answer = response()
        self.requests: list[str] = []
        self.contents: list[bytes] = []
        self.hangs = False
        self._context = context
        self._host, self._port = host, port

    @property
    def port(self) -> int:
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self._host, self._port, ssl=self._context
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request.decode())
            if length := re.search(rb"\r\nContent-Length: (\d+)\r\n", request, re.IGNORECASE):
                self.contents.append(await reader.readexactly(int(length[1])))
            if self.hangs:
                await reader.read()
            writer.write(self.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


POLICY = b"version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 86400\n"


def response(
    body: bytes = POLICY, status: str = "200 OK", kind: str = "text/plain", more: str = ""
) -> bytes:
    """An HTTP/1.1 response, closed after it."""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n{more}\r\n"
    )
    return head.encode() + body
