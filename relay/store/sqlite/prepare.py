"""What happens before the store serves: directories, tables, a check after an unclean end."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from relay.store.interface import StoreUnavailable
from relay.store.sqlite.errors import is_corrupt, primary_code, translate
from relay.store.sqlite.schema import MIGRATIONS, connect, connect_reading, migrate
from relay.store.sqlite.spool import sync_directory
from relay.store.sqlite.turn import TURN, Turn

# A larger file is not read through at start: delivery must not wait for it.
_CHECKED_OCTETS = 256 * 1024 * 1024
_FINDINGS = 10


def prepare(data_dir: Path) -> list[str]:
    """Make the data directory ready; what a check of the database found. Blocks.

    Raises StoreUnavailable where the store cannot be used, and StoreFull.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data_dir / "spool").mkdir(mode=0o700, exist_ok=True)
        Turn(data_dir / TURN).close()
        path = data_dir / "relay.db"
        with closing(connect(path)) as db:
            findings = _set_bodies_aside(db, data_dir)
            migrate(db)
            findings += _check(db, path)
            findings += _free_all(db)
            db.execute("UPDATE life SET clean = 0")
        sync_directory(data_dir)
    except sqlite3.DatabaseError as error:
        if primary_code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise StoreUnavailable(
                f"{data_dir / 'relay.db'} is damaged: {error}. Move it away to start empty (the"
                " bodies in spool are set aside then), and recover what it holds with: sqlite3"
                " relay.db .recover"
            ) from error
        raise translate(error, data_dir) from error
    return findings


def check_joinable(data_dir: Path) -> None:
    """Whether another process has made the store ready. Blocks. Raises StoreUnavailable."""
    path = data_dir / "relay.db"
    if not path.exists():
        raise StoreUnavailable(f"There is no store in {data_dir} to join.")
    try:
        with closing(connect_reading(path)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise translate(error, data_dir) from error
    if version != len(MIGRATIONS):
        raise StoreUnavailable(
            f"The store in {data_dir} has version {version}, and this relay joins version"
            f" {len(MIGRATIONS)}. Restart all of it, so that its processes are of one version."
        )


def _set_bodies_aside(db: sqlite3.Connection, data_dir: Path) -> list[str]:
    """Keep the bodies of a database that was lost or moved away: its messages may be recovered.

    No row of a new database names them, so the sweep would take them for orphans. Done before the
    tables are made: a relay that dies in between finds the database new again.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    spool = data_dir / "spool"
    if version or not any(path.is_file() for path in spool.rglob("*")):
        return []
    numbers = range(1, len(list(data_dir.glob("spool.lost-*"))) + 2)
    aside = next(
        path for number in numbers if not (path := data_dir / f"spool.lost-{number}").exists()
    )
    spool.rename(aside)
    spool.mkdir(mode=0o700)
    sync_directory(data_dir)
    return [f"relay.db is new, but there were bodies in spool: they are kept in {aside}"]


def _free_all(db: sqlite3.Connection) -> list[str]:
    """Nobody works before the store serves: what is claimed yet was claimed by the dead."""
    if db.execute("SELECT 1 FROM worker LIMIT 1").fetchone() is None:
        return []
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("UPDATE delivery SET epoch = NULL WHERE epoch IS NOT NULL")
        db.execute("DELETE FROM worker")
    except sqlite3.DatabaseError as error:
        db.execute("ROLLBACK")
        if not is_corrupt(error):
            raise
        return [f"not every claim of the last run could be freed: {error}"]
    db.execute("COMMIT")
    return []


def _check(db: sqlite3.Connection, path: Path) -> list[str]:
    (clean,) = db.execute("SELECT clean FROM life").fetchone()
    if clean or path.stat().st_size > _CHECKED_OCTETS:
        return []
    found = []
    try:
        for (text,) in db.execute(f"PRAGMA quick_check({_FINDINGS})"):
            found.append(text)
    except sqlite3.DatabaseError as error:
        # Some damage ends the check itself. What can be read is still served.
        if not is_corrupt(error):
            raise
        found.append(str(error))
    return [] if found == ["ok"] else found


def mark_clean(db: sqlite3.Connection, requests: Sequence[None]) -> list[None]:
    """The last operation of a writer: what was asked for has been done."""
    db.execute("UPDATE life SET clean = 1")
    return [None] * len(requests)
