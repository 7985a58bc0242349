"""The door between supervisor and worker: accepted connections go through it.

A pair of Unix sockets that keep messages apart. Each message is a `Visit` with the file descriptor
of its connection (SCM_RIGHTS). The worker acknowledges each one that it takes out, with an octet;
until then the supervisor keeps the connection, and finds another worker for it if this one dies.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec

from relay.frontend.visit import Visit

_TAKEN = b"."
_LONGEST = 4_096
_BATCH = 16  # connections taken before other work has its turn

Adopt = Callable[[Visit, socket.socket], None]

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Visit)


def door_pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def taken(door: socket.socket) -> int:
    """How many connections the worker has taken out since this was last asked."""
    count = 0
    with suppress(BlockingIOError, ConnectionError):
        while door.recv(_LONGEST):
            count += 1
    return count


def pass_through(door: socket.socket, visit: Visit, connection: socket.socket) -> bool:
    """Hand a connection over; False where the worker takes none out, or is gone."""
    try:
        socket.send_fds(door, [_encode(visit)], [connection.fileno()])
    except (BlockingIOError, ConnectionError, TimeoutError):
        return False
    except OSError as error:
        if error.errno in (errno.ENOBUFS, errno.ETOOMANYREFS, errno.EMFILE):
            return False
        raise
    return True


class DoorEnd:
    """The worker's end."""

    def __init__(self, door: socket.socket) -> None:
        door.setblocking(False)
        self._door = door
        self._loop = asyncio.get_running_loop()

    def open(self, adopt: Adopt, lost: Callable[[Visit], None]) -> None:
        """Give every connection that comes to `adopt`, or tell `lost` of one that did not fit."""
        self._adopt, self._lost = adopt, lost
        self._loop.add_reader(self._door.fileno(), self._take)

    def close(self) -> None:
        """Take no more. What is in the door is closed with it."""
        if self._door.fileno() >= 0:
            self._loop.remove_reader(self._door.fileno())
            self._door.close()

    def _take(self) -> None:
        for _ in range(_BATCH):
            try:
                octets, descriptors, _, _ = socket.recv_fds(self._door, _LONGEST, 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                octets = b""
            if not octets:  # the supervisor is gone; the line says so too
                self.close()
                return
            with suppress(OSError):  # a supervisor that is gone needs no acknowledgement
                self._door.send(_TAKEN)
            visit = _decoder.decode(octets)
            if not descriptors:  # this process has as many open as it may have
                self._lost(visit)
                continue
            connection = socket.socket(fileno=descriptors[0])
            connection.setblocking(False)
            self._adopt(visit, connection)
