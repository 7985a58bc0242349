"""What happened, until the message log has it, and the streams that are paused for it."""

from typing import Protocol

from relay.store.happenings import Happening, OutboxEntry, PausedKind
from relay.store.pauses import FreshStart, Pause


class Outbox(Protocol):
    """What happened, until the message log has it. Most of it is written with inserts and
    settlements."""

    async def name(self) -> tuple[str, int]:
        """The name of this outbox, and an id that is not lower than any that it has ever given, and
        lower than all that it is to give; -1 where there is none, for it was put back to an earlier
        state. An outbox that was made anew has another name."""

    async def rename(self) -> str:
        """Give it another name: it was put back to an earlier state, and gives ids again that the
        log has seen."""

    async def read(self, after: int, limit: int) -> list[OutboxEntry]:
        """The next entries, in the order in which they were committed."""

    async def forget(self, upto: int) -> int:
        """Remove entries up to that id, which the log has; how many."""

    async def add(
        self, message_id: str, at: int, what: Happening, once: str = "", most: int | None = None
    ) -> bool:
        """Write an entry down. Where `once` is given and was given before, and is not pruned, it is
        not written again, and the answer is False: the same report may be handed in twice. Neither
        is one beyond `most` words that are alike up to their last hyphen."""

    async def prune_once(self, before: int, limit: int) -> int:
        """Forget up to `limit` words of `once` that came before then (UTC ms); how many."""

    async def depth(self) -> tuple[int, int]:
        """About how many entries there are, and when the oldest one happened (0: there is none)."""


class PauseStore(Protocol):
    """Streams whose new mail is refused. What starts and ends a pause is told in the outbox."""

    async def all(self) -> list[Pause]:
        """By kind and name."""

    async def put(self, pause: Pause) -> bool:
        """Pause, and tell of it; False where that stream is paused already: nothing changes."""

    async def lift(self, kind: PausedKind, name: str, at: int, reason: str) -> bool:
        """End a pause, and tell of it; False where there is none."""

    async def fresh_starts(self) -> list[FreshStart]:
        """By dimension."""

    async def start_afresh(self, start: FreshStart) -> None:
        """Have the reputation of a dimension count from then on."""
