"""What is looked at from time to time: kept as it was while the store is away."""

from typing import Any

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.gauges import Gauges
from relay.store.interface import StoreUnavailable
from tests.delivery.outgoing import Lines


class _Store:
    """So much of a shared store as is looked at."""

    is_shared = True
    is_away = False

    @property
    def suppressions(self) -> "_Store":
        return self

    async def free_space(self) -> None: ...

    async def depths(self) -> list[Any]:
        if self.is_away:
            raise StoreUnavailable("no database")
        return []

    async def count(self) -> int:
        return 3


class _Limits:
    async def levels(self) -> list[Any]:
        return []


def _gauges(store: _Store, metrics: Metrics) -> Gauges:
    config: Any = type("Config", (), {"configuration_sets": {}})
    log = make_logger("json", "info", Lines())  # type: ignore[arg-type]
    return Gauges(store, _Limits(), metrics, log, lambda: config, lambda: 5)  # type: ignore[arg-type]


async def test_free_space_is_not_shown_where_a_server_has_the_store() -> None:
    metrics = Metrics()
    assert "relay_store_free_bytes" in {family.name for family in metrics.registry.collect()}
    await _gauges(_Store(), metrics).refresh()
    assert "relay_store_free_bytes" not in {family.name for family in metrics.registry.collect()}


async def test_what_was_seen_last_is_kept_while_the_store_is_away() -> None:
    store = _Store()
    gauges = _gauges(store, Metrics())
    await gauges.refresh()
    store.is_away = True
    await gauges.refresh()
    assert gauges.suppressions == 3
    assert gauges.away is not None
    assert (gauges.away.since, gauges.away.why) == (5, "no database")
    store.is_away = False
    await gauges.refresh()
    assert gauges.away is None
