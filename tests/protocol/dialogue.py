"""Dialogues with a server, written as they are spoken, and the player that speaks them.

A script has one step a line:

    C: TEXT    the client sends TEXT and CRLF; escapes as in Python (`\\r`, `\\n`, `\\0`, `\\x80`)
    C- TEXT    the same without the CRLF
    S: TEXT    the server gives one reply that begins with TEXT (or, with `|`, with one of several)
    TLS        both do the TLS handshake
    CLOSED     the server closes the connection, and says nothing more
    DEAD       the connection is of no more use: closed, reset, or silent until the time is over;
               at most a TLS alert says why
    MAIL n     the server has accepted n messages since the dialogue began

Consecutive `C` lines go out in one write, so they are pipelined. `{sender}`, `{recipient}`,
`{plain}` and the other fields of `Server` are filled in. Nothing here knows the server but by its
address: the same table runs against a front end in this process, the whole program, or another
host.
"""

import base64
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CONNECTED = "S: 220 "
GREETED = f"{CONNECTED}\nC: EHLO client.test\nS: 250"
ENCRYPTED = f"{GREETED}\nC: STARTTLS\nS: 220\nTLS\nC: EHLO client.test\nS: 250"
LOGGED_IN = f"{ENCRYPTED}\nC: AUTH PLAIN {{plain}}\nS: 235 2.7.0"
IN_MAIL = f"{LOGGED_IN}\nC: MAIL FROM:<{{sender}}>\nS: 250 2.1.0"
IN_DATA = f"{IN_MAIL}\nC: RCPT TO:<{{recipient}}>\nS: 250 2.1.5\nC: DATA\nS: 354"


@dataclass(frozen=True)
class Mail:
    """A message that the server accepted, as it will send it on (trace fields aside)."""

    reverse_path: str
    recipients: tuple[str, ...]
    header: bytes
    body: bytes


@dataclass(frozen=True)
class Server:
    """A server under test: where it is, who may log in, what it allows, what it accepted.

    It must be configured with `BOUNDS`, the credential, and `sender` as an identity of it.
    """

    host: str
    port: int
    implicit_port: int
    tls: ssl.SSLContext
    accepted: Callable[[], list[Mail]]
    username: str = "app"
    password: str = "correct horse battery staple"
    sender: str = "a@sender.test"
    recipient: str = "b@example.test"
    patience: float = 10.0

    @property
    def fields(self) -> dict[str, object]:
        return {
            "sender": self.sender,
            "recipient": self.recipient,
            "username": self.username,
            "plain": _base64(f"\0{self.username}\0{self.password}"),
            "username64": _base64(self.username),
            "password64": _base64(self.password),
            **BOUNDS,
        }


BOUNDS: dict[str, object] = {
    "message_size": 100_000,
    "header_size": 20_000,
    "recipients": 10,
    "messages_per_session": 12,
    "failed_logins": 3,
    "failed_login_delay": "10ms",
    "block_after": 100_000,
    "connections_per_client": 1_000,
    "login_timeout": "60s",
}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass(frozen=True)
class Case:
    """A dialogue and the sentence that it shows."""

    name: str
    script: str
    implicit_tls: bool = False


@dataclass
class Player:
    """Plays one case against a server; an `AssertionError` tells the step that went wrong."""

    server: Server
    implicit_tls: bool = False
    transcript: list[str] = field(default_factory=list)

    def play(self, script: str) -> None:
        before = len(self.server.accepted())
        port = self.server.implicit_port if self.implicit_tls else self.server.port
        with socket.create_connection((self.server.host, port), self.server.patience) as connection:
            self._socket: socket.socket = connection
            self._input = b""
            if self.implicit_tls:
                self._handshake()
            self._outgoing = b""
            for step in script.strip().splitlines():
                self._step(step, before)
            self._flush()
            self._socket.close()

    def _step(self, step: str, before: int) -> None:
        kind, text = step[:2], step[3:]
        if kind in ("C:", "C-"):
            self._outgoing += self._octets(text) + (b"\r\n" if kind == "C:" else b"")
            return
        self._flush()
        if kind == "S:":
            reply = self.reply()
            wanted = text.format_map(self.server.fields).split("|")
            assert reply.startswith(tuple(wanted)), self._story(f"wanted {text!r}, got {reply!r}")
        elif step == "TLS":
            self._handshake()
        elif step == "CLOSED":
            more = self._receive()
            assert more == b"", self._story(f"wanted the end, got {more!r}")
        elif step == "DEAD":
            more = self._receive_nothing()
            assert more[:1] in (b"", b"\x15"), self._story(f"wanted nothing, got {more!r}")
        elif kind == "MA":
            wanted = int(step.split()[1])
            count = self._count_accepted(before, wanted)
            assert count == wanted, self._story(f"{count} messages were accepted")
        else:
            raise ValueError(f"unknown step {step!r}")

    def _count_accepted(self, before: int, wanted: int) -> int:
        """A server may show late what it accepted; wait for as many as are wanted, not for none."""
        until = time.monotonic() + self.server.patience
        while True:
            count = len(self.server.accepted()) - before
            if count >= wanted or time.monotonic() > until:
                return count
            time.sleep(0.02)

    def _octets(self, text: str) -> bytes:
        raw = text.replace("\\{", "\x01").replace("\\}", "\x02")
        raw = raw.format_map(self.server.fields).replace("\x01", "{").replace("\x02", "}")
        return raw.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")

    def _flush(self) -> None:
        if self._outgoing:
            self.transcript.append(f"C: {self._outgoing[:200]!r}")
            octets, self._outgoing = self._outgoing, b""
            try:
                self._socket.sendall(octets)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.transcript.append("(the server does not listen any more)")

    def _handshake(self) -> None:
        self._socket = self.server.tls.wrap_socket(self._socket, server_hostname="localhost")

    def reply(self) -> str:
        """One whole reply: code, text of the lines joined. Checks the form of each line."""
        lines: list[str] = []
        while True:
            while b"\n" not in self._input:
                more = self._receive()
                assert more, self._story("the server closed where a reply was due")
                self._input += more
            line, _, self._input = self._input.partition(b"\n")
            assert line.endswith(b"\r"), self._story(f"a line without CR: {line!r}")
            assert len(line) < 512, self._story(f"a line of {len(line) + 1} octets")
            text = line[:-1].decode("ascii")
            assert text.isprintable(), self._story(f"control characters: {text!r}")
            assert text[:3].isdigit(), self._story(f"no code: {text!r}")
            lines.append(text)
            if text[3:4] != "-":
                break
        assert len({line[:3] for line in lines}) == 1, self._story(f"codes differ: {lines}")
        reply = lines[0][:4].replace("-", " ") + "\n".join(line[4:] for line in lines)
        self.transcript.append(f"S: {reply}")
        return reply

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65_536)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def _receive_nothing(self) -> bytes:
        self._socket.settimeout(0.5)
        try:
            return self._receive()
        except (TimeoutError, ssl.SSLError):
            return b""

    def _story(self, problem: str) -> str:
        return "\n".join([problem, *self.transcript[-20:]])
