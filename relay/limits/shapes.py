"""How one source may send to one line: the shape, put together from the definitions of providers.

A *line* is whom a limit of a destination is for: a provider by its name, or a site that is no named
provider's (see `relay.routing.sites`). What a pool says for a provider beats what the provider's
definition says; where neither says anything `default` of the pool, then `default` itself decides.
A source address that several pools share has one shape, the lowest of theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from relay.config.model import Config
from relay.config.providers import providers_of
from relay.config.shaping import DEFAULT, Shaping
from relay.config.units import Rate

MOST_RECIPIENTS = 100  # of one transaction: what every server takes (RFC 5321 §4.5.3.1.8)
_NOTHING = Shaping()

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Shape:
    """What one source sends to one line at most. `connections` are open at the same time; `rates`
    (the shortest first) and `quota`, in a rolling 24 hours, count recipients; `recipients` are
    those of one transaction; `connection_rate` counts connections that are opened."""

    connections: int
    messages_per_connection: int
    recipients: int = MOST_RECIPIENTS
    rates: tuple[Rate, ...] = ()
    quota: int | None = None
    connection_rate: Rate | None = None

    def __str__(self) -> str:
        """For people: `20 connections of 50 messages, 100 recipients each, 20/s`."""
        limits = [*map(str, self.rates)]
        if self.quota:
            limits.append(f"{self.quota:,} in 24 hours")
        if self.connection_rate:
            limits.append(f"{self.connection_rate} opened")
        text = (
            f"{self.connections} connections of {self.messages_per_connection} messages,"
            f" {self.recipients} recipients each"
        )
        return ", ".join([text, *limits])


class Shapes:
    """The shapes of one configuration. Never changes."""

    def __init__(self, config: Config) -> None:
        delivery = config.delivery
        base = Shaping(
            connections=delivery.connections_per_destination,
            messages_per_connection=delivery.messages_per_connection,
            recipients=MOST_RECIPIENTS,
        )
        self._providers = providers_of(config)
        self._last = (config.providers.get(DEFAULT, _NOTHING), base)
        self._overrides: dict[str, list[Mapping[str, Shaping]]] = {}
        for pool in config.pools.values():
            for source in pool.sources:
                self._overrides.setdefault(str(source.address), []).append(pool.providers)
        self._known: dict[tuple[str, str], Shape] = {}

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of all definitions, `default` not among them."""
        return tuple(self._providers)

    def of(self, source: str, line: str) -> Shape:
        """The shape for a source address, in text, and a line: a provider's name or any other."""
        name = line if line in self._providers else DEFAULT
        known = self._known.get((source, name))
        if known is None:
            known = self._known[source, name] = self._make(source, name)
        return known

    def in_pool(self, overrides: Mapping[str, Shaping], name: str) -> Shape:
        """The shape for a definition's name, by what one pool says alone."""
        return _shape(self._in_line(overrides, name))

    def connections(self, key: str) -> int:
        """How many connections a source may have to a line, by `relay.limits.specs.line_key`."""
        source, _, line = key.partition("/")
        return self.of(source, line).connections

    def _make(self, source: str, name: str) -> Shape:
        pools = self._overrides.get(source, [{}])
        return _lowest([_shape(self._in_line(pool, name)) for pool in pools])

    def _in_line(self, pool: Mapping[str, Shaping], name: str) -> tuple[Shaping, ...]:
        """Whose word counts, the first one's sooner than the next one's."""
        own = () if name == DEFAULT else (pool.get(name, _NOTHING), self._providers[name])
        return (*own, pool.get(DEFAULT, _NOTHING), *self._last)


def _shape(sections: Sequence[Shaping]) -> Shape:
    """The first word on each key counts."""
    quota = _first(section.quota for section in sections)
    connection_rate = _first(section.connection_rate for section in sections)
    return Shape(
        connections=_first(section.connections for section in sections) or 1,
        messages_per_connection=_first(s.messages_per_connection for s in sections) or 1,
        recipients=_first(section.recipients for section in sections) or 1,
        rates=_first(section.rate for section in sections) or (),
        quota=quota if isinstance(quota, int) else None,
        connection_rate=connection_rate if isinstance(connection_rate, Rate) else None,
    )


def _first(values: Iterable[V | None]) -> V | None:
    return next((value for value in values if value is not None), None)


def _lowest(shapes: Sequence[Shape]) -> Shape:
    """What holds to all of `shapes`."""
    if len(shapes) == 1:
        return shapes[0]
    rates: dict[int, Rate] = {}
    for rate in (rate for shape in shapes for rate in shape.rates):
        rates[rate.seconds] = min(rate, rates.get(rate.seconds, rate), key=_per_second)
    quotas = [shape.quota for shape in shapes if shape.quota is not None]
    opening = [shape.connection_rate for shape in shapes if shape.connection_rate is not None]
    return Shape(
        connections=min(shape.connections for shape in shapes),
        messages_per_connection=min(shape.messages_per_connection for shape in shapes),
        recipients=min(shape.recipients for shape in shapes),
        rates=tuple(rates[seconds] for seconds in sorted(rates)),
        quota=min(quotas, default=None),
        connection_rate=min(opening, key=_per_second, default=None),
    )


def _per_second(rate: Rate) -> float:
    return rate.per_second
