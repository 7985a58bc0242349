"""The other end of the control socket: a synchronous client for the command line.

Each call is one connection, so nothing is kept. Failures are `NotRunning` (no relay listens
there), `NotAllowed` (another user's relay) or `Refused` with the relay's own sentence.
"""

import errno
import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from relay.admin.control import RefusalKind, Refused
from relay.admin.control_socket import control_socket, reachable
from relay.admin.endpoints import EXPORT, Endpoint, LiveEndpoint
from relay.store.values import SuppressionEntry

Q = TypeVar("Q")
A = TypeVar("A")

_LARGEST_ANSWER = 256_000_000


class NotRunning(Exception):
    """No relay answers on the control socket."""


class NotAllowed(Exception):
    """The control socket belongs to another user."""


@dataclass(frozen=True, slots=True)
class _Fault:
    error: str
    kind: RefusalKind = "internal"


class Client:
    """Asks the relay whose data directory is `data_dir`. `timeout` is in seconds, for each read:
    a relay that is busy may take its time with a large queue."""

    def __init__(self, data_dir: Path, *, timeout: float = 60.0) -> None:
        self._path = control_socket(data_dir)
        self._timeout = timeout

    def call(self, endpoint: Endpoint[Q, A] | LiveEndpoint[Q, A], question: Q) -> A:
        """Ask one question. Raises `NotRunning`, `NotAllowed` or `Refused`."""
        try:
            asked = msgspec.json.encode(question)
        except UnicodeEncodeError as error:  # octets of a command line or a file
            raise Refused(f"{error.object!a} is not UTF-8") from None
        with closing(self._request("POST", endpoint.path, asked)) as reply:
            body = self._read(reply)
        return _decoded(body, endpoint.answer)

    @contextmanager
    def suppressions(self) -> Iterator[Iterator[SuppressionEntry]]:
        """The whole suppression list, as it arrives."""
        with closing(self._request("GET", EXPORT, b"")) as reply:
            yield _entries(reply.response)

    def is_running(self) -> bool:
        """Whether a relay accepts connections there."""
        try:
            self._connect().close()
        except NotRunning:
            return False
        return True

    def _request(self, method: str, path: str, body: bytes) -> "_Reply":
        connection = http.client.HTTPConnection("localhost", timeout=self._timeout)
        connection.sock = self._connect()
        try:
            # A relay that has heard enough answers, and closes before it has read all.
            with suppress(BrokenPipeError):
                connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
        except TimeoutError:
            connection.close()
            raise Refused(
                f"the relay did not answer within {self._timeout:.0f} s; its log may say why",
                "unavailable",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Refused(
                f"the relay went away while it was asked ({error or type(error).__name__})",
                "unavailable",
            ) from None
        reply = _Reply(connection, response)
        if response.status != 200:
            with closing(reply):
                raise _refused(self._read(reply), response.status)
        return reply

    def _read(self, reply: "_Reply") -> bytes:
        try:
            body = reply.response.read(_LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"the relay's answer was cut off: {error}", "unavailable") from None
        return body

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            with reachable(self._path) as name:
                connection.connect(name)
        except PermissionError:
            connection.close()
            raise NotAllowed(
                f"{self._path} may be used by another user only; "
                f"run this command as the user that relay runs as{_user_of(self._path)}"
            ) from None
        except OSError as error:
            connection.close()
            if error.errno in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR, errno.ENOTSOCK}:
                raise NotRunning(
                    f"no relay is running on {self._path.parent}; start it with `relay serve`"
                ) from None
            raise Refused(f"cannot reach {self._path}: {error.strerror}", "unavailable") from None
        return connection


class _Reply:
    """A response and the connection that it holds open."""

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self.response = response

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def _entries(lines: http.client.HTTPResponse) -> Iterator[SuppressionEntry]:
    decoder = msgspec.json.Decoder(SuppressionEntry)
    try:
        for line in lines:
            yield decoder.decode(line)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise Refused(f"the relay stopped in the middle of the list: {error}") from error


def _refused(body: bytes, status: int) -> Refused:
    try:
        fault = msgspec.json.decode(body, type=_Fault)
    except msgspec.MsgspecError:
        return Refused(f"the relay answered HTTP {status}; its log may say why", "internal")
    return Refused(fault.error, fault.kind)


def _decoded(body: bytes, answer: type[A]) -> A:
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.MsgspecError as error:
        raise Refused(
            f"the running relay's answer is not understood ({error}); "
            "is it of the same version as this command?",
            "internal",
        ) from None


def _user_of(path: Path) -> str:
    try:
        return f" ({path.parent.owner()})"
    except (OSError, KeyError):
        return ""
