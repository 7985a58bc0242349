import asyncio
import gzip
import http.client
import json
import signal

import pytest

from relay.admin import server
from relay.admin.app import takes_gzip
from relay.admin.control import Health
from relay.admin.server import ServerError, listen_tcp
from relay.observe.metrics import Metrics
from tests.admin.fake_relay import FakeRelay
from tests.admin.running import public_server


async def get(address, path, headers=None, method="GET"):
    def talk():
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body

    return await asyncio.to_thread(talk)


async def test_metrics_are_served_as_prometheus_reads_them():
    metrics = Metrics()
    metrics.logins.labels("main", "ok").inc(3)
    async with public_server(FakeRelay(None), metrics) as address:
        response, body = await get(address, "/metrics")
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("text/plain; version=")
    assert b'relay_logins_total{listener="main",result="ok"} 3.0' in body


async def test_metrics_are_compressed_for_those_who_can_read_it():
    async with public_server(FakeRelay(None)) as address:
        response, body = await get(address, "/metrics", {"Accept-Encoding": "gzip"})
    assert response.getheader("Content-Encoding") == "gzip"
    assert b"relay_connections" in gzip.decompress(body)


async def test_metrics_are_openmetrics_for_those_who_ask():
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with public_server(FakeRelay(None)) as address:
        response, body = await get(address, "/metrics", accept)
    assert response.getheader("Content-Type").startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("deflate, gzip; q=1.0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(header, takes):
    assert takes_gzip(header) is takes


async def test_liveness_and_readiness_are_told_apart_with_reasons():
    relay = FakeRelay(None, ready=Health(False, ("draining: no new mail is accepted",)))
    async with public_server(relay) as address:
        alive, alive_body = await get(address, "/healthz")
        ready, ready_body = await get(address, "/readyz")
    assert (alive.status, json.loads(alive_body)) == (200, {"status": "ok", "reasons": []})
    assert ready.status == 503
    assert json.loads(ready_body) == {
        "status": "failing",
        "reasons": ["draining: no new mail is accepted"],
    }


async def test_a_dead_relay_says_so():
    relay = FakeRelay(None, alive=Health(False, ("the store does not answer",)))
    async with public_server(relay) as address:
        response, _ = await get(address, "/healthz")
    assert response.status == 503


async def test_nothing_else_is_served_on_tcp():
    async with public_server(FakeRelay(None)) as address:
        for path in ("/", "/v1/status", "/v1/queue/list", "/docs"):
            response, _ = await get(address, path, method="POST")
            assert response.status == 404, path
        response, _ = await get(address, "/metrics", method="DELETE")
        assert response.status == 405


async def test_many_scrapes_at_once_are_all_answered():
    async with public_server(FakeRelay(None)) as address:
        answers = await asyncio.gather(*(get(address, "/metrics") for _ in range(20)))
    assert {response.status for response, _ in answers} == {200}


async def test_a_client_that_asks_nothing_is_cut(monkeypatch):
    monkeypatch.setattr(server, "_IDLE_S", 0.02)
    async with public_server(FakeRelay(None)) as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HT")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        await writer.wait_closed()


async def test_signals_are_left_to_the_runtime():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with public_server(FakeRelay(None)) as address:
        await get(address, "/healthz")
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert during == before


async def test_stopping_waits_for_no_idle_client():
    async with public_server(FakeRelay(None)) as address:
        host, port = address.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()


def test_a_port_in_use_is_told_with_the_address():
    with listen_tcp("127.0.0.1", 0).socket as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen_tcp("127.0.0.1", port)
