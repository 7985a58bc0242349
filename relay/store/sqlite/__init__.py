"""The embedded back end: SQLite and a spool directory, for the processes of one relay."""

from relay.store.sqlite.lock import DataDirInUse, DataDirLock, lock_data_dir
from relay.store.sqlite.store import SqliteStore

__all__ = ["DataDirInUse", "DataDirLock", "SqliteStore", "lock_data_dir"]
