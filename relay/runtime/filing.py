"""What happened, on its way from the outbox into the message log.

Read in the order of the commits, made into messages and events, filed in one transaction with the
place up to which the outbox was read; only then is the outbox emptied up to there. Whoever dies in
between leaves entries that are filed, which the log's own place tells the next one to pass over.
While the log cannot be written the outbox grows and mail goes on.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.events.filing import Made, Memory, Rules, make_filing, strangers, told_from_outside
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics
from relay.store.happenings import OutboxEntry, Sent, Unreadable
from relay.store.interface import Outbox, StoreError, SuppressionStore
from relay.store.log_interface import FiledElsewhere, MessageLog
from relay.store.log_values import Filing

_AT_ONCE = 500
_EVERY = 0.2  # seconds: what happens in between is filed together
_RETRY_FIRST, _RETRY_LONGEST = 0.5, 15.0
# As long as a report may be believed (`returns.accept_for` is 365 days at most): handed in again,
# it is still known.
_ONCE_KEPT_MS = 366 * 86_400_000
_ONCE_EVERY = 600.0
_ONCE_AT_ONCE = 1_000
_ALONE_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class _Ready:
    """A filing, the time of its oldest entry (UTC ms), and whether there may be more to come."""

    filing: Filing
    oldest: int
    is_full: bool


class FilingDesk:
    """Empties one outbox into one log. `filed` is called after each filing, with it; `rules` gives
    what is judged by now, `wall` UTC milliseconds."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        log: MessageLog,
        suppressions: SuppressionStore,
        rules: Callable[[], Rules],
        filed: Callable[[Filing], None],
        wall: Callable[[], int],
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        self._outbox = outbox
        self._log = log
        self._suppressions = suppressions
        self._rules = rules
        self._filed = filed
        self._wall = wall
        self._metrics = metrics
        self._logger = logger
        self._memory = Memory()
        self._name, self._upto = "", 0
        self._ready: _Ready | None = None
        self._ending = asyncio.Event()
        self._pruned_at = 0.0
        self._alone_at = 0.0

    async def open(self) -> None:
        """Where the log stands. Raises `StoreError`."""
        name, newest = await self._outbox.name()
        self._upto = await self._log.filed_upto(name)
        if self._upto > newest:
            self._logger.warning(
                "the store was put back to an earlier state: what it tells is filed as new",
                filed_upto=self._upto,
                newest=newest,
            )
            name, self._upto = await self._outbox.rename(), 0
        self._name = name

    async def run(self) -> None:
        """File what happens, until `finish` was asked for and nothing is left. Raises
        `FiledElsewhere` where another does."""
        wait = _RETRY_FIRST
        while True:
            began = time.monotonic()
            try:
                was_full = await self._file_some()
                await self._tidy()
            except FiledElsewhere:
                raise
            except StoreError as error:
                self._metrics.log_errors.inc()
                self._logger.error(
                    "what happened cannot be filed now; it waits in the outbox",
                    seconds=wait,
                    error=str(error),
                )
                if await self._ends_within(wait):
                    return
                wait = min(wait * 2, _RETRY_LONGEST)
                continue
            wait = _RETRY_FIRST
            if was_full:
                continue
            if self._ending.is_set():
                return
            await self._ends_within(max(0.0, _EVERY - (time.monotonic() - began)))

    def finish(self) -> None:
        """Have `run` end once the outbox is empty."""
        self._ending.set()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return False
        return True

    async def _file_some(self) -> bool:
        """File what there is, up to a number; whether there may be more."""
        if self._ready is None:
            self._ready = await self._get_ready()
        self._metrics.outbox_age.set(
            max(0.0, (self._wall() - self._ready.oldest) / 1000) if self._ready else 0.0
        )
        if self._ready is None:
            await self._look_for_another()
            return False
        filing, is_full = self._ready.filing, self._ready.is_full
        # The same one until it is filed: should a commit not be heard of, the log can tell.
        await self._log.file(filing)
        self._ready = None
        self._upto = filing.upto
        self._count(filing)
        self._filed(filing)
        await self._outbox.forget(self._upto)
        return is_full

    async def _get_ready(self) -> _Ready | None:
        """What is to be filed next; None while there is nothing."""
        entries = await self._outbox.read(self._upto, _AT_ONCE)
        if not entries:
            return None
        made = await self._make(entries)
        if made.suppress:
            await self._suppressions.add_observed(made.suppress)
        filing = replace(made.filing, after=self._upto)
        return _Ready(filing, entries[0].at, len(entries) == _AT_ONCE)

    async def _look_for_another(self) -> None:
        """Who finds nothing to file may be one who was stopped, while another one has filed it."""
        now = time.monotonic()
        if now - self._alone_at < _ALONE_EVERY:
            return
        self._alone_at = now
        name, newest = await self._outbox.name()
        upto = await self._log.filed_upto(self._name)
        if name != self._name or newest < self._upto or upto != self._upto:
            raise FiledElsewhere(
                f"What happened up to {self._upto} of {self._name} was filed here; the log has it"
                f" up to {upto}, and the outbox is {name}, at {newest}."
            )

    async def _make(self, entries: list[OutboxEntry]) -> Made:
        """A filing of entries, with what has to be looked up for it."""
        for entry in entries:
            if isinstance(entry.what, Unreadable):
                self._logger.error(
                    "an entry of the outbox cannot be read: what it told of is true, and is not"
                    " in the log",
                    message_id=entry.message_id,
                    entry=entry.id,
                    error=entry.what.error,
                )
        if unknown := strangers(entries, self._memory):
            self._memory.put(await self._log.messages(sorted(unknown)))
        outside = told_from_outside(entries)
        self._tell_of_forgotten(entries, outside)
        past = {message_id: await self._log.events_of(message_id) for message_id in sorted(outside)}
        return make_filing(self._name, entries, self._memory, past, self._rules())

    def _tell_of_forgotten(self, entries: list[OutboxEntry], outside: set[str]) -> None:
        """Reports about messages that the log has no more: who they were to, nobody knows."""
        here = {entry.message_id for entry in entries if isinstance(entry.what, Sent)}
        for message_id in outside - here:
            if self._memory.get(message_id) is None:
                self._metrics.returns_forgotten.inc()
                self._logger.warning(
                    "a report came about a message that the log does not have: it changes nothing",
                    message_id=message_id,
                )

    def _count(self, filing: Filing) -> None:
        sets = {}
        for event in filing.events:
            if event.message_id not in sets:
                message = self._memory.get(event.message_id)
                sets[event.message_id] = message.configuration_set if message else ""
            name = sets[event.message_id]
            self._metrics.child(self._metrics.events, event.type, name).inc()

    async def _tidy(self) -> None:
        """Forget, now and then, which reports came in long ago."""
        now = time.monotonic()
        if self._pruned_at and now - self._pruned_at < _ONCE_EVERY:
            return
        gone = await self._outbox.prune_once(self._wall() - _ONCE_KEPT_MS, _ONCE_AT_ONCE)
        if gone < _ONCE_AT_ONCE:
            self._pruned_at = now
