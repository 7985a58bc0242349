"""The mailbox simulator of a worker: a receiving server that only this process can reach.

`connect` gives one end of a pair of sockets to whoever delivers; at the other end a session speaks
SMTP (RFC 5321) with what the relay itself says: pipelined commands, one transaction after the
other. Nothing is bound to an address, so nobody else can come, and no firewall, source address or
name server is in the way. What `relay.mail.simulated` promises is done; content is read to its end
and thrown away.

Two things are not decided here: whether a message has come before, which all workers together know,
and what follows where a mailbox answers or complains.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from relay.mail.replies import Reply
from relay.mail.simulated import Sequel, Simulated, simulated

IsFirst = Callable[[str], Awaitable[bool]]
"""Whether somebody (a reverse-path and a recipient, in one word) comes for the first time."""
Follow = Callable[[Sequel, str, str], Awaitable[bool]]
"""Have something follow for a reverse-path and a recipient; False where that cannot be now."""

_LONGEST_LINE = 65_536
_SILENCE = 900.0  # seconds; the relay closes idle connections long before
_END = b"\r\n.\r\n"
_PATH = re.compile(r"(?:MAIL FROM|RCPT TO):<(.*)>[^>]*", re.IGNORECASE | re.DOTALL)

_OK = Reply(250, "2.0.0", "Ok")
_TAKEN = Reply(250, "2.0.0", "Ok simulated")
_BYE = Reply(221, "2.0.0", "Bye")
_GO_ON = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
_NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
_BAD_SEQUENCE = Reply(503, "5.5.1", "MAIL first")
_MALFORMED = Reply(501, "5.5.4", "The path is malformed")
_UNKNOWN_COMMAND = Reply(502, "5.5.1", "Command not implemented")
_NOT_NOW = Reply(451, "4.3.0", "What is to follow cannot be seen to now")


class InsideSimulator:
    """Made in a running loop. `hostname` is the relay's."""

    def __init__(self, hostname: str, is_first: IsFirst, follow: Follow) -> None:
        self._name = f"simulator.{hostname}"
        self._is_first = is_first
        self._follow = follow
        self._sessions: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<InsideSimulator {self._name}, {len(self._sessions)} sessions>"

    def connect(self) -> socket.socket:
        """A connection to the simulator. Raises `OSError` where there are no descriptors left."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        task = asyncio.create_task(self._serve(theirs), name="mailbox simulator")
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)
        return ours

    async def close(self) -> None:
        """End all sessions."""
        for task in tuple(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, sock: socket.socket) -> None:
        """One session, until the relay leaves. That it goes away in the middle is its right."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=_LONGEST_LINE)
        session = _Session(self._name, reader, writer, self._is_first, self._follow)
        try:
            with suppress(OSError, EOFError, TimeoutError):
                await session.run()
        finally:
            writer.close()


@dataclass(slots=True)
class _Transaction:
    reverse_path: str
    recipients: list[tuple[str, Simulated]] = field(default_factory=list)


class _Session:
    """One connection, command by command."""

    def __init__(
        self,
        name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_first: IsFirst,
        follow: Follow,
    ) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer
        self._is_first = is_first
        self._follow = follow
        self._transaction: _Transaction | None = None

    async def run(self) -> None:
        """Raises `EOFError` or `OSError` where the connection ends, `TimeoutError` where nothing is
        said."""
        self._say(f"220 {self._name} ESMTP relay mailbox simulator")
        verb = ""
        while verb != "QUIT":
            async with asyncio.timeout(_SILENCE):
                line = await self._reader.readuntil(b"\r\n")
            command = line[:-2].decode("utf-8", "surrogateescape")
            verb = command.partition(" ")[0].upper()
            await self._obey(verb, command)
            await self._writer.drain()

    async def _obey(self, verb: str, command: str) -> None:
        match verb:
            case "EHLO":
                self._transaction = None
                for word in (self._name, "PIPELINING", "8BITMIME", "SMTPUTF8"):
                    self._say(f"250-{word}")
                self._say("250 ENHANCEDSTATUSCODES")
            case "MAIL":
                self._say(self._mail(command))
            case "RCPT":
                self._say(await self._recipient(command))
            case "DATA":
                await self._data()
            case "RSET" | "NOOP":
                self._transaction = None if verb == "RSET" else self._transaction
                self._say(_OK)
            case "QUIT":
                self._say(_BYE)
            case _:
                self._say(_UNKNOWN_COMMAND)

    def _mail(self, command: str) -> Reply:
        path = _PATH.fullmatch(command)
        self._transaction = None if path is None else _Transaction(path[1])
        return _MALFORMED if path is None else _OK

    async def _recipient(self, command: str) -> Reply:
        path = _PATH.fullmatch(command)
        if self._transaction is None or path is None:
            return _BAD_SEQUENCE if self._transaction is None else _MALFORMED
        address, mailbox = path[1], simulated(path[1])
        if mailbox.at_first is not None and await self._is_first(
            f"{self._transaction.reverse_path} {address}"
        ):
            return mailbox.at_first
        if mailbox.reply.is_positive:
            self._transaction.recipients.append((address, mailbox))
        return mailbox.reply

    async def _data(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is None or not transaction.recipients:
            self._say(_NO_RECIPIENTS)
            return
        self._say(_GO_ON)
        async with asyncio.timeout(_SILENCE):
            await self._read_content()
        await asyncio.sleep(max(mailbox.seconds for _, mailbox in transaction.recipients))
        self._say(await self._take(transaction))

    async def _read_content(self) -> None:
        while True:
            try:
                await self._reader.readuntil(_END)
            except asyncio.LimitOverrunError as more:
                await self._reader.readexactly(more.consumed)
            else:
                return

    async def _take(self, transaction: _Transaction) -> Reply:
        for address, mailbox in transaction.recipients:
            if mailbox.sequel and not await self._follow(
                mailbox.sequel, transaction.reverse_path, address
            ):
                return _NOT_NOW
        return _TAKEN

    def _say(self, reply: Reply | str) -> None:
        self._writer.write(f"{reply}\r\n".encode())
