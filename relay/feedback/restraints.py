"""What is held back now: sources that go slowly to a provider, or rest for it.

One table for the whole relay, in the supervisor: a provider counts what comes from an address and
not which of our processes sent it. Workers complain (a peer's reply has met a rule), the table
decides whether that changes anything, and whoever keeps it applies the change. It is in memory
only: a relay that starts anew sends as it is configured, and learns again.

A *line* is the word under which limits know a destination: a provider's name, or a site's.
Decisions only; times are the clock's. Bounded: the one that was heard of least
lately leaves, those of named providers last.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from typing import Literal

from relay.config.reactions import Action
from relay.limits.temper import CONNECTIONS, RATE, Temper

MOST_IN_FORCE = 2_000
LEAST_FLOW = 1.0
"""Recipients per second: what flows more slowly, as a single message does, is no rate to halve."""
_MOST_COUNTED = 2_000

_SAME_ATTEMPT = 0.001  # seconds

Kind = Literal["rate", "connections", "rest"]
_KINDS: dict[Action, Kind] = {
    "slow_down": "rate",
    "fewer_connections": "connections",
    "pause": "rest",
    "other_source": "rest",
}
_BOUNDS = {"rate": RATE, "connections": CONNECTIONS}


@dataclass(frozen=True, slots=True)
class Complaint:
    """A peer's reply that a restraining rule acts on, to mail of `source` for `line`.

    `began` is when what it answers was begun, in monotonic seconds of the machine. `count` such
    replies `within` seconds are needed before anything is done.
    """

    source: str
    line: str
    provider: str
    rule: str
    action: Action
    seconds: float
    reply: str
    began: float
    count: int = 1
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing goes from `source` to `line` before `until`, in monotonic seconds (0: no more).
    `because` is a clause for people."""

    source: str
    line: str
    until: float
    because: str = ""


@dataclass(frozen=True, slots=True)
class Restraint:
    """One that is in force, to be shown. `since` and `until` are UTC ms; `until` is 0 where it ends
    by recovering. `level` of `base` is allowed: recipients per second, or connections."""

    source: str
    line: str
    provider: str
    action: Action
    rule: str
    reply: str
    since: int
    until: int = 0
    level: float = 0.0
    base: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """`level` is in force from now on (a rate or connections), or a rest until `until` (monotonic
    seconds); neither: it is over."""

    kind: Kind
    restraint: Restraint
    level: float | None = None
    until: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.level is None and not self.until


@dataclass(slots=True)
class _Entry:
    kind: Kind
    complaint: Complaint
    since: int
    temper: Temper | None = None
    until: float = 0.0


_Key = tuple[str, str, Kind]


class Restraints:
    """`clock` gives monotonic seconds, `wall` UTC milliseconds."""

    def __init__(
        self, clock: Callable[[], float], wall: Callable[[], int], most: int = MOST_IN_FORCE
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._most = most
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._counted: OrderedDict[tuple[str, str, str], deque[float]] = OrderedDict()
        self._deciding: set[_Key] = set()

    def __repr__(self) -> str:
        return f"<Restraints {len(self._entries)} in force>"

    def __len__(self) -> int:
        return len(self._entries)

    def hear(self, complaint: Complaint) -> bool:
        """Whether a complaint changes anything: then `act` is to follow. Those that come until it
        does are part of the same."""
        kind = _KINDS[complaint.action]
        key = complaint.source, complaint.line, kind
        if key in self._deciding or not self._is_enough(complaint):
            return False
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            if not self._is_news(entry, complaint):
                return False
        self._deciding.add(key)
        return True

    def _is_news(self, entry: _Entry, complaint: Complaint) -> bool:
        now = self._clock()
        if entry.temper is not None:
            return entry.temper.is_due(complaint.began, now)
        # Whatever is answered during a rest had left before it; only another rule prolongs it.
        is_longer = now + complaint.seconds > entry.until
        return now >= entry.until or (is_longer and complaint.rule != entry.complaint.rule)

    def _is_enough(self, complaint: Complaint) -> bool:
        """Whether so many replies have come in so short a time as the rule wants."""
        if complaint.count <= 1:
            return True
        key = complaint.rule, complaint.source, complaint.line
        began = self._counted.pop(key, None)
        if began is None or began.maxlen != complaint.count:
            began = deque(maxlen=complaint.count)
        # What several deliveries hear that share a transaction is one reply.
        if not began or abs(complaint.began - began[-1]) > _SAME_ATTEMPT:
            began.append(complaint.began)
        if len(began) == complaint.count and began[-1] - began[0] <= complaint.within:
            return True  # and counting begins anew
        self._counted[key] = began
        if len(self._counted) > _MOST_COUNTED:
            self._counted.popitem(last=False)
        return False

    def act(self, complaint: Complaint, base: float, flowed: float) -> list[Change]:
        """Put in force what follows from a complaint that was heard.

        `base` is what is allowed to the line (a rate per second, or connections; infinite where
        nothing is configured), `flowed` what went lately, of all workers together.
        """
        kind = _KINDS[complaint.action]
        key = complaint.source, complaint.line, kind
        self._deciding.discard(key)
        now = self._clock()
        if kind == "rate" and flowed:
            flowed = max(flowed, LEAST_FLOW)
        entry = self._entries.pop(key, None)
        changes = [] if entry is not None else self._make_room()
        if entry is None:
            entry = _Entry(kind, complaint, self._wall())
        entry.complaint = complaint
        if kind == "rest":
            entry.until = max(entry.until, now + complaint.seconds)
        elif entry.temper is None:
            base = base if base < inf else max(flowed, LEAST_FLOW)
            entry.temper = Temper.begin(base, flowed, complaint.seconds, now, _BOUNDS[kind])
        else:
            entry.temper.cut(flowed, complaint.seconds, now)
        self._entries[key] = entry
        return [*changes, self._change(key, entry)]

    def give_up(self, complaint: Complaint) -> None:
        """Nothing follows from a complaint that was heard: the next one is heard anew."""
        self._deciding.discard((complaint.source, complaint.line, _KINDS[complaint.action]))

    def _make_room(self) -> list[Change]:
        if len(self._entries) < self._most:
            return []
        # Whoever has many domains could push out what a provider has said.
        unnamed = (key for key, entry in self._entries.items() if not entry.complaint.provider)
        key = next(unnamed, None) or next(iter(self._entries))
        return [self._over(key, self._entries.pop(key))]

    def tick(self) -> list[Change]:
        """What has changed by the passing of time."""
        now = self._clock()
        changes = []
        for key, entry in list(self._entries.items()):
            if entry.temper is None:
                if now >= entry.until:
                    changes.append(self._end(key))
            elif entry.temper.recover(now):
                is_over = entry.temper.is_over
                changes.append(self._end(key) if is_over else self._change(key, entry))
        return changes

    def clear(self, source: str, line: str) -> list[Change]:
        """An operator lifts what holds a source back for a line."""
        return self._end_all(lambda key: key[:2] == (source, line))

    def keep(self, sources: Collection[str]) -> list[Change]:
        """After a reload: sources that are gone need no restraint."""
        return self._end_all(lambda key: key[0] not in sources)

    def _end_all(self, which: Callable[[_Key], bool]) -> list[Change]:
        return [self._end(key) for key in list(self._entries) if which(key)]

    def _end(self, key: _Key) -> Change:
        return self._over(key, self._entries.pop(key))

    # What is shown and told

    def in_force(self) -> list[Restraint]:
        """All of them, those that came last at the end."""
        return [self._shown(key, entry) for key, entry in self._entries.items()]

    def rests(self) -> list[Rest]:
        """What a worker that begins has to know."""
        return [
            rest_of(self._change(key, entry))
            for key, entry in self._entries.items()
            if entry.kind == "rest"
        ]

    def _change(self, key: _Key, entry: _Entry) -> Change:
        level = None if entry.temper is None else entry.temper.value
        return Change(entry.kind, self._shown(key, entry), level, entry.until)

    def _over(self, key: _Key, entry: _Entry) -> Change:
        return Change(entry.kind, self._shown(key, entry))

    def _shown(self, key: _Key, entry: _Entry) -> Restraint:
        complaint, temper = entry.complaint, entry.temper
        until = 0
        if temper is None:
            until = self._wall() + round((entry.until - self._clock()) * 1000)
        return Restraint(
            source=key[0],
            line=key[1],
            provider=complaint.provider,
            action=complaint.action,
            rule=complaint.rule,
            reply=complaint.reply,
            since=entry.since,
            until=until,
            level=temper.value if temper is not None else 0.0,
            base=temper.base if temper is not None else 0.0,
        )


def rest_of(change: Change) -> Rest:
    """What workers are told of a rest that began, changed or is over."""
    told = change.restraint
    return Rest(
        told.source,
        told.line,
        change.until,
        f"{told.source} rests for {told.line}: {told.rule}: {told.reply}",
    )
