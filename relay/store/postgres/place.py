"""Which database, and how it is reached: sessions with the settings that the store relies on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from relay.store.interface import StoreUnavailable
from relay.store.postgres.errors import translate
from relay.store.postgres.hosts import Hosts, urls_of
from relay.store.postgres.session import Session

CONNECT_TIMEOUT = 5.0  # seconds, for all servers of a URL together
COMMAND_TIMEOUT = 20.0  # seconds; a server that says nothing for so long is given up

PATIENCE = 10.0  # seconds; likewise, where somebody waits behind it

SCHEMA = "relay"
OLDEST = 14  # of PostgreSQL

_SESSION: Mapping[str, str] = {
    "search_path": SCHEMA,
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    # A process that is stopped within a transaction must not keep its locks from the others.
    "idle_in_transaction_session_timeout": "5s",
    # A machine that has vanished is noticed within half a minute.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
_SETTINGS = (
    "SELECT current_setting('server_version_num')::int, current_setting('search_path'),"
    " current_setting('synchronous_commit')"
)
_FILES = ("sslrootcert", "sslcert", "sslkey")
_POOLED = (
    "does not heed the settings that a session begins with: a pooler such as PgBouncer is in"
    " between. Name the server itself in store.url; the sessions of a relay are few, and last."
)
# Commits that wait for less than the local disk, or for less of a standby than it was told to.
_WEAKER = ("off", "local", "remote_write")


@dataclass(frozen=True, slots=True)
class Place:
    """A database, as `store.url` of the configuration names it."""

    url: str = field(repr=False)
    password_file: Path | None = None
    session: str = "relay"
    _hosts: Hosts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hosts", Hosts(urls_of(self.url)))

    def __str__(self) -> str:
        """For people: without the user's password."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2] or "localhost"
        return f"{host}{parts.path}"

    def password(self) -> str | None:
        """The password of the file, where there is one. Raises StoreUnavailable."""
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"Cannot read {self.password_file}: {error}") from error

    def arguments(self, patience: float | None = None, **settings: str) -> dict[str, Any]:
        """What `reach` connects with. The driver is patient for longer than the server, so that it
        is mostly the server that ends what takes too long, and says so. With `patience`, in
        seconds, all of it is sooner."""
        if patience is not None:
            settings = {
                "statement_timeout": f"{int(patience * 750)}ms",
                "lock_timeout": f"{int(patience * 500)}ms",
                **settings,
            }
        return {
            "command_timeout": COMMAND_TIMEOUT if patience is None else patience,
            "server_settings": {**_SESSION, "application_name": self.session[:63], **settings},
        }

    async def reach(self, *_: object, **arguments: Any) -> Any:
        """A connection of the driver to the primary; also for its pools. Raises what the driver
        raises."""
        if fault := missing_file(self.url):
            raise StoreUnavailable(fault)
        password = self.password()  # read for each: it may have been changed
        return await self._hosts.connect(
            lambda url, within: asyncpg.connect(
                url,
                password=password,
                timeout=within,
                # Whatever the URL says: a standby is of no use, and sessions that only read have
                # settings by which the driver takes a primary for none (`read-write`).
                target_session_attrs="primary",
                **arguments,
            ),
            CONNECT_TIMEOUT,
        )

    async def connect(self, *, durable: bool = True, patience: float | None = None) -> Session:
        """A session that may write; its commits wait for the disk where they are to be `durable`.
        `patience` in seconds, for one whose users cannot wait long. Raises StoreUnavailable."""
        settings = {} if durable else {"synchronous_commit": "off"}
        try:
            connection: Session = await self.reach(**self.arguments(patience, **settings))
        except Exception as error:  # the driver raises errors of many kinds
            raise translate(error, self) from error
        try:
            await self._begin(connection, durable=durable)
        except Exception as error:
            connection.terminate()
            raise translate(error, self) from error
        return connection

    async def _begin(self, connection: Session, *, durable: bool) -> None:
        """A commit must mean that the message is on stable storage, whatever the defaults of the
        database or of the user are; stronger settings of theirs stay. Raises StoreUnavailable."""
        version, path, commit = await connection.fetchrow(_SETTINGS) or (0, "", "")
        if fault := unfit(version, path):
            raise StoreUnavailable(f"The database {self} {fault}")
        if durable and commit in _WEAKER:
            await connection.execute("SET synchronous_commit = on")


def unfit(version: int, search_path: str) -> str:
    """Why a server cannot hold the store, as a predicate: by its `server_version_num` and the
    `search_path` that a session has which was told the relay's. Empty where it can."""
    if version < OLDEST * 10_000:
        return (
            f"runs PostgreSQL {version // 10_000}: the relay needs {OLDEST} or newer. Upgrade the"
            " server, or name another in store.url."
        )
    if search_path != SCHEMA:
        return _POOLED
    return ""


def missing_file(url: str) -> str:
    """The complaint about a certificate or key that a URL names and that is not there; or nothing.
    The driver says only that some file is missing."""
    for key, names in parse_qs(urlsplit(url).query).items():
        if key in _FILES and not Path(names[-1]).is_file():
            return f"There is no file {names[-1]}, which store.url names as {key}."
    return ""
