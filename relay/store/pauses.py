"""Streams whose sending is paused, and from when on their reputation counts. UTC milliseconds."""

from dataclasses import dataclass

from relay.store.happenings import PausedKind


@dataclass(frozen=True, slots=True)
class Pause:
    """New mail of a configuration set or a credential is refused, since `since`. `reason` is a
    sentence with the figures, `by` who did it (`relay`: the relay itself)."""

    kind: PausedKind
    name: str
    reason: str
    by: str
    since: int

    @property
    def key(self) -> str:
        """As `set:NAME`: there is one of each at a time."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class FreshStart:
    """The reputation of a dimension (see `log_values.Tally`) counts from `at` on. What the hour
    had until then is taken off."""

    dimension: str
    at: int
    sent: int = 0
    bounced: int = 0
    complained: int = 0
