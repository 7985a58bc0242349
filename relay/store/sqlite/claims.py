"""Workers, their leases and their claims, as operations for the writer.

A claim is the worker's epoch in the delivery's row. A worker that is declared dead loses its row,
and its claims become free in the same transaction; what it asks for later finds no row with its
epoch and changes nothing.

Who is dead is decided without comparing clocks: a worker's row has a counter that `renew`
advances, and every other worker times on its own monotonic clock for how long it has seen that
counter stand still. A wall clock that jumps a day forward kills nobody, one that jumps back
freezes nothing, and hosts need not agree on the time. The price: after a restart under another
name, what the old worker had claimed waits for one lease from when it is first looked at.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from relay.store.sqlite.codec import Damaged, decode_message, decode_recipients
from relay.store.sqlite.errors import is_corrupt
from relay.store.sqlite.messages import is_alive
from relay.store.sqlite.rows import chunks, values
from relay.store.values import Delivery, Owner

_ROWS = (
    "SELECT d.id, d.domain, d.due_at, d.attempts, d.recipients, d.last_reply,"
    " d.pool, m.message_id, m.facts, m.ref, m.header"
    " FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20 WHERE d.id IN "
)
_CLAIM = "UPDATE delivery SET epoch = ? WHERE id IN "

Claimed = tuple[list[Delivery], list[Damaged]]


class Torn(Exception):
    """Pages of some deliveries cannot be read. SQLite then refuses every write until the
    transaction is rolled back, so these are set apart in one of their own."""

    def __init__(self, damaged: dict[int, Damaged]) -> None:
        super().__init__(*damaged.values())
        self.damaged = damaged


class Leases:
    """What one process has seen of the other workers' counters. Used on the writer's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[int, float]] = {}

    def claim(
        self, db: sqlite3.Connection, requests: Sequence[tuple[Owner, int, int]]
    ) -> list[Claimed]:
        """Claim what is due: requests are (owner, now, limit). Buries the dead first."""
        claimed = []
        for owner, now, limit in requests:
            self.bury(db, owner.epoch)
            claimed.append(claim_due(db, owner, now, limit))
        return claimed

    def bury(self, db: sqlite3.Connection, except_epoch: int) -> None:
        """Free the claims of workers whose counter stood still for longer than their lease."""
        now = self._clock()
        rows = db.execute(
            "SELECT epoch, lease, beat FROM worker WHERE epoch <> ?", (except_epoch,)
        ).fetchall()
        seen: dict[int, tuple[int, float]] = {}
        for epoch, lease, beat in rows:
            known = self._seen.get(epoch)
            seen[epoch] = known if known is not None and known[0] == beat else (beat, now)
            if (now - seen[epoch][1]) * 1000 > lease:
                end(db, epoch)
        self._seen = seen


def end(db: sqlite3.Connection, epoch: int) -> None:
    """Forget a worker; what it had claimed is free."""
    # No index leads from an epoch to its claims: it would cost every message, and this is rare.
    db.execute("UPDATE delivery SET epoch = NULL WHERE epoch = ?", (epoch,))
    db.execute("DELETE FROM worker WHERE epoch = ?", (epoch,))


def register(db: sqlite3.Connection, requests: Sequence[tuple[str, int]]) -> list[Owner]:
    """New epochs; requests are (name, lease in ms)."""
    owners = []
    for name, lease in requests:
        for (epoch,) in db.execute("SELECT epoch FROM worker WHERE name = ?", (name,)).fetchall():
            end(db, epoch)
        cursor = db.execute("INSERT INTO worker (name, lease) VALUES (?, ?)", (name, lease))
        owners.append(Owner(name, cursor.lastrowid or 0))
    return owners


def renew(db: sqlite3.Connection, requests: Sequence[tuple[Owner, int]]) -> list[bool]:
    """Show that workers live; False for those that have been declared dead."""
    return [
        db.execute(
            "UPDATE worker SET beat = beat + 1, lease = ? WHERE epoch = ?", (lease, owner.epoch)
        ).rowcount
        == 1
        for owner, lease in requests
    ]


def resign(db: sqlite3.Connection, requests: Sequence[Owner]) -> list[None]:
    """End workers of their own will."""
    for owner in requests:
        end(db, owner.epoch)
    return [None] * len(requests)


def release(
    db: sqlite3.Connection, requests: Sequence[tuple[Owner, Sequence[tuple[int, int]]]]
) -> list[None]:
    """Give deliveries back unattempted: pairs of (delivery id, due_at)."""
    for owner, deliveries in requests:
        db.executemany(
            "UPDATE delivery SET epoch = NULL, due_at = ? WHERE id = ? AND epoch = ?",
            [(due_at, identifier, owner.epoch) for identifier, due_at in deliveries],
        )
    return [None] * len(requests)


def claim_due(db: sqlite3.Connection, owner: Owner, now: int, limit: int) -> Claimed:
    """Claim queued deliveries that are due, longest due first; damaged ones are set apart."""
    found = db.execute(
        "SELECT id FROM delivery WHERE epoch IS NULL AND state = 'queued' AND due_at <= ?"
        " ORDER BY due_at LIMIT ?",
        (now, limit),
    ).fetchall()
    return take(db, owner, [identifier for (identifier,) in found])


def take(db: sqlite3.Connection, owner: Owner, identifiers: Sequence[int]) -> Claimed:
    """Claim the deliveries with these ids, in their order. Those that are damaged are quarantined.

    A worker that was declared dead is given nothing. Raises Torn.
    """
    deliveries: list[Delivery] = []
    damaged: list[Damaged] = []
    if not is_alive(db, owner):
        return deliveries, damaged
    for some in chunks(identifiers):
        rows, torn = _rows(db, some)
        if torn:
            raise Torn(torn)
        for identifier, *columns in rows:
            try:
                deliveries.append(_delivery(identifier, columns, owner.epoch))
            except Damaged as error:
                quarantine(db, [identifier])
                damaged.append(error)
    for claimed in chunks(deliveries):
        statement = values(_CLAIM, "?", len(claimed), in_brackets=True)
        db.execute(statement, (owner.epoch, *(delivery.id for delivery in claimed)))
    position = {identifier: number for number, identifier in enumerate(identifiers)}
    deliveries.sort(key=lambda delivery: position[delivery.id])
    return deliveries, damaged


def quarantine(db: sqlite3.Connection, requests: Sequence[int]) -> list[None]:
    """Set damaged deliveries apart: kept for people to look at, never claimed again."""
    for identifier in requests:
        db.execute(
            "UPDATE delivery SET state = 'quarantined', epoch = NULL WHERE id = ?", (identifier,)
        )
    return [None] * len(requests)


def quarantine_message(db: sqlite3.Connection, requests: Sequence[str]) -> list[int]:
    """Set apart all deliveries of messages; how many each had."""
    return [
        db.execute(
            "UPDATE delivery SET state = 'quarantined', epoch = NULL WHERE id >> 20 ="
            " (SELECT id FROM message WHERE message_id = ?)",
            (message_id,),
        ).rowcount
        for message_id in requests
    ]


_Rows = list[tuple[Any, ...]]


def _rows(db: sqlite3.Connection, identifiers: Sequence[int]) -> tuple[_Rows, dict[int, Damaged]]:
    """The rows of deliveries and their messages, and those whose pages cannot be read."""
    statement = values(_ROWS, "?", len(identifiers), in_brackets=True)
    try:
        return db.execute(statement, tuple(identifiers)).fetchall(), {}
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        if len(identifiers) == 1:
            return [], {identifiers[0]: Damaged(f"delivery {identifiers[0]}: {error}")}
    rows: _Rows = []
    torn: dict[int, Damaged] = {}
    for identifier in identifiers:
        more_rows, more_torn = _rows(db, [identifier])
        rows += more_rows
        torn |= more_torn
    return rows, torn


def _delivery(identifier: int, columns: Sequence[Any], epoch: int) -> Delivery:
    """A claimed delivery from its row. Raises Damaged."""
    domain, due_at, attempts, recipients, last_reply, pool, message_id, facts, ref, header = columns
    if message_id is None:
        raise Damaged(f"delivery {identifier}: its message is missing")
    return Delivery(
        id=identifier,
        message=decode_message(message_id, facts, ref, header),
        domain=domain,
        recipients=decode_recipients(recipients),
        due_at=due_at,
        attempts=attempts,
        epoch=epoch,
        last_reply=last_reply,
        pool=pool,
    )


def next_due(db: sqlite3.Connection) -> int | None:
    """When the earliest free, queued delivery is due."""
    (due_at,) = db.execute(
        "SELECT min(due_at) FROM delivery WHERE epoch IS NULL AND state = 'queued'"
    ).fetchone()
    return None if due_at is None else int(due_at)
