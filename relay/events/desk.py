"""What operators ask about destinations of events, and have done: tests, dead letters, replays."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from relay.events.destinations.interface import DestinationError
from relay.events.letters import AT_ONCE, shown_letters
from relay.events.notification import Notification
from relay.events.patience import Failed, Outcome, Refused, Told
from relay.events.reader import ReadableLog, notifications
from relay.events.replaying import is_past, number_before, tell_again
from relay.events.samples import samples
from relay.events.states import DestinationState, Replayed, ShownLetter, TrialResult
from relay.events.teller import Teller
from relay.events.telling import EventTelling
from relay.store.log_values import DeadLetter, LoggedEvent


class EventDesk:
    """Answers while events are being told. `wall` gives UTC milliseconds. Every method may raise
    `StoreError`, and those that name a destination `UnknownDestination`."""

    def __init__(
        self, telling: EventTelling, log: ReadableLog, hostname: str, wall: Callable[[], int]
    ) -> None:
        self._telling = telling
        self._log = log
        self._hostname = hostname
        self._wall = wall

    async def states(self) -> list[DestinationState]:
        """All destinations, by name."""
        return await self._telling.states()

    async def test(self, name: str) -> list[TrialResult]:
        """Tell a destination of events that never happened, one of each type that it is told.
        Raises `UnknownDestination`."""
        teller = self._telling.teller(name)
        chosen = min(teller.matching.sets, default="none")
        results = []
        for one in samples(teller.matching.types, chosen, self._hostname, self._wall()):
            outcome = (await _try(teller, [one]))[0]
            results.append(
                TrialResult(one.event.type, one.event.id, isinstance(outcome, Told), _said(outcome))
            )
            if isinstance(outcome, Failed):
                break
        return results

    async def dead_letters(self, name: str, after: int, limit: int) -> list[ShownLetter]:
        """Of one destination, or of all where the name is empty, in the order of their ids."""
        return await shown_letters(self._log, self._hostname, name, after, min(limit, AT_ONCE))

    async def forget(self, name: str, ids: Sequence[int]) -> int:
        """Forget dead letters of a destination, those with these ids (`AT_ONCE` at most), or where
        there are none some of all: as many as went. 0 where none is left."""
        if ids:
            letters = await self._letters_of(name, ids)
        else:
            letters = await self._log.dead_letters(name, 0, AT_ONCE)
        wanted = [letter.id for letter in letters]
        return await self._log.forget_dead_letters(wanted) if wanted else 0

    async def replay_dead(self, name: str, ids: Sequence[int], after: int) -> Replayed:
        """Tell dead letters once more: those with these ids (`AT_ONCE` at most), else the next of
        all after that one.
        What is told now is forgotten. Raises `UnknownDestination`."""
        teller = self._telling.teller(name)
        if ids:
            letters = await self._letters_of(name, ids)
        else:
            letters = await self._log.dead_letters(name, after, AT_ONCE)
        outcomes = await _try(
            teller, await self._notifications([letter.event for letter in letters])
        )
        told = [
            letter.id
            for letter, outcome in zip(letters, outcomes, strict=True)
            if isinstance(outcome, Told)
        ]
        if told:
            await self._log.forget_dead_letters(told)
        is_over = bool(ids) or not letters
        return _replayed(outcomes, [letter.id for letter in letters], is_over=is_over)

    async def replay(self, name: str, since: int, until: int, after: int) -> Replayed:
        """Tell the next events once more that match and happened from `since` to before `until`
        (UTC ms), after the event of that number (0: from the first). Raises `UnknownDestination`.
        """
        teller = self._telling.teller(name)
        number = after or await number_before(self._log, since)
        page = await self._notifications(await self._log.events_after(number, AT_ONCE))
        wanted = [
            one
            for one in page
            if since <= one.event.at < until and teller.matching.wants(one.event, one.message)
        ]
        outcomes = await _try(teller, wanted)
        part = _replayed(outcomes, [one.event.number for one in wanted], is_over=False)
        if part.error or any(outcome is None for outcome in outcomes):
            return part
        is_over = not page or is_past(page[-1].event.at, until)
        return replace(part, after=0 if is_over else page[-1].event.number)

    async def _notifications(self, events: Sequence[LoggedEvent]) -> list[Notification]:
        return await notifications(self._log, self._hostname, events)

    async def _letters_of(self, name: str, ids: Sequence[int]) -> list[DeadLetter]:
        """Those of the destination that have these ids."""
        found = [await self._log.dead_letters(name, one - 1, 1) for one in ids[:AT_ONCE]]
        return [
            letters[0]
            for letters, one in zip(found, ids, strict=False)
            if letters and letters[0].id == one
        ]


async def _try(teller: Teller, some: Sequence[Notification]) -> list[Outcome | None]:
    try:
        destination = teller.destination()
    except DestinationError as error:
        return [Failed(f"it cannot be set up: {error}") for _ in some]
    return await tell_again(destination, some)


def _said(outcome: Outcome | None) -> str:
    match outcome:
        case Told(answer=answer):
            return answer
        case Refused(error=error) | Failed(error=error):
            return error
        case None:
            return "not tried"


def _replayed(
    outcomes: Sequence[Outcome | None], numbers: Sequence[int], *, is_over: bool
) -> Replayed:
    """`numbers` are those of what was told, in order. What was not tried comes first next time."""
    failed = next((outcome for outcome in outcomes if isinstance(outcome, Failed)), None)
    untried = next((n for n, o in zip(numbers, outcomes, strict=True) if o is None), None)
    after = 0 if is_over or not numbers else numbers[-1]
    if untried is not None:
        after = untried - 1
    return Replayed(
        told=sum(isinstance(outcome, Told) for outcome in outcomes),
        refused=sum(isinstance(outcome, Refused) for outcome in outcomes),
        after=0 if failed else after,
        error=failed.error if failed else "",
    )
