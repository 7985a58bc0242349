"""POST requests over connections that are kept, with every step bounded. Thin I/O.

h11 reads and writes HTTP/1.1; httpx costs thirteen times as much CPU for a request, and each event
is one. Certificates are checked, redirects are not followed, no proxy of the environment is used.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import h11

from relay.mail.enhanced import printable_text

MOST_ANSWER = 64 * 1024
_MOST_SAID = 200
_IDLE_S = 30.0
_BLOCK = 64 * 1024

Locate = Callable[[str, int], Awaitable[Sequence[str]]]


class HttpError(Exception):
    """No answer came; the text says why, as a clause."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`retry_after` in seconds, where it was said; `text` is the beginning of the body, made
    harmless."""

    status: int
    retry_after: float | None
    text: str


class _Stale(Exception):
    """A connection that was kept had ended before anything was answered."""


class HttpClient:
    """For one URL. `locate` gives the addresses to connect to, and raises what keeps it from it;
    `context` checks the certificate (None for http); `timeout` in seconds is for all of a request.
    """

    def __init__(
        self, url: str, locate: Locate, context: ssl.SSLContext | None, timeout: float
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._context = context
        self._port = parts.port or (443 if context else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._named = parts.netloc.rpartition("@")[2]
        self._locate = locate
        self._timeout = timeout
        self._idle: deque[_Connection] = deque()

    async def post(self, headers: Mapping[str, str], content: bytes) -> HttpAnswer:
        """The answer. Raises `HttpError`."""
        request = h11.Request(
            method="POST",
            target=self._target,
            headers=[
                ("Host", self._named),
                ("Content-Length", str(len(content))),
                *headers.items(),
            ],
        )
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(request, content)
        except TimeoutError:
            raise HttpError(f"did not answer within {self._timeout:g} seconds") from None
        except h11.RemoteProtocolError as error:
            raise HttpError(
                f"does not speak HTTP: {printable_text(str(error), _MOST_SAID)}"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise HttpError(f"its certificate is not valid: {error.verify_message}") from error
        except OSError as error:
            raise HttpError(f"no connection: {error.strerror or error}") from error

    async def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, request: h11.Request, content: bytes) -> HttpAnswer:
        """Over a connection that is kept, or a new one. What was kept may have ended meanwhile: the
        request is made again then, which may tell an event twice and never loses one."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(now):
                try:
                    return await self._over(connection, request, content)
                except _Stale:
                    continue
            connection.close()
        try:
            return await self._over(await self._connect(), request, content)
        except _Stale:
            raise HttpError("closed the connection without an answer") from None

    async def _over(
        self, connection: "_Connection", request: h11.Request, content: bytes
    ) -> HttpAnswer:
        kept = False
        try:
            answer = await connection.exchange(request, content)
            kept = connection.renew()
        finally:
            if kept:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    async def _connect(self) -> "_Connection":
        """To the first address that can be had. One that is silent leaves time for the next."""
        addresses = await self._locate(self._host, self._port)
        failure: OSError | None = None
        for number, address in enumerate(addresses, 1):
            is_last = number == len(addresses)
            try:
                async with asyncio.timeout(
                    None if is_last else self._timeout / (len(addresses) + 1)
                ):
                    reader, writer = await asyncio.open_connection(
                        address,
                        self._port,
                        ssl=self._context,
                        server_hostname=self._host if self._context else None,
                    )
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:  # so is a TimeoutError
                failure = error
                continue
            return _Connection(reader, writer)
        raise failure or OSError("the host has no address")


class _Connection:
    """One connection, with one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._idle_since = 0.0
        self._answered = 0

    def is_usable(self, now: float) -> bool:
        """Kept not too long, and not ended."""
        return now - self._idle_since < _IDLE_S and not self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()

    def renew(self) -> bool:
        """Make ready for another request; whether that can be."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._idle_since = asyncio.get_running_loop().time()
        self._answered += 1
        return True

    async def exchange(self, request: h11.Request, content: bytes) -> HttpAnswer:
        http = self._http
        octets = http.send(request) or b""
        octets += (http.send(h11.Data(data=content)) or b"") + (
            http.send(h11.EndOfMessage()) or b""
        )
        try:
            self._writer.write(octets)
            response = await self._response()
        except (ConnectionError, EOFError) as error:
            raise _Stale from error
        body = bytearray()
        while len(body) < MOST_ANSWER:
            event = await self._next()
            if isinstance(event, h11.Data):
                body += event.data
            else:
                break
        return HttpAnswer(
            response.status_code,
            _retry_after(dict(response.headers.raw_items()), datetime.now(UTC)),
            printable_text(body[: 4 * _MOST_SAID].decode("utf-8", "replace"), _MOST_SAID),
        )

    async def _response(self) -> h11.Response:
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise EOFError

    async def _next(self) -> object:
        """The next event of the answer."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            octets = await self._reader.read(_BLOCK)
            if not octets and self._http.their_state is h11.SEND_RESPONSE:
                raise EOFError
            self._http.receive_data(octets)


def _retry_after(headers: Mapping[bytes, bytes], now: datetime) -> float | None:
    """RFC 9110 §10.2.3: seconds, or a date."""
    lower = {name.lower(): value for name, value in headers.items()}
    text = lower.get(b"retry-after", b"").decode("ascii", "replace").strip()
    if text.isdigit() and len(text) < 10:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # numbers of any length are read
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
