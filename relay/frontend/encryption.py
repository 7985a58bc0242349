"""The server's side of TLS on one connection: octets in, octets out. Sans I/O.

Not the TLS of the event loop, which costs some 40 KB for each idle connection (with plain asyncio
280 KB) where this costs 15, and a fifth of the time of a handshake more. What is received goes in a
record at a time, so that no buffer of a connection grows with what passes through it.
"""

import ssl

_RECORD = 16_384  # RFC 8446 §5.1


class Encryption:
    """Feed it what comes, send what `outgoing` gives; the handshake is over when it says so."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "is_established", "is_over")

    def __init__(self, context: ssl.SSLContext) -> None:
        self.is_established = False
        self.is_over = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def version(self) -> str:
        """The version of TLS, as `TLSv1.3`."""
        return self._tls.version() or "TLS"

    def decrypt(self, octets: memoryview) -> bytes:
        """The content of what came. Raises `ssl.SSLError`.

        During the handshake there is none. `is_over` when the client has said goodbye.
        """
        content: list[bytes] = []
        for start in range(0, len(octets), _RECORD):
            self._incoming.write(octets[start : start + _RECORD])
            self._read_into(content)
        return content[0] if len(content) == 1 else b"".join(content)

    def encrypt(self, octets: bytes) -> None:
        """Put content into what is outgoing."""
        sent = self._tls.write(octets)
        while sent < len(octets):  # a record at a time
            sent += self._tls.write(octets[sent:])

    def say_goodbye(self) -> None:
        """Put the end of the stream into what is outgoing, if there ever was a stream."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # the client's goodbye is not waited for

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return self._outgoing.read()

    def _read_into(self, content: list[bytes]) -> None:
        incoming, read = self._incoming, self._tls.read
        try:
            if not self.is_established:
                self._tls.do_handshake()
                self.is_established = True
            while incoming.pending:
                octets = read(_RECORD)
                if not octets:
                    self.is_over = True
                    return
                content.append(octets)
        except ssl.SSLWantReadError:
            return
