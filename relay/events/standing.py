"""How one destination is doing: what it took, what went wrong last, when it is tried again."""

from collections.abc import Callable
from random import Random

from relay.events.patience import Failed, Patience
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics

MOST_REFUSED_IN_A_ROW = 20
"""Who refuses so many events one after the other has trouble of his own, whatever he says."""


class Standing:
    """Notes what tellings come to, in words, figures and log lines. `clock` gives UTC milliseconds,
    `now` are seconds of the loop's clock."""

    def __init__(
        self, name: str, metrics: Metrics, logger: Logger, clock: Callable[[], int], rng: Random
    ) -> None:
        self.patience = Patience(rng)
        self.told = 0
        self.last_told_at = 0
        self.last_error = ""
        self.last_error_at = 0
        self._name = name
        self._metrics = metrics
        self._logger = logger
        self._clock = clock
        self._refused_in_a_row = 0

    @property
    def refuses_everything(self) -> bool:
        """Whether one more refusal is not about an event any more."""
        return self._refused_in_a_row >= MOST_REFUSED_IN_A_ROW

    def took(self) -> None:
        """It has an event."""
        self._count("told")
        self._refused_in_a_row = 0
        self._recovered()
        self.told += 1
        self.last_told_at = self._clock()

    def refused(self, error: str) -> None:
        """It does not take an event, and may take others."""
        self._count("refused")
        self._refused_in_a_row += 1
        self._recovered()
        self._note(error)

    def failed(self, failed: Failed, now: float) -> None:
        """It did not take an event."""
        self._count("failed")
        self.could_not_begin(failed, now)

    def could_not_begin(self, failed: Failed, now: float) -> None:
        """It could not be told at all."""
        if not self.patience.in_trouble:
            self._logger.warning("a destination of events fails", error=failed.error)
        self.patience.failed(now, failed.wait)
        self._note(failed.error)

    def _recovered(self) -> None:
        if self.patience.in_trouble:
            self._logger.info("a destination of events takes them again")
        self.patience.took()

    def _note(self, error: str) -> None:
        self.last_error = error
        self.last_error_at = self._clock()

    def _count(self, outcome: str) -> None:
        self._metrics.child(self._metrics.event_deliveries, self._name, outcome).inc()
