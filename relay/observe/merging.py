"""One `/metrics` for several processes: what each has counted, added up.

Counters and histograms are sums over all processes that ever ran, so that they never run backwards
when one dies: what a process had counted when it was last asked stays counted. Gauges that are
parts of a whole (`Metrics.additive`) are sums over the processes that run; any other gauge is the
supervisor's alone. Pure, but for reading a registry.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a family at one time."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all of its series. `kind` is Prometheus's word for it."""

    name: str
    kind: str
    meaning: str
    samples: tuple[Sample, ...]


def take_stock(registry: CollectorRegistry) -> tuple[Family, ...]:
    """Everything that a registry holds now."""
    return tuple(
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            tuple(
                Sample(sample.name, tuple(sample.labels.items()), sample.value)
                for sample in metric.samples
            ),
        )
        for metric in registry.collect()
    )


def counts(families: Iterable[Family]) -> tuple[Family, ...]:
    """What of a process outlives it."""
    return tuple(family for family in families if family.kind in ("counter", "histogram"))


def merge(
    own: Sequence[Family], others: Iterable[Sequence[Family]], additive: frozenset[str]
) -> tuple[Family, ...]:
    """`own` are the supervisor's, `others` those of each worker, gone or running.

    Families and series keep the order in which they are first met.
    """
    merged: dict[str, tuple[Family, dict[tuple[str, Labels], float]]] = {}
    for family in own:
        _add(merged, family)
    for families in others:
        for family in families:
            if family.kind in ("counter", "histogram") or family.name in additive:
                _add(merged, family)
    return tuple(
        Family(
            family.name,
            family.kind,
            family.meaning,
            tuple(Sample(name, labels, value) for (name, labels), value in series.items()),
        )
        for family, series in merged.values()
    )


def _add(merged: dict[str, tuple[Family, dict[tuple[str, Labels], float]]], family: Family) -> None:
    _, series = merged.setdefault(family.name, (family, {}))
    for sample in family.samples:
        key = sample.name, sample.labels
        series[key] = series.get(key, 0.0) + sample.value


class Merged:
    """Merged families in the form that Prometheus's encoders read, as a registry would."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families as the library's own."""
        for family in self._families:
            metric = Metric(family.name, family.meaning, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric
