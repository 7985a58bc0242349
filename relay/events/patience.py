"""What a destination said, and how long to wait before the next try. Pure.

Trouble with the destination itself makes all of its events wait, and one of them probes. Trouble
with one event makes that event wait, and a dead letter of it in the end. A destination that fails
for one event while it takes others has trouble with that event, whatever it says.
"""

from dataclasses import dataclass
from random import Random

MOST_REFUSALS = 3
"""So often an event is refused before it is a dead letter."""
MOST_FAILURES = 10
"""So often an event fails, while others are taken in between, before it is a dead letter."""
FIRST_S, LONGEST_S = 1.0, 300.0
LONGEST_ASKED_S = 3_600.0
_REFUSED_S = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Told:
    """The destination has it. `answer` is for people."""

    answer: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination does not take this event; it may well take others."""

    error: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The destination takes nothing now. `wait` are the seconds that it asked for."""

    error: str
    wait: float | None = None


Outcome = Told | Refused | Failed

_ABOUT_THE_EVENT = frozenset({400, 406, 409, 413, 414, 422, 431})


def judge(status: int, wait: float | None, said: str) -> Outcome:
    """What an HTTP status means. `wait` is Retry-After in seconds, `said` what the body says."""
    if 200 <= status < 300:
        return Told(str(status))
    error = f"answered {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        return Failed(f"{error} (redirects are not followed)")
    if status in _ABOUT_THE_EVENT:
        return Refused(error)
    return Failed(error, wait if status in (429, 503) else None)


class Patience:
    """When a destination in trouble is tried again. Seconds of any one clock."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._failures = 0
        self.since: float | None = None
        self.again_at = 0.0

    @property
    def in_trouble(self) -> bool:
        """It failed and has taken nothing since."""
        return self.since is not None

    def failed(self, now: float, asked: float | None) -> None:
        """A try failed. Tries that were under way together count as one."""
        if self.since is None:
            self.since = now
        elif now < self.again_at:
            return
        delay = min(LONGEST_S, FIRST_S * 2 ** min(self._failures, 20))
        delay *= self._rng.uniform(0.5, 1.0)
        self._failures += 1
        if asked is not None:
            delay = max(delay, min(asked, LONGEST_ASKED_S))
        self.again_at = now + delay

    def took(self) -> None:
        """An event was taken: all is well."""
        self._failures = 0
        self.since = None
        self.again_at = 0.0


@dataclass(slots=True)
class Trials:
    """How often one event was tried. `not_before` is when it may be tried again."""

    attempts: int = 0
    refusals: int = 0
    failures: int = 0
    not_before: float = 0.0
    taken_by_then: int = 0

    def refused(self, now: float) -> bool:
        """The event was refused; whether once too often."""
        self.attempts += 1
        self.refusals += 1
        self.not_before = now + _REFUSED_S[min(self.refusals, len(_REFUSED_S)) - 1]
        return self.refusals >= MOST_REFUSALS

    def failed(self, now: float, taken: int, *, holds_up: bool = False) -> bool:
        """The destination failed with it, which has taken so many events until now; whether once
        too often while it took others. `holds_up`: it took so many that nothing further is told
        before this one is done."""
        self.attempts += 1
        if self.attempts == 1 or holds_up or taken > self.taken_by_then:
            self.failures += 1
        self.taken_by_then = taken
        self.not_before = now + min(LONGEST_S, FIRST_S * 2 ** min(self.failures, 20))
        return self.failures >= (MOST_REFUSALS if holds_up else MOST_FAILURES)
