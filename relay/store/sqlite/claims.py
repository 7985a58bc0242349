"""Workers, their leases and their claims, as operations for the writer.

A claim is the worker's epoch in the delivery's row. A worker that ends, or is declared dead, is
marked as ended: it claims nothing more, so its claims only become fewer. They are found by a reader
(no index leads from an epoch to its claims: it would cost every message, and this is rare) and
freed in short turns of the writer; the mark goes last, so that whoever frees next goes on with what
a process that died has left. What a worker asks for after that changes nothing.

Who is dead is decided without comparing clocks: a worker's row has a counter that `renew`
advances, and every other worker times on its own monotonic clock for how long it has seen that
counter stand still. A wall clock that jumps a day forward kills nobody, one that jumps back
freezes nothing, and hosts need not agree on the time.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from relay.store.codec import Damaged, decode_message, decode_recipients
from relay.store.sqlite.errors import is_corrupt
from relay.store.sqlite.messages import is_alive
from relay.store.sqlite.rows import chunks, values
from relay.store.values import Delivery, Owner

_ROWS = (
    "SELECT d.id, d.domain, d.due_at, d.attempts, d.recipients, d.last_reply,"
    " d.pool, m.message_id, m.facts, m.ref, m.header"
    " FROM delivery d LEFT JOIN message m ON m.id = d.id >> 20 WHERE d.id IN "
)
_CLAIM = "UPDATE delivery SET epoch = ?, waits_for = NULL WHERE id IN "
_FREE = "UPDATE delivery SET epoch = NULL WHERE epoch = ? AND id IN "
_STILL_FREE = (
    "SELECT id FROM delivery WHERE epoch IS NULL AND state IN ('queued', 'suspended') AND id IN "
)

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
        self.has_buried = False  # somebody, whose claims are to be freed

    def claim(
        self, db: sqlite3.Connection, requests: Sequence[tuple[Owner, int, int]]
    ) -> list[Claimed]:
        """Claim what is due: requests are (owner, now, limit). Buries the dead first."""
        claimed = []
        for owner, now, limit in requests:
            self.bury(db, owner.epoch)
            claimed.append(claim_due(db, owner, now, limit))
        return claimed

    def claim_found(
        self, db: sqlite3.Connection, requests: Sequence[tuple[Owner, Sequence[int]]]
    ) -> list[Claimed]:
        """Claim deliveries that were found free a moment ago, and are so still. Buries the dead
        first."""
        claimed = []
        for owner, found in requests:
            self.bury(db, owner.epoch)
            claimed.append(take(db, owner, _still_free(db, found)))
        return claimed

    def bury(self, db: sqlite3.Connection, except_epoch: int) -> None:
        """End workers whose counter stood still for longer than their lease."""
        now = self._clock()
        rows = db.execute(
            "SELECT epoch, lease, beat FROM worker WHERE epoch <> ? AND NOT ended", (except_epoch,)
        ).fetchall()
        seen: dict[int, tuple[int, float]] = {}
        for epoch, lease, beat in rows:
            known = self._seen.get(epoch)
            seen[epoch] = known if known is not None and known[0] == beat else (beat, now)
            if (now - seen[epoch][1]) * 1000 > lease:
                end(db, epoch)
                self.has_buried = True
        self._seen = seen


def end(db: sqlite3.Connection, epoch: int) -> None:
    """Mark a worker as ended; its claims are still to be freed."""
    db.execute("UPDATE worker SET ended = 1 WHERE epoch = ?", (epoch,))


def ended(db: sqlite3.Connection) -> list[int]:
    """The epochs of workers that have ended and may have claims yet."""
    return [epoch for (epoch,) in db.execute("SELECT epoch FROM worker WHERE ended")]


def claimed_by(db: sqlite3.Connection, epoch: int) -> list[int]:
    """The ids of a worker's claims. Reads the whole queue: a question for a reader."""
    return [i for (i,) in db.execute("SELECT id FROM delivery WHERE epoch = ?", (epoch,))]


def free(db: sqlite3.Connection, requests: Sequence[tuple[int, Sequence[int]]]) -> list[None]:
    """Free claims of workers that have ended: pairs of (epoch, ids)."""
    for epoch, identifiers in requests:
        for some in chunks(identifiers):
            statement = values(_FREE, "?", len(some), in_brackets=True)
            db.execute(statement, (epoch, *some))
    return [None] * len(requests)


def forget(db: sqlite3.Connection, requests: Sequence[int]) -> list[None]:
    """Workers that have ended and whose claims are free."""
    db.executemany("DELETE FROM worker WHERE epoch = ? AND ended", [(e,) for e in requests])
    return [None] * len(requests)


def register(db: sqlite3.Connection, requests: Sequence[tuple[str, int]]) -> list[Owner]:
    """New epochs; requests are (name, lease in ms)."""
    owners = []
    for name, lease in requests:
        db.execute("UPDATE worker SET ended = 1 WHERE name = ?", (name,))
        cursor = db.execute("INSERT INTO worker (name, lease) VALUES (?, ?)", (name, lease))
        owners.append(Owner(name, cursor.lastrowid or 0))
    return owners


def renew(db: sqlite3.Connection, requests: Sequence[tuple[Owner, int]]) -> list[bool]:
    """Show that workers live; False for those that have been declared dead."""
    return [
        db.execute(
            "UPDATE worker SET beat = beat + 1, lease = ? WHERE epoch = ? AND NOT ended",
            (lease, owner.epoch),
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


def _still_free(db: sqlite3.Connection, identifiers: Sequence[int]) -> list[int]:
    """Those that nobody has claimed, held or settled since they were found."""
    free: set[int] = set()
    for some in chunks(identifiers):
        found = db.execute(values(_STILL_FREE, "?", len(some), in_brackets=True), some)
        free.update(identifier for (identifier,) in found)
    return [identifier for identifier in identifiers if identifier in free]


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


def next_due(db: sqlite3.Connection, after: int) -> int | None:
    """When the earliest free, queued delivery is due, of those that are due later than `after`."""
    (due_at,) = db.execute(
        "SELECT min(due_at) FROM delivery WHERE epoch IS NULL AND state = 'queued' AND due_at > ?",
        (after,),
    ).fetchone()
    return None if due_at is None else int(due_at)


def expired(db: sqlite3.Connection, after: int, until: int, limit: int) -> list[int]:
    """Free deliveries whose time has passed: later than `after`, not later than `until`."""
    found = db.execute(
        "SELECT id FROM delivery WHERE epoch IS NULL AND state IN ('queued', 'suspended')"
        " AND expires_at > ? AND expires_at <= ? ORDER BY expires_at LIMIT ?",
        (after, until, limit),
    )
    return [identifier for (identifier,) in found]
