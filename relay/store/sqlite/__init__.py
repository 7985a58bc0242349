"""The embedded back end: SQLite and a spool directory, for one process at a time."""

from relay.store.sqlite.lock import DataDirInUse, DataDirLock, lock_data_dir
from relay.store.sqlite.store import SqliteStore

__all__ = ["DataDirInUse", "DataDirLock", "SqliteStore", "lock_data_dir"]
