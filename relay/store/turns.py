"""What is due, by turns, however much there is of it: the search, without a database.

No question looks at more than it can use. A set that has due mail is found by one step down an
index, whatever lies below it. Within a set two ways lead to mail: by age, a window of what is due
for longest, and by line, a search that goes from domain to domain (one step of the index each) and
continues where it ended the last time. So neither a line with a million deliveries nor one that
nobody can use now hides the others.

`find_due` yields questions and is sent the rows that answer them: each store knows how to ask.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from relay.store.fairness import deal, share_out
from relay.store.values import Cursor, Due, Want

_LAST = "\U0010ffff"  # behind every domain

_STEPS = 4_000  # from line to line, in one question
_LEAST_STEPS = 20  # in one set
_LEAST_SEEN = 16  # deliveries of a set, from which its share is taken


@dataclass(frozen=True, slots=True)
class SetsDue:
    """Which sets have mail that is due at `now`? Rows are (name)."""

    now: int


@dataclass(frozen=True, slots=True)
class LongestDue:
    """What is due for longest of each of `windows`, pairs of (set, how many)? Rows are (set, id,
    domain), those of a set together, longest due first."""

    now: int
    windows: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class NextLines:
    """Which lines of the set `name` come after the domain `after`, and not after `last`?

    Of up to `steps` that are stepped on, those with mail that is due, and the end of the way. Rows
    are (domain, step, is_due), in the order of the steps, which count from 1; where there is no
    further line, the domain of that step is None. More than `enough` rows are of no use.
    """

    now: int
    name: str
    after: str
    last: str
    steps: int
    enough: int


@dataclass(frozen=True, slots=True)
class HeadsOfLines:
    """What is due for longest in each of `lines` of the set `name`, pairs of (domain, how many)?
    Rows are (domain, id), those of a line together, longest due first."""

    now: int
    name: str
    lines: Sequence[tuple[str, int]]


Question = SetsDue | LongestDue | NextLines | HeadsOfLines
Rows = Sequence[Sequence[Any]]
Search = Generator[Question, Rows, Due]

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


def find_due(want: Want) -> Search:
    """What `want` can use of what is due."""
    names = [row[0] for row in (yield SetsDue(want.now))]
    turn = int(want.start * len(names))
    names = [name for name in names[turn:] + names[:turn] if want.rooms.get(name, 1) > 0]
    weights = [want.weights.get(name, want.weight) for name in names]
    rooms = [min(want.limit, want.rooms.get(name, want.limit)) for name in names]
    first = share_out(want.limit, list(zip(weights, rooms, strict=True)))
    # More than its share is looked at, for what others leave.
    most = {
        name: min(room, max(_LEAST_SEEN, 4 * share))
        for name, share, room in zip(names, first, rooms, strict=True)
        if share and room > 0
    }
    looked = yield from _look(want, most, max(_LEAST_STEPS, _STEPS // max(1, len(names))))
    seen = [looked.get(name) or _Found() for name in names]
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
    want: Want, most: dict[str, int], steps: int
) -> Generator[Question, Rows, dict[str, _Found]]:
    """Some more than `most` deliveries of each set, of different lines."""
    if not most:
        return {}
    seen = {name: _Found() for name in most}
    windows = {name: 2 * number for name, number in most.items()}
    counts = dict.fromkeys(most, 0)
    for name, identifier, domain in (yield LongestDue(want.now, tuple(windows.items()))):
        counts[name] += 1
        ids = seen[name].lines.setdefault(domain, [])
        if len(ids) < _usable(want, name, domain):
            ids.append((identifier, domain))
    for name, found in seen.items():
        found.is_all = counts[name] < windows[name]
        if not found.is_all:
            yield from _search(want, name, most[name], steps, found)
    return seen


def _usable(want: Want, name: str, domain: str) -> int:
    """How much of a line a worker can use."""
    group = want.narrow.get((name, domain))
    return want.limit if group is None else want.widths[group]


def _search(
    want: Want, name: str, most: int, steps: int, found: _Found
) -> Generator[Question, Rows, None]:
    """Add lines that are not in the window, from where the search ended the last time."""
    start = chr(ord("a") + int(want.start * 26))
    cursor = want.cursors.get(name, Cursor(start, start))
    domains, at, is_round = yield from _walk(want, name, cursor, most, steps, found)
    if domains:
        each = -(-most // len(domains))
        lines = [(domain, min(_usable(want, name, domain), each)) for domain in domains]
        heads: dict[str, list[_Entry]] = {domain: [] for domain in domains}
        for domain, identifier in (yield HeadsOfLines(want.now, name, lines)):
            heads[domain].append((identifier, domain))
        found.searched = list(heads.values())
    # What nobody can use is no find: the search goes on until it is round, and then rests.
    found.is_searched = is_round or found.count > 0
    found.cursor = Cursor(at, at if found.count or is_round else cursor.since)


def _walk(
    want: Want, name: str, cursor: Cursor, most: int, steps: int, found: _Found
) -> Generator[Question, Rows, tuple[list[str], str, bool]]:
    """Up to `most` lines of use behind the cursor, round to where the search began; how far that
    was, and whether it was all the way."""
    useless = sum(of == name and want.widths[group] <= 0 for (of, _), group in want.narrow.items())
    enough = most + len(found.lines) + useless
    domains: list[str] = []
    at, step = cursor.at, 0
    for after, last in _ways(cursor):
        for domain, step, is_due in (yield NextLines(want.now, name, after, last, steps, enough)):
            if domain is None:
                break
            at = domain
            if is_due and domain not in found.lines and _usable(want, name, domain) > 0:
                domains.append(domain)
            if step == steps or len(domains) == most:
                return domains, at, False
        steps -= step
        if steps <= 0:
            return domains, at, False
    return domains, cursor.since, True


def _ways(cursor: Cursor) -> list[tuple[str, str]]:
    """From where the search is to where it began: behind which domain, up to which."""
    if cursor.at >= cursor.since:
        return [(cursor.at, _LAST), ("", cursor.since)]
    return [(cursor.at, cursor.since)]
