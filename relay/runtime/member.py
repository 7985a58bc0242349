"""One worker as the supervisor sees it: its process, its line, its door, and what it holds.

Owns the process from its start to its end. What it holds of what is counted for all (connections,
sessions, claims) is noted here, to be given up in its name when it dies.
"""

import asyncio
import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

import relay
from relay.config.model import Logging
from relay.frontend.visit import Visit
from relay.limits.slots import OwnSeat, SlotGranted, SlotWanted
from relay.observe.logging import Logger
from relay.observe.merging import Family
from relay.runtime.door_line import door_pair, pass_through, taken
from relay.runtime.link import Handler, Link, connect
from relay.store.values import Owner

MOST_UNDER_WAY = 128
"""Connections in one door: so few that the acknowledgements of all of them fit into it. One that
was lost would leave a copy of a connection open here for as long as the worker lives."""


class Member:
    """Made by `start`. `is_ready` once it takes connections, until it is to end."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        door: socket.socket,
        has_room: Callable[[], None],
    ) -> None:
        self.name = name
        self.process = process
        self.link: Link
        self.owner: Owner | None = None
        self.visits: Counter[Visit] = Counter()
        self.logins: Counter[str] = Counter()
        self.seat: OwnSeat | None = None
        self.connections = 0
        self.stock: tuple[Family, ...] = ()
        self.is_ready = False
        self.buried = asyncio.Event()  # it is gone, and what it held is given up in its name
        self._door = door
        self._has_room = has_room
        self._is_full = False
        self._under_way: deque[tuple[Visit, socket.socket]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(door.fileno(), self._note_taken)

    def __repr__(self) -> str:
        return f"<Member {self.name} process {self.process.pid}, {self.connections} connections>"

    # What `relay.limits.slots` tells it

    def granted(self, line: str) -> None:
        self.link.tell(SlotGranted(line))

    def wanted(self, notice: SlotWanted) -> None:
        self.link.tell(notice)

    # Its connections and sessions

    def hand_over(self, visit: Visit, connection: socket.socket) -> bool:
        """Let it serve a connection; False where it cannot take one now."""
        full = len(self._under_way) >= MOST_UNDER_WAY
        if full or not pass_through(self._door, visit, connection):
            self._is_full = True
            return False
        self._under_way.append((visit, connection))
        self.visits[visit] += 1
        self.connections += 1
        return True

    def _note_taken(self) -> None:
        for _ in range(taken(self._door)):
            _, connection = self._under_way.popleft()
            connection.close()  # the worker has its own descriptor of it
        if self._is_full:
            self._is_full = False
            self._has_room()

    def take_back(self) -> list[tuple[Visit, socket.socket]]:
        """The connections that it was handed and never took."""
        under_way = list(self._under_way)
        self._under_way.clear()
        for visit, _ in under_way:
            self.has_closed(visit)
        return under_way

    def has_closed(self, visit: Visit) -> None:
        """A connection that it was handed is over."""
        self.connections -= 1
        self.visits[visit] -= 1
        if self.visits[visit] <= 0:
            del self.visits[visit]

    def has_logged_out(self, credential: str) -> None:
        """A session that it had counted is over."""
        self.logins[credential] -= 1
        if self.logins[credential] <= 0:
            del self.logins[credential]

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()

    def close(self) -> None:
        """Let go of line and door: a worker that still lives then ends by itself."""
        self.is_ready = False
        self.link.close()
        if self._door.fileno() >= 0:
            self._note_taken()
            self._loop.remove_reader(self._door.fileno())
            self._door.close()


async def start_member(
    name: str,
    handlers: Mapping[type, Handler],
    has_room: Callable[[], None],
    *,
    module: str,
    lock: int,
    logging: Logging,
    log: Logger,
) -> Member:
    """Start the process of a worker. Raises `OSError`.

    It runs `module`. `lock` is the descriptor of the data directory's lock, which it keeps open as
    long as it lives. `has_room` is called when it can take connections again after it could not.
    """
    line, its_line = socket.socketpair()
    door, its_door = door_pair()
    try:
        with its_line, its_door:
            process = await asyncio.create_subprocess_exec(
                *_command(module, name, its_line, its_door, logging),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(its_line.fileno(), its_door.fileno(), lock),
                # A terminal signals its whole process group: also one that is still importing, and
                # does not ignore it yet.
                start_new_session=True,
            )
    except BaseException:
        line.close()
        door.close()
        raise
    member = Member(name, process, door, has_room)
    member.link = await connect(line, lambda: Link(handlers, log.bind(worker=name)))
    return member


def _command(
    module: str, name: str, line: socket.socket, door: socket.socket, logging: Logging
) -> tuple[str, ...]:
    # Nothing is imported from the directory that the relay happens to be started in, unless that
    # is where this very package is.
    here = Path(relay.__file__).parents[1] == Path(os.getcwd())
    return (
        sys.executable,
        *(() if here else ("-P",)),
        "-m",
        module,
        name,
        str(line.fileno()),
        str(door.fileno()),
        logging.format,
        logging.level,
    )
