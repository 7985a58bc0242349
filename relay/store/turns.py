"""What is due, by turns: which questions to ask of a queue, and what the answers lead to. Pure.

No question looks at more than it can use. A set that has due mail is found by one step down an
index, whatever lies below it. Within a set two ways lead to mail: by age, a window of what is due
for longest, and by line, a search that goes from domain to domain (one step of the index each) and
continues where it ended the last time. So neither a line with a million deliveries nor one that
nobody can use now hides the others.

`find_due` is a generator of questions, to which the rows that a store finds are sent.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from relay.store.fairness import deal, share_out
from relay.store.values import Cursor, Due, Want

LAST = "\U0010ffff"
"""Behind every domain."""


@dataclass(frozen=True, slots=True)
class SetsWithDueMail:
    """Names of sets that have free mail which is due; rows of (name,)."""

    now: int


@dataclass(frozen=True, slots=True)
class LongestDue:
    """Of a set, up to `limit` free deliveries that are due, longest first: (id, domain)."""

    name: str
    now: int
    limit: int


@dataclass(frozen=True, slots=True)
class NextLines:
    """A walk from domain to domain of a set, those behind `after` up to `last`, at most `steps` of
    them: (domain, number of the step, whether it has due mail) of those that have some, of the last
    step, and of the end of the way, where the domain is None."""

    name: str
    now: int
    after: str
    last: str
    steps: int


@dataclass(frozen=True, slots=True)
class OfLine:
    """Of a line, up to `limit` free deliveries that are due, longest first: (id,)."""

    name: str
    domain: str
    now: int
    limit: int


Question = SetsWithDueMail | LongestDue | NextLines | OfLine
Rows = Sequence[Sequence[Any]]
Asking = Generator[Question, Rows, Due]

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


def find_due(want: Want) -> Asking:
    """What `want` can use of what is due."""
    names = [name for (name,) in (yield SetsWithDueMail(want.now))]
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
        found = _Found()
        if most:
            yield from _look(want, name, most, steps, found)
        seen.append(found)
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


def _look(
    want: Want, name: str, most: int, steps: int, found: _Found
) -> Generator[Question, Rows, None]:
    """Up to some more than `most` deliveries of the set `name`, of different lines."""
    usable = _Usable(want, name)
    window = 2 * most
    rows = yield LongestDue(name, want.now, window)
    for identifier, domain in rows:
        ids = found.lines.setdefault(domain, [])
        if len(ids) < usable.width(domain):
            ids.append((identifier, domain))
    found.is_all = len(rows) < window
    if not found.is_all:
        yield from _search(want, name, most, steps, found, usable)


@dataclass(frozen=True, slots=True)
class _Usable:
    """How much of each line of one set a worker can use."""

    want: Want
    name: str

    def width(self, domain: str) -> int:
        group = self.want.narrow.get((self.name, domain))
        return self.want.limit if group is None else self.want.widths[group]


def _search(
    want: Want, name: str, most: int, steps: int, found: _Found, usable: _Usable
) -> Generator[Question, Rows, None]:
    """Add lines that are not in the window, from where the search ended the last time."""
    start = chr(ord("a") + int(want.start * 26))
    cursor = want.cursors.get(name, Cursor(start, start))
    search = _Search(most, steps, cursor.at)
    for after, last in _ways(cursor):
        rows = yield NextLines(name, want.now, after, last, search.steps)
        search.go(rows, lambda at: at not in found.lines and usable.width(at) > 0)
        if search.is_over:
            break
    at = search.at if search.is_over else cursor.since  # round to where the search began
    for domain in search.domains:
        few = min(usable.width(domain), -(-most // len(search.domains)))
        rows = yield OfLine(name, domain, want.now, few)
        found.searched.append([(i, domain) for (i,) in rows])
    # What nobody can use is no find: the search goes on until it is round, and then rests.
    found.is_searched = not search.is_over or found.count > 0
    found.cursor = Cursor(at, at if found.count or not search.is_over else cursor.since)


def _ways(cursor: Cursor) -> list[tuple[str, str]]:
    """From the cursor on, round to where the search began: (behind, up to) each."""
    if cursor.at >= cursor.since:
        return [(cursor.at, LAST), ("", cursor.since)]
    return [(cursor.at, cursor.since)]


@dataclass(slots=True)
class _Search:
    """A search for `most` lines in at most `steps`; `at` is where it has come to."""

    most: int
    steps: int
    at: str
    domains: list[str] = field(default_factory=list)
    is_over: bool = False  # before it was round

    def go(self, rows: Rows, is_wanted: Callable[[str], bool]) -> None:
        """Along one way, until it ends or enough was found or looked at."""
        for domain, step, is_due in rows:
            if domain is None:
                self.steps -= step
                break
            self.at = domain
            if is_due and is_wanted(domain):
                self.domains.append(domain)
            if len(self.domains) == self.most or step == self.steps:
                self.is_over = True
                return
        self.is_over = self.steps <= 0
