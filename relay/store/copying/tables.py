"""What of an embedded store is copied, and what becomes of each value on the way. Pure.

Rows keep their ids, so deliveries, attempts, events and the cursors over them go on meaning the
same. What is left behind: claims and their owners (nobody is at work), and whether the relay ended
well. The outbox is copied apart (`UNFILED`): the ids of its entries are those of transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from relay.store.log_rows import messages
from relay.store.postgres.log.filing import words_of

File = Literal["relay.db", "log.db"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file. `octets` are the columns that are octets in the database and may lie as
    text in the file, `key` is what rows are read in the order of; `identity` is a column whose
    values the database goes on giving."""

    file: File
    name: str
    to: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    octets: frozenset[str] = frozenset()
    identity: str = ""


def _table(
    name: str,
    columns: str,
    *,
    key: str = "id",
    octets: str = "",
    identity: str = "",
    file: File = "relay.db",
    to: str = "",
) -> Table:
    return Table(
        file,
        name,
        to or name,
        tuple(columns.split()),
        tuple(key.split()),
        frozenset(octets.split()),
        identity,
    )


MESSAGES = _table(
    "message",
    "id message_id facts ref header body",
    octets="facts header body",
    identity="id",
)
LOGGED = _table(
    "message",
    "id message_id accepted_at sender configuration_set credential subject told header",
    file="log.db",
    to="log_message",
    octets="told header",
    identity="id",
)
"""The database has columns besides, which are made of `told`: see `columns_besides`."""

EVENTS = _table(
    "event",
    "number message at told",
    file="log.db",
    to="log_event",
    key="number",
    octets="told",
    identity="number",
)
"""The database gives their numbers itself, and has a row for the newest."""

SUPPRESSIONS = _table(
    "suppression",
    "id key address reason source created_at evidence expires_at message_id remote_host seen_at"
    " made_by note bounces",
    identity="id",
)
TABLES: tuple[Table, ...] = (
    MESSAGES,
    _table(
        "delivery",
        "id domain state due_at attempts configuration_set accepted_at expires_at recipients"
        " last_reply suspended_by waits_for pool",
        octets="recipients",
    ),
    _table("usage", "key bucket used", key="key bucket"),
    SUPPRESSIONS,
    _table(
        "suppression_change",
        "id key at what made_by address reason detail entries changed ended_at",
        identity="id",
    ),
    _table(
        "secret",
        "id credential salt digest created_at revoked_at",
        octets="salt digest",
        identity="id",
    ),
    _table("suspension", "key kind name reason made_by since until", key="key"),
    _table("attempt", "id message_id at told", octets="told", identity="id"),
    _table(
        "unclassified",
        "id reply phase provider count first_seen last_seen example",
        identity="id",
    ),
    _table("sts_policy", "domain id mode mx max_age fetched_at used_at", key="domain"),
    _table(
        "tls_tally",
        "day domain policy_type policy_domain policy result detail source host address sessions",
        key="day domain policy_type policy_domain policy result detail source host address",
    ),
    _table("tls_report", "day domain settled_at result", key="day domain"),
    _table("warmup", "address day day_began_at configured_at state", key="address"),
    _table("pause", "kind name reason made_by since", key="kind name"),
    _table("fresh_start", "dimension at sent bounced complained", key="dimension"),
    _table("heard", "word at", key="word"),
    LOGGED,
    _table(
        "recipient",
        "message position key status",
        file="log.db",
        to="log_recipient",
        key="message position",
    ),
    EVENTS,
    _table(
        "tally",
        "hour dimension sent bounced complained",
        file="log.db",
        key="hour dimension",
    ),
    _table(
        "cursor",
        "destination upto ahead dropped",
        file="log.db",
        to="telling_cursor",
        key="destination",
        octets="ahead",
    ),
    _table(
        "dead_letter",
        "id destination event attempts error at",
        file="log.db",
        octets="event",
        identity="id",
    ),
)

UNFILED = _table(
    "outbox",
    "id message_id at kind told header suppressed",
    octets="told header suppressed",
)
"""Entries beyond the place up to which the log has filed; those before are in the log."""

LEFT_BEHIND: frozenset[tuple[File, str]] = frozenset(
    {
        ("relay.db", "worker"),
        ("relay.db", "life"),
        ("relay.db", "outbox_name"),  # the database has its own
        ("relay.db", "suppression_count"),  # counted anew
        ("log.db", "filed"),  # by the name of an outbox that is no more
    }
)
FILLED: tuple[str, ...] = (
    *(table.to for table in TABLES),
    UNFILED.to,
    "suppression_count",
    "chunk",
    "spooling",
)
"""The tables of the database that a copy fills, and that have to be empty before it."""


def converted(table: Table, row: Sequence[Any]) -> tuple[Any, ...]:
    """A row as the database takes it: octets as octets; text without NUL, which it refuses."""
    return tuple(
        _converted(value, is_octets=name in table.octets)
        for name, value in zip(table.columns, row, strict=True)
    )


def _converted(value: Any, *, is_octets: bool) -> Any:
    if isinstance(value, str):
        return value.encode() if is_octets else value.replace("\0", "�")
    if isinstance(value, bytes) and not is_octets:
        return value.decode("utf-8", "replace").replace("\0", "�")
    return value


def columns_besides(row: Sequence[Any]) -> tuple[int, list[str]]:
    """When a logged message expires, and the words that its tags are found by. One that cannot be
    read is too old already, and has none: nothing depends on it."""
    told, header = row[-2:]
    read = messages([(told, header)])
    return (read[0].expires_at, words_of(read[0].tags)) if read else (0, [])


def octets_of(row: Sequence[Any]) -> int:
    """About how many octets a row has, for batches of a bounded size."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
