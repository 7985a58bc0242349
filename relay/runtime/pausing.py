"""Pauses of sending, put in force in every worker. What is in force follows from the store."""

from collections.abc import Callable

from relay.observe.metrics import Metrics
from relay.runtime.crew import Crew
from relay.runtime.messages import PausesAre
from relay.store.interface import PauseStore
from relay.store.pauses import Pause

_ANSWERS_WITHIN = 3.0


class Pausing:
    """What is in force."""

    def __init__(self, store: PauseStore, crew: Callable[[], Crew], metrics: Metrics) -> None:
        self.in_force: tuple[Pause, ...] = ()
        self._store = store
        self._crew = crew
        self._metrics = metrics

    async def begin(self) -> None:
        """Read what is in force, before there is a worker. Raises `StoreError`."""
        self._take(tuple(await self._store.all()))

    async def refresh(self) -> None:
        """Put in force what the store has now; returns when every worker has heard of it."""
        self._take(tuple(await self._store.all()))
        await self._crew().ask(PausesAre(self.in_force), _ANSWERS_WITHIN)

    def _take(self, found: tuple[Pause, ...]) -> None:
        for gone in self.in_force:
            self._metrics.sending_paused.labels(gone.kind, gone.name).set(0)
        for pause in found:
            self._metrics.sending_paused.labels(pause.kind, pause.name).set(1)
        self.in_force = found
