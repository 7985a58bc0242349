"""The message log on SQLite: `data_dir/log.db`, apart from the queue's own database."""

from relay.store.sqlite.log.log import SqliteLog

__all__ = ["SqliteLog"]
