"""Source addresses that this host has, loses and gets back."""

import asyncio
import contextlib
import errno
import io
import json
import socket
from typing import Any

import pytest

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth, bind_fault

POOLS = {
    "one": {"sources": [{"address": "198.51.100.2"}, {"address": "198.51.100.3"}]},
    "two": {"sources": [{"address": "198.51.100.3"}]},
}


class Host:
    """A host whose addresses we decide."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = set(addresses)

    def bind(self, address: str) -> str:
        return "" if address in self.addresses else "this host does not have the address"


@pytest.fixture
def log_lines() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def make_health(make_config: Any, metrics: Metrics, lines: io.StringIO, host: Host) -> SourceHealth:
    return SourceHealth(
        make_config(pools=POOLS, configuration_sets={"a": {"pool": "one"}, "b": {"pool": "two"}}),
        metrics,
        make_logger(stream=lines),
        bind=host.bind,
    )


def gauge(metrics: Metrics, pool: str, source: str) -> float | None:
    return metrics.registry.get_sample_value(
        "relay_source_available", {"pool": pool, "source": source}
    )


def test_an_address_that_the_host_lacks_is_skipped_with_one_warning_and_a_metric(
    make_config: Any, metrics: Metrics, log_lines: io.StringIO
) -> None:
    health = make_health(make_config, metrics, log_lines, Host("198.51.100.2"))
    health.probe()
    health.probe()
    assert health.available("198.51.100.2")
    assert not health.available("198.51.100.3")
    assert health.fault("198.51.100.3") == "this host does not have the address"
    assert gauge(metrics, "one", "198.51.100.2") == 1
    assert gauge(metrics, "one", "198.51.100.3") == 0
    assert gauge(metrics, "two", "198.51.100.3") == 0
    warnings = [json.loads(line) for line in log_lines.getvalue().splitlines()]
    assert [(w["level"], w["source"]) for w in warnings] == [("warning", "198.51.100.3")]
    assert warnings[0]["pools"] == ["one", "two"]


def test_an_address_serves_again_once_a_probe_finds_it(
    make_config: Any, metrics: Metrics, log_lines: io.StringIO
) -> None:
    host = Host("198.51.100.2")
    health = make_health(make_config, metrics, log_lines, host)
    before = health.version
    host.addresses.add("198.51.100.3")
    health.probe()
    assert health.available("198.51.100.3")
    assert health.version > before
    assert gauge(metrics, "two", "198.51.100.3") == 1


def test_a_bind_failure_gives_an_address_up_only_if_the_host_really_lacks_it(
    make_config: Any, metrics: Metrics, log_lines: io.StringIO
) -> None:
    host = Host("198.51.100.2", "198.51.100.3")
    health = make_health(make_config, metrics, log_lines, host)
    assert health.suspect("198.51.100.2")
    host.addresses.remove("198.51.100.2")
    assert not health.suspect("198.51.100.2")
    assert not health.available("198.51.100.2")


def test_an_address_may_be_marked_from_outside_until_the_next_probe(
    make_config: Any, metrics: Metrics, log_lines: io.StringIO
) -> None:
    health = make_health(make_config, metrics, log_lines, Host("198.51.100.2", "198.51.100.3"))
    health.mark_unavailable("198.51.100.2", "no route from it")
    assert health.fault("198.51.100.2") == "no route from it"
    health.probe()
    assert health.available("198.51.100.2")


def test_a_reload_forgets_addresses_and_metrics_that_left_the_configuration(
    make_config: Any, metrics: Metrics, log_lines: io.StringIO
) -> None:
    host = Host("198.51.100.2")
    health = make_health(make_config, metrics, log_lines, host)
    health.reconfigure(make_config(pools={"main": {"sources": [{"address": "198.51.100.2"}]}}))
    assert gauge(metrics, "one", "198.51.100.3") is None
    assert gauge(metrics, "one", "198.51.100.2") is None
    assert gauge(metrics, "main", "198.51.100.2") == 1
    assert health.fault("198.51.100.3") == ""
    assert repr(health) == "<SourceHealth 1 addresses, 0 unavailable>"


async def test_the_probe_runs_again_and_again(
    make_config: Any, metrics: Metrics, log_lines: io.StringIO
) -> None:
    found = asyncio.Event()
    host = Host("198.51.100.2")
    health = make_health(make_config, metrics, log_lines, host)
    plain = host.bind

    def bind(address: str) -> str:
        found.set()
        return plain(address)

    health._bind = bind
    task = asyncio.create_task(health.run(interval_s=0.001))
    await asyncio.wait_for(found.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_the_real_test_binds_to_loopback_and_not_to_a_foreign_address() -> None:
    assert bind_fault("127.0.0.1") == ""
    assert bind_fault("198.51.100.77") == "this host does not have the address"


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.EADDRNOTAVAIL, "this host does not have the address"),
        (errno.EAFNOSUPPORT, "this host does not have the address"),
        (errno.EACCES, "cannot bind to it (Permission denied)"),
        (errno.EMFILE, ""),
        (errno.ENOBUFS, ""),
    ],
)
def test_a_host_short_of_descriptors_does_not_give_its_addresses_up(
    monkeypatch: pytest.MonkeyPatch, number: int, fault: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(socket, "socket", refuse)
    assert bind_fault("127.0.0.1") == fault
