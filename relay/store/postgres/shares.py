"""Shares of limits, as rows: what each node holds, and what is in no hands and counts all the same.

The arithmetic is `relay.store.sharing`. What is asked for the same key at the same time is answered
one after the other: keys are locked in so many parts, for a node may ask for thousands at once.
Whether a node lives is made sure of for as long as the transaction lasts: what a dead one held has
been given to `cooling`, and it must not come to hold anything after that. Both tables are read in
one statement, so that what is on its way from one to the other is never missed.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from zlib import crc32

from relay.store.fleet_values import Membership, Share, ShareWish
from relay.store.postgres.cooling import Cooled, cool, forget_cold
from relay.store.postgres.session import Session
from relay.store.postgres.writer import Writer
from relay.store.sharing import Cooling, Holding, settle

_PARTS = 64
_MOST = 2**31 - 1  # of a column
_SWEEP_EVERY = 60.0  # seconds

_LOCK = (
    "SELECT pg_advisory_xact_lock(hashtext('share'), part)"
    " FROM (SELECT part FROM unnest($1::integer[]) AS part ORDER BY part) AS parts"
)
_LIVING = (
    "SELECT epoch FROM node WHERE epoch = ANY($1::bigint[]) AND NOT ended ORDER BY epoch FOR SHARE"
)
_NOW = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# Of a node that is silent beyond its lease nobody waits for a wish any more; what it held counts.
_READ = (
    "SELECT key, share.epoch, most, span, held, CASE WHEN node.ended IS FALSE AND"
    " extract(epoch FROM clock_timestamp() - renewed_at) * 1000 <= lease THEN demand ELSE 0 END,"
    " floor(extract(epoch FROM since) * 1000)::bigint"
    " FROM share LEFT JOIN node ON node.epoch = share.epoch WHERE key = ANY($1::text[])"
    " UNION ALL SELECT key, NULL, amount, NULL, NULL, NULL,"
    " ceil(extract(epoch FROM until) * 1000)::bigint FROM cooling WHERE key = ANY($1::text[])"
)
_PUT = (
    "INSERT INTO share (key, epoch, most, span, held, demand, since)"
    " SELECT key, epoch, most, span, held, demand, to_timestamp(since / 1000.0)"
    " FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::integer[], $5::integer[],"
    " $6::integer[], $7::bigint[]) AS new (key, epoch, most, span, held, demand, since)"
    " ON CONFLICT (key, epoch) DO UPDATE SET most = excluded.most, span = excluded.span,"
    " held = excluded.held, demand = excluded.demand, since = excluded.since"
)
_DROP = (
    "DELETE FROM share USING unnest($1::text[], $2::bigint[]) AS gone (key, epoch)"
    " WHERE share.key = gone.key AND share.epoch = gone.epoch"
)

Wishes = tuple[Membership, Sequence[ShareWish]]
_Place = tuple[str, int]
"""Key, and epoch of the node."""


class Shares:
    """Implements `relay.store.interface.ShareStore`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._swept_at = time.monotonic()

    async def settle(self, member: Membership, wishes: Sequence[ShareWish]) -> list[Share]:
        """See `ShareStore`."""
        answers = await self._writer.submit(settle_all, (member, wishes))
        if time.monotonic() - self._swept_at > _SWEEP_EVERY:
            self._swept_at = time.monotonic()
            await self._writer.submit(forget_cold, None)
        return answers


async def settle_all(db: Session, requests: Sequence[Wishes]) -> list[list[Share]]:
    """Answer wishes: all those of a member, for each of the members."""
    living = await _living(db, {member.epoch for member, _ in requests})
    keys = sorted({wish.key for _, wishes in requests for wish in wishes})
    await db.execute(_LOCK, sorted({crc32(key.encode()) % _PARTS for key in keys}))
    books = await _read(db, keys)
    now = int(await db.fetchval(_NOW))
    answers = [
        [
            books[wish.key].answer(member.epoch, wish, now)
            if member.epoch in living
            else Share(wish.key, 0)
            for wish in wishes
        ]
        for member, wishes in requests
    ]
    await _write(db, books.values())
    return answers


class _Book:
    """The rows of one limit, as they were found and as they become."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.found: dict[int, Holding] = {}
        self.holdings: dict[int, Holding] = {}
        self.cooling: list[Cooling] = []
        self.cooled: list[Cooled] = []

    def add(self, holding: Holding) -> None:
        """A row, as it was found."""
        self.found[holding.epoch] = self.holdings[holding.epoch] = holding

    def answer(self, epoch: int, wish: ShareWish, now: int) -> Share:
        settled = settle(epoch, wish, now, self.holdings.values(), self.cooling)
        if settled.holding is None:
            self.holdings.pop(epoch, None)
        else:
            self.holdings[epoch] = settled.holding
        if settled.cooling is not None:
            self.cooling.append(settled.cooling)
            amount, until = settled.cooling.amount, settled.cooling.until
            self.cooled.append((self.key, until, amount, wish.window))
        return settled.share

    def gone(self) -> list[_Place]:
        """Rows that are no more."""
        return [(self.key, epoch) for epoch in self.found.keys() - self.holdings.keys()]

    def changed(self) -> list[Holding]:
        """Rows that are new, or not as they were."""
        return [row for row in self.holdings.values() if self.found.get(row.epoch) != row]


async def _living(db: Session, epochs: Collection[int]) -> set[int]:
    """Those of the nodes that have not ended, and do not until this transaction has."""
    return {epoch for (epoch,) in await db.fetch(_LIVING, sorted(epochs))}


async def _read(db: Session, keys: Sequence[str]) -> dict[str, _Book]:
    books = {key: _Book(key) for key in keys}
    for key, epoch, most, span, held, demand, at in await db.fetch(_READ, list(keys)):
        if epoch is None:
            books[key].cooling.append(Cooling(most, at))
        else:
            books[key].add(Holding(epoch, most, span, held, demand, at))
    return books


async def _write(db: Session, books: Iterable[_Book]) -> None:
    gone: list[_Place] = []
    changed: list[tuple[str | int, ...]] = []
    cooled: list[Cooled] = []
    for book in books:
        gone += book.gone()
        cooled += book.cooled
        changed += [_row(book.key, holding) for holding in book.changed()]
    if gone:
        await db.execute(_DROP, *_columns(sorted(gone)))
    if changed:
        await db.execute(_PUT, *_columns(changed))
    await cool(db, cooled)


def _row(key: str, row: Holding) -> tuple[str | int, ...]:
    most, held, demand = (min(number, _MOST) for number in (row.limit, row.held, row.demand))
    return key, row.epoch, most, row.window, held, demand, row.since


def _columns(rows: Sequence[Sequence[str | int]]) -> list[list[str | int]]:
    return [list(column) for column in zip(*rows, strict=True)]
