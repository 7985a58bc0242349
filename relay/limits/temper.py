"""Slowing down at once and recovering slowly: halved by a complaint, grown back by steps.

One `Temper` governs one number (a rate, or how many connections) between a source and a line. A
provider that complains is one that counts: to go on at half the rate and to be at the old one a
minute later only meets the same complaint again. So a cut is multiplicative and recovery additive,
as TCP does with its window (RFC 5681 §3.1), and for the same reason.

* **One cut for one round.** Whatever was under way when a cut was made says nothing of the rate
  after it. A complaint counts where its attempt began after the last cut, and not within
  `ROUND_SECONDS` of it; within them it only puts recovery off.
* **What is cut is what flowed**, where that was less than what was allowed.
* **A step for each interval without a complaint**: a tenth of the rate that was too much, or a
  fiftieth of the base if that is more, so that even the deepest cut is over after fifty steps.
* **Never nothing.** Without any mail nobody would learn that the complaint is over.

Pure; the caller's monotonic seconds.
"""

from dataclasses import dataclass

ROUND_SECONDS = 20.0
DEEPEST = 1 / 64  # of the base; no cut goes below


@dataclass(frozen=True, slots=True)
class Bounds:
    """`floor` is what no cut goes below, `step` what recovery grows by at least."""

    floor: float
    step: float = 0.0


RATE = Bounds(floor=1 / 60)
"""Recipients per second: one a minute at least."""

CONNECTIONS = Bounds(floor=1.0, step=1.0)


@dataclass(slots=True)
class Temper:
    """`value` of at most `base` is in force. Made by the first complaint, over when it is back at
    the base."""

    base: float
    value: float
    interval: float
    cut_at: float
    step_at: float
    step: float
    bounds: Bounds

    @classmethod
    def begin(
        cls, base: float, flowed: float, interval: float, now: float, bounds: Bounds = RATE
    ) -> "Temper":
        """The first cut. `base` is what was allowed, `flowed` what went lately (0: not known),
        `interval` the seconds for one step back."""
        temper = cls(base, base, interval, now, now, base, bounds)
        temper._cut(flowed, now)
        return temper

    @property
    def is_over(self) -> bool:
        return self.value >= self.base

    def is_due(self, began: float, now: float) -> bool:
        """Whether a complaint about what began then cuts anew; where not, it has only put recovery
        off."""
        if began > self.cut_at and now >= self.cut_at + ROUND_SECONDS:
            return True
        self.step_at = max(self.step_at, now + self.interval)
        return False

    def cut(self, flowed: float, interval: float, now: float) -> None:
        """Halve what is in force, or what flowed where that was less."""
        self.interval = interval
        self._cut(flowed, now)

    def _cut(self, flowed: float, now: float) -> None:
        too_much = min(self.value, flowed) if flowed > 0 else self.value
        half = self.value / 2
        floor = min(self.base / 2, max(self.base * DEEPEST, self.bounds.floor))
        self.value = min(self.value, max(floor, min(half, too_much / 2)))
        self.step = max(too_much / 10, self.base / 50, self.bounds.step)
        self.cut_at = now
        self.step_at = now + self.interval

    def recover(self, now: float) -> bool:
        """Take the steps that are due at `now`; whether there were any."""
        if now < self.step_at:
            return False
        steps = 1 + int((now - self.step_at) / self.interval)
        self.step_at += steps * self.interval
        self.value = min(self.base, self.value + steps * self.step)
        return True
