"""A receiving SMTP server in a thread: records what arrives, from where and when.

Plain and quick (no TLS), so that thousands of messages can be counted. `behave` may be replaced at
any time by a function from (stage, text) to what is answered; None means the ordinary reply. The
stages: connect, ehlo, mail, rcpt, data, in-data (once for each chunk), final, quit, other.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Later:
    """Answer after some seconds; nothing that comes meanwhile is looked at."""

    seconds: float
    reply: "str | bytes | None" = None


DROP = "DROP"  # cut the connection; after the final dot the message has been taken all the same
SILENCE = "SILENCE"  # never answer; at "in-data" also: read no further
Action = str | bytes | Later | None  # bytes go out as they are, a str as a reply line
Behaviour = Callable[[str, str], Action]

_END = b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Received:
    """One message that was taken. Without its body where the receiver keeps none."""

    source: str
    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    at: float
    body_size: int = 0
    body_sha256: str = ""

    def header(self, name: str) -> str:
        """The first field of that name, unfolded; `""` where there is none."""
        lines = self.content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        for number, line in enumerate(lines):
            if line.lower().startswith(f"{name.lower()}:"):
                value = line.partition(":")[2]
                for more in lines[number + 1 :]:
                    if not more.startswith((" ", "\t")):
                        break
                    value += more
                return value.strip()
        return ""


class Receiver:
    """Listens on 127.0.0.1 while it is open. Without `keep_bodies` it keeps only their digests."""

    def __init__(self, port: int = 0, *, keep_bodies: bool = True) -> None:
        self.messages: list[Received] = []
        self.connections = 0
        self._sessions: set[_Session] = set()
        self.keep_bodies = keep_bodies
        self.behave: Behaviour = lambda stage, text: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(self._listen(port))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self, port: int) -> asyncio.Server:
        return await self._loop.create_server(
            lambda: _Session(self), "127.0.0.1", port, reuse_address=True, backlog=1024
        )

    async def _stop_listening(self) -> None:
        self._server.close()

    def pause(self) -> None:
        """Stop listening; the port refuses connections until `resume`."""
        self._call(self._stop_listening())

    def resume(self) -> None:
        self._server = self._call(self._listen(self.port))

    @property
    def open_connections(self) -> int:
        return len(self._sessions)

    def ids(self) -> list[str]:
        """The Message-IDs that arrived, in order, repeats included."""
        return [message.header("Message-ID") for message in list(self.messages)]

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            for session in tuple(self._sessions):
                session.end()
            while self._sessions:
                await asyncio.sleep(0)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class _Content:
    """A message while it arrives: unstuffed piece by piece, whatever its size."""

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._wire = b"\r\n"  # the end of the DATA line: the first line may begin with a dot
        self._first = True
        self._head = bytearray()
        self._header_ended = False
        self._pieces: list[bytes] = []
        self._digest = hashlib.sha256()
        self._size = 0

    def feed(self, data: bytes) -> bytes | None:
        """What follows the end of the message; None while it has not come."""
        self._wire += data
        content, end, rest = self._wire.partition(_END)
        if end:
            self._take(content + b"\r\n")
            return rest
        # What may be the beginning of the end, or of a stuffed line, waits for the next chunk.
        held = next((n for n in (4, 3, 2, 1) if self._wire.endswith(_END[:n])), 0)
        cut = len(self._wire) - held
        self._take(self._wire[:cut])
        self._wire = self._wire[cut:]
        return None

    def _take(self, wire: bytes) -> None:
        piece = wire.replace(b"\r\n..", b"\r\n.")
        if self._first and piece:
            self._first = False
            piece = piece.removeprefix(b"\r\n")
        if not self._header_ended:
            seen = max(0, len(self._head) - 3)
            self._head += piece
            at = self._head.find(b"\r\n\r\n", seen)
            if at < 0:
                return
            self._header_ended = True
            piece = bytes(self._head[at + 4 :])
            del self._head[at + 4 :]
        if self._keep:
            self._pieces.append(piece)
        self._digest.update(piece)
        self._size += len(piece)

    def received(self, source: str, reverse_path: str, recipients: list[str]) -> Received:
        return Received(
            source,
            reverse_path,
            tuple(recipients),
            b"".join((bytes(self._head), *self._pieces)),
            time.monotonic(),
            self._size,
            self._digest.hexdigest(),
        )


class _Session(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._content: _Content | None = None
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._forget()

    def _forget(self) -> None:
        self._in_mail = False
        self._reverse_path = ""
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connections += 1
        self._receiver._sessions.add(self)
        self._reply("connect", "", "220 sink.test ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver._sessions.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def _work(self) -> None:
        while self._buffer and not self._waiting and not self._transport.is_closing():
            if self._content is not None:
                data, self._buffer = self._buffer, b""
                rest = self._content.feed(data)
                if rest is not None:
                    self._buffer = rest
                    self._take(self._content)
                elif (action := self._receiver.behave("in-data", "")) is not None:
                    self._act(action)
            else:
                line, end, rest = self._buffer.partition(b"\r\n")
                if not end:
                    return
                self._buffer = rest
                self._command(line.decode("utf-8", "replace"))

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        if verb in ("EHLO", "HELO"):
            self._reply(
                "ehlo",
                line,
                "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE",
            )
        elif verb == "MAIL":
            self._forget()
            self._reverse_path = line.partition("<")[2].partition(">")[0]
            self._in_mail = self._reply("mail", line, "250 2.1.0 Ok").startswith("2")
        elif verb == "RCPT":
            ordinary = "250 2.1.5 Ok" if self._in_mail else "503 5.5.1 MAIL first"
            if self._reply("rcpt", line, ordinary).startswith("2"):
                self._recipients.append(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA":
            ordinary = "354 Go ahead" if self._recipients else "554 5.5.1 No recipients"
            if self._reply("data", line, ordinary).startswith("354"):
                self._content = _Content(self._receiver.keep_bodies)
        elif verb == "QUIT":
            self._reply("quit", line, "221 2.0.0 Bye")
            self._transport.close()
        else:
            self._reply("other", line, "250 2.0.0 Ok")

    def _take(self, content: _Content) -> None:
        self._content = None
        source = self._transport.get_extra_info("peername")[0]
        message = content.received(source, self._reverse_path, self._recipients)
        action = self._receiver.behave("final", message.header("Message-ID"))
        said = action.reply if isinstance(action, Later) else action
        if not isinstance(said, bytes) and (said in (None, DROP, SILENCE) or said[:1] == "2"):
            # Whether or not the reply comes through, the message has been taken.
            self._receiver.messages.append(message)
        self._act("250 2.0.0 Ok taken" if action is None else action, "250 2.0.0 Ok taken")
        self._forget()

    def _reply(self, stage: str, text: str, ordinary: str) -> str:
        """Answer; what was said, as far as it counts as a reply."""
        action = self._receiver.behave(stage, text)
        self._act(ordinary if action is None else action, ordinary)
        if isinstance(action, Later):
            action = action.reply
        return ordinary if action is None else action if isinstance(action, str) else ""

    def _act(self, action: "str | bytes | Later", ordinary: str = "") -> None:
        if isinstance(action, Later):
            reply = ordinary if action.reply is None else action.reply
            self._wait()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(action.seconds, self._go_on, reply)
        elif action == DROP:
            self._transport.abort()
        elif action == SILENCE:
            self._wait()
        elif isinstance(action, bytes):
            self._transport.write(action)
        elif action:
            self._transport.write(action.encode() + b"\r\n")
            if action.startswith("421"):
                self._transport.close()

    def _wait(self) -> None:
        self._waiting = True
        self._transport.pause_reading()

    def _go_on(self, reply: "str | bytes") -> None:
        self._waiting = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._act(reply)
            self._work()
