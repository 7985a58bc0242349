"""A receiving SMTP server on a real socket that behaves, or misbehaves as a script tells it.

By default it takes everything. A `script` maps a moment to what happens then: `greeting`, a verb
(`EHLO`, `MAIL`, `RCPT`, `DATA`, …), `end` (after the final dot). What happens is octets to send
raw, a `Do`, both (a tuple), or a function of the session and the line that returns one of these.
"""

import asyncio
import base64
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self


class Do(Enum):
    SILENT = "say nothing, and go on reading"
    DEAFEN = "throw away what has come behind the command, as servers do that cannot pipeline"
    HANG = "say nothing, and read nothing more"
    CLOSE = "close the connection"
    RESET = "reset the connection"


Happening = bytes | Do | tuple[bytes, Do]
Scripted = Happening | Callable[["Session", str], Happening]

OFFERED = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 50000000", "DSN", "ENHANCEDSTATUSCODES")


@dataclass
class Received:
    """One message that was taken (answered with 2yz after the final dot)."""

    mail: str
    rcpts: list[str]
    content: bytes
    client: str
    ehlo: str
    tls: str
    login: str
    at: float = 0.0  # monotonic seconds

    @property
    def recipients(self) -> list[str]:
        return [rcpt.partition("<")[2].partition(">")[0] for rcpt in self.rcpts]

    @property
    def reverse_path(self) -> str:
        return self.mail.partition("<")[2].partition(">")[0]


@dataclass
class Session:
    """One connection as the receiver sees it. `ahead` has the verbs behind which more had come
    already when they were read: the client did not wait for the replies."""

    number: int
    client: str
    begun: float = field(default_factory=time.monotonic)
    ahead: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    ehlo: str = ""
    tls: str = ""
    login: str = ""
    mail: str = ""
    rcpts: list[str] = field(default_factory=list)
    taken: int = 0
    raw: bytes = b""
    ended_with_quit: bool = False


class Receiver:
    """`async with Receiver(...) as receiver`: `receiver.port`, `receiver.messages`."""

    def __init__(
        self,
        script: Mapping[str, Scripted] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        extensions: tuple[str, ...] = OFFERED,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
        content_limit: int | None = None,
        stall_after: int | None = None,
        name: str = "receiver.test",
    ) -> None:
        """`content_limit`: close after so many octets of content; `stall_after`: read no more."""
        self.script = dict(script or {})
        self.messages: list[Received] = []
        self.sessions: list[Session] = []
        self.open = 0
        self.most_open = 0
        self._host, self._port = host, port
        self._extensions = extensions
        self._tls = tls
        self._implicit = implicit_tls
        self._login = login
        self._content_limit = content_limit
        self._stall_after = stall_after
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialogues: set[_Dialogue] = set()
        self._changed = asyncio.Condition()
        self._closing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected,
            self._host,
            self._port,
            limit=64 * 1024 * 1024,
            ssl=self._tls if self._implicit else None,
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until `condition` holds; it is looked at whenever something has happened here."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def until_messages(self, count: int, seconds: float = 10.0) -> None:
        await self.until(lambda: len(self.messages) >= count, seconds)

    def answer(self, said: bytes) -> None:
        """Say something now, on every open connection."""
        for dialogue in self._dialogues:
            dialogue.writer.write(said)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        session = Session(len(self.sessions), writer.get_extra_info("peername")[0])
        self.sessions.append(session)
        dialogue = _Dialogue(self, session, reader, writer)
        self._dialogues.add(dialogue)
        try:
            await self._tell()
            await dialogue.run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, _Close):
            pass
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._tasks.discard(task)
            self._dialogues.discard(dialogue)
            self.open -= 1
            transport = writer.transport
            if not transport.is_closing():
                transport.close()
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Close(Exception):
    pass


class _Dialogue:
    def __init__(
        self,
        receiver: Receiver,
        session: Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.receiver = receiver
        self.session = session
        self.reader = reader
        self.writer = writer

    async def run(self) -> None:
        receiver = self.receiver
        if receiver._implicit:
            self._note_tls()
        await self._happen("greeting", "", f"220 {receiver._name} ESMTP\r\n".encode())
        while True:
            raw = await self.reader.readuntil(b"\r\n")
            line = raw[:-2].decode("utf-8", "surrogateescape")
            self.session.lines.append(line)
            verb = line.partition(" ")[0].upper()
            self.session.seen[verb] += 1
            if self._behind():
                self.session.ahead.append(verb)
            await receiver._tell()
            handler = getattr(self, f"_{verb.lower()}", None)
            if handler is None:
                await self._happen(verb, line, b"500 5.5.2 what?\r\n")
            else:
                await handler(line)

    async def _happen(
        self, moment: str, line: str, usual: bytes, noted: Callable[[bytes], None] | None = None
    ) -> bytes:
        """Do what the script says, or the usual thing; what was said, `noted` before the deed."""
        scripted = self.receiver.script.get(moment, usual)
        if callable(scripted):
            scripted = scripted(self.session, line)
        said, deed = b"", None
        if isinstance(scripted, tuple):
            said, deed = scripted
        elif isinstance(scripted, bytes):
            said = scripted
        else:
            deed = scripted
        if said:
            self.writer.write(said)
            await self.writer.drain()
        if noted is not None:
            noted(said)
        if deed is Do.DEAFEN:
            await self.reader.readexactly(self._behind())
        if deed is Do.HANG:
            await asyncio.Event().wait()
        if deed is Do.RESET:
            self.writer.transport.abort()
        if deed in (Do.RESET, Do.CLOSE):
            raise _Close
        return said

    def _behind(self) -> int:
        """The octets that have come behind the command that was read last."""
        return len(self.reader._buffer)  # type: ignore[attr-defined]

    def _note_tls(self) -> None:
        self.session.tls = self.writer.get_extra_info("ssl_object").version()

    async def _ehlo(self, line: str) -> None:
        self.session.ehlo = line[5:]
        offered = [self.receiver._name, *self.receiver._extensions]
        if self.receiver._tls is not None and not self.session.tls:
            offered.append("STARTTLS")
        if self.receiver._login is not None:
            offered.append("AUTH PLAIN")
        lines = [f"250-{word}\r\n" for word in offered[:-1]] + [f"250 {offered[-1]}\r\n"]
        await self._happen("EHLO", line, "".join(lines).encode())

    async def _helo(self, line: str) -> None:
        self.session.ehlo = line[5:]
        await self._happen("HELO", line, f"250 {self.receiver._name}\r\n".encode())

    async def _starttls(self, line: str) -> None:
        said = await self._happen("STARTTLS", line, b"220 2.0.0 go ahead\r\n")
        if said.startswith(b"220") and self.receiver._tls is not None:
            await self.writer.start_tls(self.receiver._tls)
            self._note_tls()

    async def _auth(self, line: str) -> None:
        given = base64.b64decode(line.split(" ")[2]).decode().split("\0")[1:]
        if self.receiver._login == tuple(given):
            self.session.login = given[0]
            await self._happen("AUTH", line, b"235 2.7.0 welcome\r\n")
        else:
            await self._happen("AUTH", line, b"535 5.7.8 no\r\n")

    async def _mail(self, line: str) -> None:
        said = await self._happen("MAIL", line, b"250 2.1.0 ok\r\n")
        if said.startswith(b"250"):
            self.session.mail, self.session.rcpts = line[10:], []

    async def _rcpt(self, line: str) -> None:
        if not self.session.mail:
            self.writer.write(b"503 5.5.1 MAIL first\r\n")
            return
        said = await self._happen("RCPT", line, b"250 2.1.5 ok\r\n")
        if said.startswith(b"25"):
            self.session.rcpts.append(line[8:])

    async def _data(self, line: str) -> None:
        usual = b"354 go ahead\r\n" if self.session.rcpts else b"503 5.5.1 RCPT first\r\n"
        said = await self._happen("DATA", line, usual)
        if not said.startswith(b"354"):
            return
        content = await self._content()
        await self._happen(
            "end", "", b"250 2.0.0 taken\r\n", lambda said: self._note(said, content)
        )
        await self.receiver._tell()

    def _note(self, said: bytes, content: bytes) -> None:
        session = self.session
        if said.startswith(b"2"):
            session.taken += 1
            self.receiver.messages.append(
                Received(
                    session.mail,
                    list(session.rcpts),
                    content,
                    session.client,
                    session.ehlo,
                    session.tls,
                    session.login,
                    time.monotonic(),
                )
            )
        session.mail, session.rcpts = "", []

    async def _content(self) -> bytes:
        receiver = self.receiver
        limit = receiver._content_limit or receiver._stall_after
        if limit is not None:
            await self.reader.readexactly(limit)
            if receiver._stall_after is not None:
                self.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.Event().wait()
            await self._happen("content", "", b"")
            raise _Close
        first = await self.reader.readexactly(3)
        raw = first if first == b".\r\n" else first + await self.reader.readuntil(b"\r\n.\r\n")
        self.session.raw = raw
        await receiver._tell()
        # What the peer stuffed is undone here by hand, octet by octet, independently of relay.
        lines = raw[: -len(b".\r\n")].split(b"\r\n")
        return b"\r\n".join(line.removeprefix(b".") for line in lines)

    async def _rset(self, line: str) -> None:
        self.session.mail, self.session.rcpts = "", []
        await self._happen("RSET", line, b"250 2.0.0 ok\r\n")

    async def _quit(self, line: str) -> None:
        self.session.ended_with_quit = True
        await self._happen("QUIT", line, b"221 2.0.0 bye\r\n")
        raise _Close
