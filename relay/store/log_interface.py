"""The message log: what became of mail, kept apart from the queue so that neither slows the other.

Written by one process, from the outbox; read by any. It may lag behind the queue by a moment and
never loses what the outbox had: entries leave the outbox once the log has them on stable storage.
Failures: `StoreError`, as in `relay.store.interface`.
"""

from collections.abc import Sequence
from typing import Protocol

from relay.store.interface import StoreError
from relay.store.log_values import (
    DeadLetter,
    Filing,
    LoggedEvent,
    LoggedMessage,
    MessageQuery,
    SearchResult,
    Tally,
    TellingCursor,
)


class FiledElsewhere(StoreError):
    """Another scribe has filed from this outbox meanwhile, or it is another one's duty to write:
    there may be only one."""


NEVER_TRIED = 1 << 62
"""A time by which all mail has expired."""


class Filed(Protocol):
    """Where messages and events are looked up."""

    async def message(self, message_id: str) -> LoggedMessage | None: ...

    async def messages(self, ids: Sequence[str]) -> dict[str, LoggedMessage]:
        """Those of the messages that are known, by id."""

    async def events_of(self, message_id: str, limit: int = 1_000) -> list[LoggedEvent]:
        """Events of a message, oldest first."""

    async def search(self, query: MessageQuery) -> SearchResult:
        """Newest first."""


class TellingLog(Protocol):
    """What those who tell destinations need. Cursors belong to the one who writes the log."""

    async def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        """The next events of all messages, in order of number."""

    async def newest_event(self) -> int:
        """The highest number of an event; 0 where there is none."""

    async def oldest_event(self) -> int:
        """The lowest number that is kept; 0 where there is none."""

    async def count_events(self, after: int, upto: int) -> int:
        """How many events have numbers beyond `after`, up to `upto`."""

    async def cursors(self) -> list[TellingCursor]: ...

    async def put_cursors(self, cursors: Sequence[TellingCursor]) -> None: ...

    async def forget_cursor(self, destination: str) -> None: ...

    async def add_dead_letters(self, letters: Sequence[DeadLetter], most: int) -> None:
        """Keep them; of one destination at most `most`, the oldest go first."""

    async def dead_letters(
        self, destination: str, after: int = 0, limit: int = 100
    ) -> list[DeadLetter]:
        """In order of id; of all destinations where it is empty."""

    async def count_dead_letters(self) -> dict[str, int]:
        """How many each destination has."""

    async def forget_dead_letters(self, ids: Sequence[int]) -> int:
        """How many there were."""


class TallyLog(Protocol):
    """What reputation counts."""

    async def tallies(self, since_hour: int) -> list[Tally]:
        """From that hour on (hours since the epoch), oldest first."""

    async def prune_tallies(self, before_hour: int) -> int: ...


class MessageLog(Filed, TellingLog, TallyLog, Protocol):
    """Everything, plus its life."""

    async def open(self, reading: bool = False) -> None:
        """Create or migrate what is needed; with `reading`, only read what another process
        writes (it may not exist yet: nothing is found then)."""

    async def close(self) -> None: ...

    async def filed_upto(self, outbox: str) -> int:
        """The last entry of the outbox of that name that the log has; 0 where it knows none."""

    async def file(self, filing: Filing) -> None:
        """Durable when it returns. Raises `FiledElsewhere`, with nothing changed, where the log
        stands neither where the filing begins nor where it ends."""

    async def prune(
        self, before: int, most_octets: int, keep_from: int, limit: int, now: int = NEVER_TRIED
    ) -> int:
        """Forget up to `limit` of the oldest messages, with their events, that were accepted before
        then, or while the log is larger than `most_octets`; but no event from number `keep_from`
        on, which somebody is still to be told, and no message that is still tried: one of its
        recipients waits, and it had not expired a day before `now` (UTC ms). How many messages
        went; after 0 the next step begins at the oldest again."""
