"""What faults of SQLite and of the file system mean to those who use the store."""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from relay.store.interface import StoreError, StoreFull, StoreUnavailable

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PROBE_OCTETS = 65_536

# The primary result codes after which a connection is not trusted any more.
_BROKEN = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code, 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def breaks_connection(error: BaseException) -> bool:
    """Whether to open the file anew before it is used again."""
    return isinstance(error, sqlite3.ProgrammingError) or primary_code(error) in _BROKEN


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether SQLite found that pages do not hold what it wrote."""
    return primary_code(error) == sqlite3.SQLITE_CORRUPT


def translate(error: sqlite3.Error | OSError, data_dir: Path) -> StoreError:
    """The StoreError to raise for `error`. May write (and remove) a small probe file."""
    if isinstance(error, OSError):
        if error.errno in _NO_ROOM:
            return StoreFull(f"No room in {data_dir}: {error.strerror}")
        return StoreUnavailable(f"The store in {data_dir} failed: {error}")
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"No room in {data_dir}: {error}")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        # SQLite tells ENOSPC apart in some calls only, EDQUOT in none: ask the medium ourselves.
        reason = _no_room(data_dir)
        if reason:
            return StoreFull(f"No room in {data_dir}: {reason}")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreUnavailable(f"The store in {data_dir} failed: {error} ({name})")


def _no_room(data_dir: Path) -> str:
    """Why a small file cannot be written here for want of room; "" when it can."""
    probe = data_dir / ".probe"
    try:
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, b"\0" * _PROBE_OCTETS)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _NO_ROOM else ""
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return ""
