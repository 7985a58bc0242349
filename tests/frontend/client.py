"""A small SMTP client that says exactly what a test wants, and waits for nothing else."""

import asyncio
import base64
import ssl
from types import TracebackType
from typing import Self

from tests.frontend.house import PASSWORD, USERNAME, House

MESSAGE = b"From: <a@sender.test>\r\nSubject: x\r\n\r\nHello\r\n"


class Client:
    """One connection. `say` sends a line and gives the reply as text."""

    def __init__(self, house: House, listener: str = "submission", source: str = "127.0.0.1"):
        self._house = house
        self._listener = listener
        self._source = source

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writer.transport.abort()

    async def open(self, first: bytes = b"") -> None:
        host, port = self._house.address(self._listener)
        listeners = self._house.config.listeners
        implicit = self._listener in listeners and listeners[self._listener].tls == "implicit"
        self.reader, self.writer = await asyncio.open_connection(
            host,
            port,
            local_addr=(self._source, 0),
            ssl=self._house.client_tls if implicit and not first else None,
            server_hostname="localhost" if implicit and not first else None,
            limit=2**20,
        )
        self.writer.write(first)

    async def reply(self) -> str:
        lines: list[bytes] = []
        async with asyncio.timeout(10):
            while True:
                line = await self.reader.readuntil(b"\r\n")
                lines.append(line)
                if line[3:4] != b"-":
                    return b"".join(lines).decode().rstrip("\r\n")

    async def say(self, line: bytes) -> str:
        self.writer.write(line + b"\r\n")
        return await self.reply()

    async def closed(self) -> bool:
        """Whether the server closes the connection, without another word."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(100) == b""
            except (ConnectionResetError, ssl.SSLError):
                return True

    async def start_tls(self) -> None:
        assert (await self.say(b"EHLO client.test")).startswith("250")
        assert (await self.say(b"STARTTLS")).startswith("220")
        await self.writer.start_tls(self._house.client_tls, server_hostname="localhost")

    async def auth(self, username: str = USERNAME, password: str = PASSWORD) -> str:
        message = base64.b64encode(f"\0{username}\0{password}".encode())
        return await self.say(b"AUTH PLAIN " + message)

    async def log_in(self) -> None:
        """From the greeting to a login."""
        assert (await self.reply()).startswith("220")
        if self._house.config.listeners[self._listener].tls == "starttls":
            await self.start_tls()
        assert (await self.say(b"EHLO client.test")).startswith("250")
        assert (await self.auth()).startswith("235")

    async def begin(self, *recipients: str) -> None:
        """To the reply to DATA."""
        assert (await self.say(b"MAIL FROM:<a@sender.test>")).startswith("250")
        for recipient in recipients or ("b@example.test",):
            assert (await self.say(f"RCPT TO:<{recipient}>".encode())).startswith("250")
        assert (await self.say(b"DATA")).startswith("354")

    async def send(self, content: bytes = MESSAGE) -> str:
        """A whole message, to the final reply."""
        await self.begin()
        self.writer.write(content + b".\r\n")
        return await self.reply()
