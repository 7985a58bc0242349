"""The tables of the message log, their migrations, and how the connection that writes is opened.

A file of its own: the log is large, written in batches and read by searches, and none of it is to
hold up the queue. As in the queue's database the version is SQLite's `user_version`, and a newer
one is refused. Rows of messages are numbered as they are filed, so that what is oldest goes first.
"""

import sqlite3
from pathlib import Path

from relay.store.interface import StoreUnavailable
from relay.store.sqlite.schema import create_private
from relay.store.sqlite.spool import sync_directory

NAME = "log.db"

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL UNIQUE,
        accepted_at INTEGER NOT NULL,
        sender TEXT NOT NULL,              -- key of the reverse-path
        configuration_set TEXT NOT NULL,
        credential TEXT NOT NULL,
        subject TEXT NOT NULL,
        told BLOB NOT NULL,                -- JSON: log_values.LoggedMessage without its header
        header BLOB NOT NULL
    );
    CREATE INDEX message_accepted ON message (accepted_at);

    -- What the last event says of each recipient, in the order of the envelope.
    CREATE TABLE recipient (
        message INTEGER NOT NULL,
        position INTEGER NOT NULL,
        key TEXT NOT NULL,                 -- address.suppression_key
        status TEXT NOT NULL,
        PRIMARY KEY (message, position)
    ) WITHOUT ROWID;
    CREATE INDEX recipient_key ON recipient (key, message);

    CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        message INTEGER NOT NULL,          -- 0: of no message that the log has
        at INTEGER NOT NULL,
        told BLOB NOT NULL                 -- JSON: log_values.LoggedEvent
    );
    CREATE INDEX event_message ON event (message);

    -- Up to where each outbox is filed.
    CREATE TABLE filed (
        outbox TEXT PRIMARY KEY,
        upto INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE tally (
        hour INTEGER NOT NULL,             -- since the epoch
        dimension TEXT NOT NULL,
        sent INTEGER NOT NULL,
        bounced INTEGER NOT NULL,
        complained INTEGER NOT NULL,
        PRIMARY KEY (hour, dimension)
    ) WITHOUT ROWID;

    -- How far destinations have come.
    CREATE TABLE cursor (
        destination TEXT PRIMARY KEY,
        upto INTEGER NOT NULL,
        ahead BLOB NOT NULL,               -- JSON: numbers beyond it that are done
        dropped INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        destination TEXT NOT NULL,
        event BLOB NOT NULL,               -- JSON: log_values.LoggedEvent
        attempts INTEGER NOT NULL,
        error TEXT NOT NULL,
        at INTEGER NOT NULL
    );
    CREATE INDEX dead_letter_destination ON dead_letter (destination);
    """,
)


def connect_log(path: Path) -> sqlite3.Connection:
    """The connection that writes, with the newest tables. Raises sqlite3.Error, OSError or
    StoreUnavailable."""
    if not path.exists():
        _create(path)
    return _connect(path)


def _create(path: Path) -> None:
    """Whole, or not at all: whoever reads meanwhile finds no log rather than one without tables."""
    new = path.with_name(f"{path.name}.new")
    for left in (new, *_besides(new), *_besides(path)):
        left.unlink(missing_ok=True)  # of one that is gone, or was never finished
    _connect(new).close()
    new.rename(path)
    sync_directory(path.parent)


def _besides(path: Path) -> tuple[Path, Path]:
    """What SQLite keeps beside a database that is open."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _connect(path: Path) -> sqlite3.Connection:
    create_private(path)
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        # Before the first table is made: what is pruned is given back to the file system.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA wal_autocheckpoint=2000")
        connection.execute("PRAGMA journal_size_limit=67108864")
        _migrate(connection)
    except (sqlite3.Error, StoreUnavailable):
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreUnavailable(
            f"The message log has version {version}; this relay knows versions up to"
            f" {len(MIGRATIONS)}. Start the newer relay that wrote it, or move {NAME} away."
        )
    for number in range(version, len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version={number + 1}; COMMIT;"
        )
