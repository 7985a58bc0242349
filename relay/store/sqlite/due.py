"""What is due, by turns: questions for a reader, however much there is of it.

No question looks at more than it can use. A set that has due mail is found by one step down an
index, whatever lies below it. Within a set two ways lead to mail: by age, a window of what is due
for longest, and by line, a search that goes from domain to domain (one step of the index each) and
continues where it ended the last time. So neither a line with a million deliveries nor one that
nobody can use now hides the others.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from relay.store.fairness import deal, share_out
from relay.store.values import Cursor, Due, Want

_FREE = "epoch IS NULL AND state = 'queued'"
_OF_SET = f"FROM delivery INDEXED BY delivery_set WHERE {_FREE} AND configuration_set"
_OF_LINE = f"FROM delivery INDEXED BY delivery_line WHERE {_FREE} AND configuration_set = :name"

_SETS = f"""
    WITH RECURSIVE found (name) AS (
        SELECT (SELECT configuration_set {_OF_SET} >= '' ORDER BY configuration_set LIMIT 1)
        UNION ALL
        SELECT (SELECT configuration_set {_OF_SET} > found.name ORDER BY configuration_set LIMIT 1)
            FROM found WHERE found.name IS NOT NULL
    )
    SELECT name FROM found WHERE EXISTS (SELECT 1 {_OF_SET} = found.name AND due_at <= ?)
"""  # noqa: S608 - constants
_LONGEST_DUE = f"SELECT id, domain {_OF_SET} = ? AND due_at <= ? ORDER BY due_at LIMIT ?"
_IN_LINE = (
    f"SELECT id {_OF_LINE} AND domain = :domain AND due_at <= :now ORDER BY due_at LIMIT :most"
)
_NEXT = f"(SELECT domain {_OF_LINE} AND domain > %s AND domain <= :last ORDER BY domain LIMIT 1)"
# Of the lines that were stepped on, those with due mail, and the end of the way.
_LINES = f"""
    WITH RECURSIVE line (domain, step) AS (
        SELECT {_NEXT % ":after"}, 1
        UNION ALL
        SELECT {_NEXT % "line.domain"}, step + 1 FROM line
            WHERE line.domain IS NOT NULL AND step < :steps
    )
    SELECT domain, step, (SELECT due_at {_OF_LINE} AND domain = line.domain
        ORDER BY due_at LIMIT 1) <= :now AS is_due
    FROM line WHERE domain IS NULL OR step = :steps OR is_due
"""  # noqa: S608 - constants
_LAST = "\U0010ffff"  # behind every domain

_STEPS = 4_000  # from line to line, in one question
_LEAST_STEPS = 20  # in one set
_LEAST_SEEN = 16  # deliveries of a set, from which its share is taken


_Entry = tuple[int, str]  # a delivery's id, and its domain


@dataclass(slots=True)
class _Found:
    """What one set has: the ids of each line, longest due first. `is_all`: nothing else is due."""

    lines: dict[str, list[_Entry]] = field(default_factory=dict)
    searched: list[list[_Entry]] = field(default_factory=list)
    is_all: bool = False
    is_searched: bool = True
    cursor: Cursor | None = None

    @property
    def count(self) -> int:
        return sum(len(ids) for ids in chain(self.lines.values(), self.searched))

    def hands(self) -> list[list[_Entry]]:
        """One of each kind in turn, so that neither keeps the other out."""
        pairs = zip_longest(self.lines.values(), self.searched)
        return [ids for pair in pairs for ids in pair if ids]


def find_due(db: sqlite3.Connection, want: Want) -> Due:
    """What `want` can use of what is due."""
    names = [name for (name,) in db.execute(_SETS, (want.now,))]
    turn = int(want.start * len(names))
    names = [name for name in names[turn:] + names[:turn] if want.rooms.get(name, 1) > 0]
    weights = [want.weights.get(name, want.weight) for name in names]
    rooms = [min(want.limit, want.rooms.get(name, want.limit)) for name in names]
    seen: list[_Found] = []
    steps = max(_LEAST_STEPS, _STEPS // max(1, len(names)))
    first = share_out(want.limit, list(zip(weights, rooms, strict=True)))
    for name, share, room in zip(names, first, rooms, strict=True):
        # More than its share is looked at, for what others leave.
        most = min(room, max(_LEAST_SEEN, 4 * share)) if share else 0
        seen.append(_look(db, want, name, most, steps) if most else _Found())
    counts = [min(found.count, room) for found, room in zip(seen, rooms, strict=True)]
    shares = share_out(want.limit, list(zip(weights, counts, strict=True)))
    widths = list(want.widths)
    hands = [
        _what_fits(deal(share, found.hands()), want, name, widths)
        for name, found, share in zip(names, seen, shares, strict=True)
    ]
    left = {
        name
        for name, found, hand in zip(names, seen, hands, strict=True)
        if not found.is_all or found.count > len(hand)
    }
    left.update(name for name, room in want.rooms.items() if room <= 0)
    return Due(
        ids=tuple(identifier for hand in hands for identifier, _ in hand),
        left=frozenset(left),
        is_searched=all(found.is_searched for found in seen),
        cursors={n: found.cursor for n, found in zip(names, seen, strict=True) if found.cursor},
    )


def _what_fits(hand: list[_Entry], want: Want, name: str, widths: list[int]) -> list[_Entry]:
    """Of what a set is dealt, as much as its bottlenecks have room for; taken off `widths`."""
    fitting = []
    for entry in hand:
        group = want.narrow.get((name, entry[1]))
        if group is None:
            fitting.append(entry)
        elif widths[group] > 0:
            widths[group] -= 1
            fitting.append(entry)
    return fitting


def _look(db: sqlite3.Connection, want: Want, name: str, most: int, steps: int) -> _Found:
    """Up to some more than `most` deliveries of the set `name`, of different lines."""
    found = _Found()
    usable = _Usable(want, name)
    window = 2 * most
    rows = db.execute(_LONGEST_DUE, (name, want.now, window)).fetchall()
    for identifier, domain in rows:
        ids = found.lines.setdefault(domain, [])
        if len(ids) < usable.width(domain):
            ids.append((identifier, domain))
    found.is_all = len(rows) < window
    if not found.is_all:
        _search(db, want, name, most, steps, found, usable)
    return found


@dataclass(frozen=True, slots=True)
class _Usable:
    """How much of each line of one set a worker can use."""

    want: Want
    name: str

    def width(self, domain: str) -> int:
        group = self.want.narrow.get((self.name, domain))
        return self.want.limit if group is None else self.want.widths[group]


def _search(
    db: sqlite3.Connection,
    want: Want,
    name: str,
    most: int,
    steps: int,
    found: _Found,
    usable: _Usable,
) -> None:
    """Add lines that are not in the window, from where the search ended the last time."""
    start = chr(ord("a") + int(want.start * 26))
    cursor = want.cursors.get(name, Cursor(start, start))
    domains: list[str] = []
    at, is_round = cursor.at, False
    for step in _steps(db, want.now, name, cursor, steps):
        at, is_round = step.at, step.is_round
        if step.is_due and step.at not in found.lines and usable.width(step.at) > 0:
            domains.append(step.at)
            if len(domains) == most:
                break
    for domain in domains:
        few = min(usable.width(domain), -(-most // len(domains)))
        asked = {"name": name, "domain": domain, "now": want.now, "most": few}
        found.searched.append([(i, domain) for (i,) in db.execute(_IN_LINE, asked)])
    # What nobody can use is no find: the search goes on until it is round, and then rests.
    found.is_searched = is_round or found.count > 0
    found.cursor = Cursor(at, at if found.count or is_round else cursor.since)


@dataclass(frozen=True, slots=True)
class _Step:
    at: str
    is_due: bool = True
    is_round: bool = False


def _steps(
    db: sqlite3.Connection, now: int, name: str, cursor: Cursor, steps: int
) -> Iterator[_Step]:
    """Lines with due mail behind the cursor, round to where the search began, and where it ends."""
    if cursor.at >= cursor.since:
        ways = [(cursor.at, _LAST), ("", cursor.since)]
    else:
        ways = [(cursor.at, cursor.since)]
    for after, last in ways:
        asked: Mapping[str, str | int] = {
            "name": name, "now": now, "after": after, "last": last, "steps": steps,
        }  # fmt: skip
        for domain, step, is_due in db.execute(_LINES, asked):
            if domain is None:
                steps -= step
                break
            yield _Step(domain, bool(is_due))
            if step == steps:
                return
        if steps <= 0:
            return
    yield _Step(cursor.since, is_due=False, is_round=True)
