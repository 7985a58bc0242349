"""A receiving SMTP server in a thread: records what arrives, from where and when.

Plain and quick (no TLS), so that thousands of messages can be counted. `behave` may be replaced at
any time by a function from (stage, text) to a reply line; None means the ordinary reply, and
`DROP` closes the connection.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

DROP = "DROP"
Behaviour = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Received:
    """One message that was taken."""

    source: str
    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    at: float

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
    """Listens on 127.0.0.1 while it is open."""

    def __init__(self, port: int = 0) -> None:
        self.messages: list[Received] = []
        self.connections = 0
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

    def ids(self) -> list[str]:
        """The Message-IDs that arrived, in order, repeats included."""
        return [message.header("Message-ID") for message in list(self.messages)]

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            await asyncio.sleep(0)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class _Session(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._in_data = False
        self._forget()

    def _forget(self) -> None:
        self._reverse_path = ""
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.connections += 1
        self._reply("connect", "", "220 sink.test ESMTP")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._transport.is_closing():
            if self._in_data:
                content, end, rest = self._buffer.partition(b"\r\n.\r\n")
                if not end:
                    if self._receiver.behave("in-data", "") == DROP:
                        self._transport.abort()
                    return
                self._buffer = rest
                self._take(content + b"\r\n")
            else:
                line, end, rest = self._buffer.partition(b"\r\n")
                if not end:
                    return
                self._buffer = rest
                self._command(line.decode("utf-8", "replace"))

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        if verb in ("EHLO", "HELO"):
            self._reply("ehlo", line, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE")
        elif verb == "MAIL":
            self._forget()
            self._reverse_path = line.partition("<")[2].partition(">")[0]
            self._reply("mail", line, "250 2.1.0 Ok")
        elif verb == "RCPT":
            if self._reply("rcpt", line, "250 2.1.5 Ok").startswith("2"):
                self._recipients.append(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA":
            ordinary = "354 Go ahead" if self._recipients else "554 5.5.1 No recipients"
            self._in_data = self._reply("data", line, ordinary).startswith("354")
        elif verb == "QUIT":
            self._reply("quit", line, "221 2.0.0 Bye")
            self._transport.close()
        else:
            self._reply("other", line, "250 2.0.0 Ok")

    def _take(self, content: bytes) -> None:
        self._in_data = False
        unstuffed = content.replace(b"\r\n..", b"\r\n.")
        if unstuffed.startswith(b".."):
            unstuffed = unstuffed[1:]
        message = Received(
            self._transport.get_extra_info("peername")[0],
            self._reverse_path,
            tuple(self._recipients),
            unstuffed,
            time.monotonic(),
        )
        reply = self._receiver.behave("final", message.header("Message-ID"))
        if reply is None or reply == DROP or reply.startswith("2"):
            # A connection that drops after the final dot has taken the message all the same.
            self._receiver.messages.append(message)
        if reply == DROP:
            self._transport.abort()
        else:
            self._transport.write((reply or "250 2.0.0 Ok taken").encode() + b"\r\n")
        self._forget()

    def _reply(self, stage: str, text: str, ordinary: str) -> str:
        reply = self._receiver.behave(stage, text) or ordinary
        if reply == DROP:
            self._transport.abort()
        else:
            self._transport.write(reply.encode() + b"\r\n")
        return reply
