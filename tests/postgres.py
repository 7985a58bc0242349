"""A PostgreSQL for tests: started here, from the programs of this machine, for one test process.

Nothing survives it, and nothing need be set up by hand. The server refuses to run as root; there it
runs as an unprivileged user. Its databases are copies of one that has the relay's tables.
"""

import asyncio
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from relay.store.postgres.place import Place
from relay.store.postgres.schema import migrate

_PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql")
_TEMPLATE = "relay_template"
_PATIENCE = 30.0  # seconds
_QUICK = (
    "fsync=off",  # the machine does not die in these tests; processes do
    "full_page_writes=off",
    "max_connections=200",
    "shared_buffers=64MB",
    "autovacuum_naptime=5s",
    "log_min_messages=warning",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=128MB",
)


def find_programs() -> Path | None:
    """The directory of `initdb` and `postgres`; None where they are not installed."""
    found = shutil.which("initdb")
    if found is not None and _is_whole(Path(found).resolve().parent):
        return Path(found).resolve().parent
    for place in map(Path, _PLACES):
        for initdb in sorted(place.glob("**/bin/initdb"), reverse=True):
            if _is_whole(initdb.parent):
                return initdb.parent
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """One server on loopback and on a Unix socket, in a directory of its own."""

    def __init__(self, programs: Path, settings: Sequence[str] = ()) -> None:
        self._programs = programs
        self._settings = settings
        self._home = Path(tempfile.mkdtemp(prefix="relay-pg-", dir="/tmp"))
        self._data = self._home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._as_user: dict[str, object] = {}
        if os.geteuid() == 0:
            name = next(n for n in ("postgres", "nobody") if _is_user(n))
            entry = pwd.getpwnam(name)
            self._as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self._home, entry.pw_uid, entry.pw_gid)
        self.port = free_port()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Over TCP, as a fleet has it."""
        return f"postgresql://relay@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def make(self) -> None:
        """Create the cluster."""
        subprocess.run(
            [
                self._programs / "initdb", "--pgdata", self._data, "--username", "relay",
                "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
            ],
            check=True,
            cwd="/",
            capture_output=True,
            **self._as_user,  # type: ignore[call-overload]
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self._home}",
            *_QUICK,
            *self._settings,
        ]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres", "-D", self._data,
                    *(word for setting in settings for word in ("-c", setting)),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call, and no lock
                **self._as_user,  # type: ignore[call-overload]
            )  # fmt: skip
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        asked = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + _PATIENCE
        while subprocess.run(asked, check=False).returncode != 0:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.told())
            time.sleep(0.02)

    def told(self) -> str:
        """The server's log."""
        return (self._home / "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT in order, SIGQUIT at once; SIGKILL is a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(_PATIENCE)
        self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._home, ignore_errors=True)

    def make_template(self) -> None:
        """The database that others are copies of."""
        with ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
            thread.submit(asyncio.run, self._make_template()).result()

    async def _make_template(self) -> None:
        await self._create(_TEMPLATE, "template1")
        session = await Place(self.url(_TEMPLATE)).connect()
        try:
            await migrate(session)
        finally:
            await session.close()

    async def database(self, *, empty: bool = False) -> str:
        """The URL of a new database, with the relay's tables or `empty`."""
        name = f"relay_{next(self._numbers)}"
        await self._create(name, "template1" if empty else _TEMPLATE)
        return self.url(name)

    def new_database(self) -> str:
        """As `database`, where no loop runs."""
        return asyncio.run(self.database())

    def written(self) -> int:
        """Octets that the server has written to its log so far."""
        return asyncio.run(self._written())

    async def _written(self) -> int:
        connection = await asyncpg.connect(self.url())
        try:
            written: int = await connection.fetchval(
                "SELECT (pg_current_wal_lsn() - '0/0')::bigint"
            )
            return written
        finally:
            await connection.close()

    async def _create(self, name: str, template: str) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            # A copy of files writes no log; the way of 15 and newer, 9 MB of it for each database.
            how = "STRATEGY FILE_COPY" if connection.get_server_version().major >= 15 else ""
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {how}")
        finally:
            await connection.close()

    async def drop(self, url: str) -> None:
        """Remove a database, whoever still uses it."""
        name = url.rpartition("/")[2].partition("?")[0]
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await connection.close()


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _end_with_parent() -> None:
    """In the child: a test process that is killed leaves no server behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGQUIT)


def _is_whole(programs: Path) -> bool:
    return all((programs / name).exists() for name in ("initdb", "postgres", "pg_isready"))
