"""The store that several relays share: a PostgreSQL."""
