"""Work of a fixed amount that is like relay's: what the guard compares relay's CPU with.

One unit stands for one message of 4 KB: records through a TLS connection and a share of a
handshake, parsing and building of header lines in plain Python, a durable insert and a delete in
SQLite, and an RSA-2048 signature, each about as much as a message takes. It imports nothing of
relay's, so that no change to relay changes it. It runs at the same time as relay, on the same
cores: a neighbour, a lower clock or a cold cache slows both alike, and the ratio stays.

    python -m bench.reference          works until its input ends; prints units and CPU seconds
"""

import json
import re
import selectors
import sqlite3
import ssl
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from bench.systems.tls import write_certificate

_CONTENT = b"VGhpcyBpcyBhIGxpbmUgb2YgYSBtZXNzYWdlIG9mIHRoZSByZWZlcmVuY2UgbG9hZC4gSXQgaXM=\r\n" * 50
_FIELD = re.compile(rb"([!-9;-~]+):((?:.*\r\n)(?:[ \t].*\r\n)*)")
_HEADER = b"".join(
    b"%s: <value-%d.of.some.length@sender.test> and a second word\r\n" % (name, number)
    for number, name in enumerate(
        (b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type")
    )
)
_UNITS_A_HANDSHAKE = 10  # as messages a connection in the base load
_UNITS_A_COMMIT = 3
_PARSES = 12


class Reference:
    """Holds what the units need; `unit` does one."""

    def __init__(self, directory: Path) -> None:
        write_certificate(directory)
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        self._client = ssl.create_default_context(cafile=directory / "ca.pem")
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._padding, self._hash = padding.PKCS1v15(), SHA256()
        self._database = sqlite3.connect(directory / "reference.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, head, body)")
        self._done = 0

    def unit(self) -> None:
        """The work of one message."""
        if self._done % _UNITS_A_HANDSHAKE == 0:
            self._connect()
        self._transfer()
        head = b""
        for _ in range(_PARSES):
            head = self._head()
        self._store(head)
        self._key.sign(head, self._padding, self._hash)
        self._done += 1

    def _connect(self) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sender = self._client.wrap_bio(down, up, server_hostname="localhost")
        self._receiver = self._server.wrap_bio(up, down, server_side=True)
        waiting = [self._sender, self._receiver]
        while waiting:
            for side in tuple(waiting):
                try:
                    side.do_handshake()
                    waiting.remove(side)
                except ssl.SSLWantReadError:
                    continue

    def _transfer(self) -> None:
        for command in (
            b"MAIL FROM:<a@sender.test>\r\n",
            b"RCPT TO:<b@dest.test>\r\n",
            b"DATA\r\n",
        ):
            self._sender.write(command)
            self._receiver.read(65536)
            self._receiver.write(b"250 2.0.0 Ok\r\n")
            self._sender.read(65536)
        self._sender.write(_CONTENT)
        self._receiver.read(65536)

    def _head(self) -> bytes:
        fields = {found[1].lower(): found[2].strip() for found in _FIELD.finditer(_HEADER)}
        fields[b"received"] = formatdate(1.7e9 + self._done).encode()
        return b"".join(b"%s: %s\r\n" % field for field in sorted(fields.items()))

    def _store(self, head: bytes) -> None:
        first = self._done % _UNITS_A_COMMIT == 0
        if first:
            self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("INSERT INTO message VALUES (?, ?, ?)", (self._done, head, _CONTENT))
        self._database.execute("DELETE FROM message WHERE id = ?", (self._done - 20,))
        if self._done % _UNITS_A_COMMIT == _UNITS_A_COMMIT - 1:
            self._database.execute("COMMIT")


def main() -> None:
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    with tempfile.TemporaryDirectory(prefix="bench-reference-") as name:
        reference = Reference(Path(name))
        for _ in range(100):
            reference.unit()
        print("ready", flush=True)
        units, before = 0, time.process_time()
        while not selector.select(timeout=0):
            reference.unit()
            units += 1
        print(json.dumps({"units": units, "cpu": time.process_time() - before}))


if __name__ == "__main__":
    main()
