"""What operators ask about destinations of events; `relay.events.states` has the answers."""

from dataclasses import dataclass
from typing import Protocol

from relay.admin.control import Changed
from relay.events.states import DestinationState, Replayed, ShownLetter, TrialResult


@dataclass(frozen=True, slots=True)
class DestinationRequest:
    """A destination by its name in the configuration."""

    destination: str


@dataclass(frozen=True, slots=True)
class LettersRequest:
    """Dead letters after that id; of all destinations where the name is empty."""

    destination: str = ""
    after: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class LettersNamed:
    """Dead letters of a destination by their ids, or where there are none all of them, in parts:
    the next after that id."""

    destination: str
    ids: tuple[int, ...] = ()
    after: int = 0


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Events that happened from `since` to before `until` (UTC ms), in parts: the next after the
    event of that number."""

    destination: str
    since: int
    until: int
    after: int = 0


class EventOperations(Protocol):
    """Every method raises `Refused`."""

    async def states(self) -> list[DestinationState]:
        """All destinations, by name."""

    async def test(self, request: DestinationRequest) -> list[TrialResult]:
        """Tell a destination of events that never happened, one of each type that it is told."""

    async def letters(self, request: LettersRequest) -> list[ShownLetter]:
        """In the order of their ids."""

    async def forget(self, request: LettersNamed) -> Changed:
        """Forget dead letters; in parts where no ids are given, until `count` is 0."""

    async def replay_letters(self, request: LettersNamed) -> Replayed:
        """Tell dead letters again. Those that are told now are forgotten."""

    async def replay(self, request: ReplayRequest) -> Replayed:
        """Tell events again that match the destination."""
