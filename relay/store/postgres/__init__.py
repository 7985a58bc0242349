"""The store that several relays share: a PostgreSQL."""

from relay.store.postgres.place import Place
from relay.store.postgres.store import PostgresStore

__all__ = ["Place", "PostgresStore"]
