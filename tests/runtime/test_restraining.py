"""What complaints lead to: put in force, counted, logged, told to all workers."""

import asyncio
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from relay.config.model import Config
from relay.config.units import Rate
from relay.feedback.restraints import Complaint, Rest
from relay.limits.specs import Limit
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime.restraining import Restraining
from tests.delivery.outgoing import Lines


class Reins:
    def __init__(self) -> None:
        self.limits: list[tuple[str, str, Limit | None]] = []
        self.connections: list[int | None] = []
        self.rate = float("inf")
        self.flow: float | Exception = 8.0

    def slow_down(self, source: str, line: str, limit: Limit | None) -> None:
        self.limits.append((source, line, limit))

    def fewer_connections(self, source: str, line: str, most: int | None) -> None:
        self.connections.append(most)

    def allowed(self, source: str, line: str) -> tuple[float, float]:
        return self.rate, 20.0

    def connected(self, source: str, line: str) -> int:
        return 6

    async def flowed(self, source: str, line: str) -> float:
        await asyncio.sleep(0)
        if isinstance(self.flow, Exception):
            raise self.flow
        return self.flow


class House:
    def __init__(self) -> None:
        self.now = 1000.0
        self.reins = Reins()
        self.rests: list[Rest] = []
        self.lifted: list[str] = []
        self.lines = Lines()
        self.metrics = Metrics()
        self.it = Restraining(
            self.reins,
            self.rests.append,
            self.metrics,
            make_logger("json", "debug", self.lines),  # type: ignore[arg-type]
            clock=lambda: self.now,
            wall=lambda: round(self.now * 1000),
            lifted=self.lifted.append,
        )

    async def hear(self, action: Any, **keys: Any) -> None:
        values = {"seconds": 300.0, "reply": "421 4.7.28 no", "began": self.now, **keys}
        self.it.hear(Complaint("192.0.2.1", "acme", "acme", "busy", action, **values))
        while self.it._deciding:
            await asyncio.sleep(0)

    def metric(self, name: str) -> float | None:
        labels = {"source": "192.0.2.1", "provider": "acme"}
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def house() -> House:
    return House()


async def test_a_slow_down_becomes_a_limit_of_half_of_what_flowed(house: House) -> None:
    await house.hear("slow_down")
    assert house.reins.limits == [("192.0.2.1", "acme", Limit(Rate(240, 60)))]
    assert house.metric("relay_path_slowed") == 1
    (line,) = house.lines.of("source is held back")
    assert (line["rule"], line["reply"], line["allowed"]) == ("busy", "421 4.7.28 no", 4.0)
    assert line["level"] == "warning"


async def test_a_configured_rate_is_what_it_grows_back_to(house: House) -> None:
    house.reins.rate = 12.0
    await house.hear("slow_down")
    for _ in range(20):
        house.now += 300
        house.it.tick()
    limits = [limit for _, _, limit in house.reins.limits]
    assert limits[0] == Limit(Rate(240, 60))
    assert limits[-1] is None
    rates = [limit.rate.per_second for limit in limits if limit and limit.rate]
    assert rates == sorted(rates)
    assert max(rates) <= 12.0
    assert house.metric("relay_path_slowed") == 0
    assert len(house.lines.of("reaction is over")) == 1


async def test_fifty_complaints_at_once_are_one_limit(house: House) -> None:
    for _ in range(50):
        house.it.hear(
            Complaint("192.0.2.1", "acme", "acme", "busy", "slow_down", 300.0, "421", house.now)
        )
    await house.hear("slow_down")
    assert len(house.reins.limits) == 1


async def test_fewer_connections_halve_those_that_there_are(house: House) -> None:
    await house.hear("fewer_connections", seconds=600.0)
    assert house.reins.connections == [3]
    house.now += 601
    house.it.tick()
    assert house.reins.connections == [3, 4]


async def test_a_pause_is_told_to_all_workers_and_to_those_that_begin_later(house: House) -> None:
    await house.hear("pause")
    (rest,) = house.rests
    assert (rest.source, rest.line, rest.until) == ("192.0.2.1", "acme", 1300.0)
    assert house.it.rests() == house.rests
    assert house.metric("relay_source_paused") == 1
    house.now += 300
    house.it.tick()
    assert house.rests[-1].until == 0.0
    assert house.metric("relay_source_paused") == 0


async def test_an_operator_lifts_what_is_in_force(house: House) -> None:
    await house.hear("slow_down")
    await house.hear("pause")
    assert house.it.clear("192.0.2.1", "elsewhere") == 0
    assert house.it.clear("192.0.2.1", "acme") == 2
    assert house.reins.limits[-1][2] is None
    assert house.rests[-1].until == 0.0
    assert not house.it.in_force()
    assert house.lifted == ["acme"]


async def test_the_end_of_a_rest_at_its_time_brings_no_mail_forward(house: House) -> None:
    """It is due about then, and not all in the same second."""
    await house.hear("pause")
    house.now += 301
    house.it.tick()
    assert not house.it.in_force()
    assert house.lifted == []


async def test_a_reload_keeps_what_is_in_force_but_for_sources_that_are_gone(house: House) -> None:
    def config(address: str) -> Config:
        source = SimpleNamespace(address=ip_address(address))
        return Config.model_construct(pools={"main": SimpleNamespace(sources=[source])})

    await house.hear("slow_down")
    house.it.reconfigure(config("192.0.2.1"))
    assert len(house.it.in_force()) == 1
    house.it.reconfigure(config("192.0.2.2"))
    assert not house.it.in_force()
    assert house.reins.limits[-1][2] is None


async def test_a_failure_to_measure_is_logged_and_the_next_complaint_is_heard(house: House) -> None:
    house.reins.flow = RuntimeError("no")
    await house.hear("slow_down")
    assert house.lines.of("reacting to a provider failed")
    house.reins.flow = 8.0
    await house.hear("slow_down")
    assert len(house.reins.limits) == 1
