"""The message log on PostgreSQL, in the database that the queue is in."""

from relay.store.postgres.log.log import PostgresLog

__all__ = ["PostgresLog"]
