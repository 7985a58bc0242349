"""Counters of events whose labels the configuration chooses: `relay_sending_events_total`.

Each destination has dimensions of its own, so that series of one name differ in their labels, as
Prometheus allows and its library's counters do not.
"""

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

NAME = "relay_sending_events"
MEANING = "Recipients of events, with the dimensions of the destination."

Labels = tuple[tuple[str, str], ...]


class SendingEvents(Collector):
    """Counts by labels. The one who counts keeps their number within bounds."""

    def __init__(self) -> None:
        self._counts: dict[Labels, int] = defaultdict(int)

    def add(self, labels: Labels, count: int) -> None:
        self._counts[labels] += count

    def collect(self) -> Iterator[Metric]:
        """As the registry wants it."""
        metric = Metric(NAME, MEANING, "counter")
        for labels, count in self._counts.items():
            metric.add_sample(f"{NAME}_total", dict(labels), count)
        yield metric
