"""What operators ask about event destinations: asked of the scribe, which tells them.

In a fleet one node's scribe does. On the others what the log has is shown (how far destinations
are, dead letters), and what changes anything is refused, with the name of that node.
"""

from typing import TYPE_CHECKING, TypeVar

from relay.admin.control import Changed, Refused
from relay.admin.events import DestinationRequest, LettersNamed, LettersRequest, ReplayRequest
from relay.events.afar import states_afar
from relay.events.letters import AT_ONCE, shown_letters
from relay.events.states import DestinationState, Replayed, ShownLetter, TrialResult
from relay.runtime.duties import SCRIBE
from relay.runtime.messages import (
    ForgetDeadLetters,
    Question,
    ReplayDeadLetters,
    ReplayEvents,
    TellDeadLetters,
    TellDestinations,
    TryDestination,
)

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor

A = TypeVar("A")

_WITHIN_S = 100.0  # a destination may take its time with each of some events
_BEGINS_WITHIN_S = 5.0


class EventControl:
    """See `EventOperations`."""

    def __init__(self, relay: "Supervisor") -> None:
        self._relay = relay

    async def states(self) -> list[DestinationState]:
        if self._is_afar():
            teller = await self._teller()
            return await states_afar(self._relay.message_log, self._relay.config, teller)
        return await self._ask(TellDestinations())

    async def test(self, request: DestinationRequest) -> list[TrialResult]:
        self._check(request.destination)
        return await self._ask(TryDestination(request.destination))

    async def letters(self, request: LettersRequest) -> list[ShownLetter]:
        limit = max(1, request.limit)
        if self._is_afar():
            letters = await shown_letters(
                self._relay.message_log,
                self._relay.config.hostname,
                request.destination,
                request.after,
                min(limit, AT_ONCE),
            )
        else:
            question = TellDeadLetters(request.destination, request.after, limit)
            letters = await self._ask(question)
        if not letters and request.destination:  # one that was removed may have left some
            self._check(request.destination)
        return letters

    async def forget(self, request: LettersNamed) -> Changed:
        return Changed(await self._ask(ForgetDeadLetters(request.destination, request.ids)))

    async def replay_letters(self, request: LettersNamed) -> Replayed:
        self._check(request.destination)
        return await self._ask(ReplayDeadLetters(request.destination, request.ids, request.after))

    async def replay(self, request: ReplayRequest) -> Replayed:
        self._check(request.destination)
        return await self._ask(
            ReplayEvents(request.destination, request.since, request.until, request.after)
        )

    def _is_afar(self) -> bool:
        """Whether another node tells events for the fleet, or none does."""
        tenure = self._relay.staff.scribe_tenure
        return tenure is not None and not tenure.is_held

    async def _teller(self) -> str:
        """The name of the node that tells them; empty where none does now."""
        return await self._relay.store.fleet.holder_of(SCRIBE)

    async def _ask(self, question: Question[A]) -> A:
        if self._is_afar():
            teller = await self._teller()
            if teller:
                raise Refused(
                    f"the node {teller} tells events for the fleet: ask there", "conflict"
                )
            raise Refused(
                "no node tells events now; one will take it up within seconds", "unavailable"
            )
        # It begins a moment after the workers.
        await self._relay.staff.scribe.some_ready(_BEGINS_WITHIN_S)
        answers = await self._relay.staff.scribe.ask(question, _WITHIN_S)
        if not answers:
            raise Refused(
                "the process that tells of events did not answer; the log says why", "unavailable"
            )
        return answers[0]

    def _check(self, name: str) -> None:
        known = self._relay.config.events
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise Refused(f"no event destination {name}; there are: {there}", "not_found")
