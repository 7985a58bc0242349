"""Sending reports on TLS: when, to whom, once, and again what failed."""

import gzip
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import dkim
import pytest
import trustme

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.answers import TextAnswer
from relay.runtime.tls_reporting import TlsReporting, first_look, next_look
from relay.signing.make import make_private_key, record_text, write_private_key
from relay.store.sqlite.store import SqliteStore
from relay.store.tls_values import DAY_MS, TlsOutcome, TlsTally
from tests.delivery.outgoing import Dns, Outgoing, make_config, now_ms
from tests.delivery.receiver import Receiver
from tests.routing.policy_host import PolicyHost, response

_CA = trustme.CA()
_TODAY = now_ms() // DAY_MS


class _Dns(Dns):
    def __init__(self) -> None:
        super().__init__(addresses={"r.test": ["127.0.0.1"]})
        self.text: TextAnswer = TextAnswer("nxdomain")

    async def texts(self, name: str) -> TextAnswer:
        assert name == "_smtp._tls.a.test"
        return self.text

    def wants(self, *places: str) -> None:
        self.text = TextAnswer("found", (f"v=TLSRPTv1; rua={','.join(places)}",))


class _Desk:
    """Reporting over a real store, for one domain that counted five sessions yesterday."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        keys = {
            "send": True,
            "contact": "postmaster@sender.test",
            "sender": "tls@sender.test",
            "configuration_set": "main",
        }
        self.config = make_config(directory, transport={"tls_reports": keys}, **changes)
        self.store = SqliteStore(directory / "data")
        self.dns = _Dns()
        self.changes = 0
        self.metrics = Metrics()

    def reporting(self, port: int = 443) -> TlsReporting:
        context = ssl.create_default_context()
        _CA.configure_trust(context)
        return TlsReporting(
            store=self.store,
            resolver=self.dns,
            context=context,
            config=lambda: self.config,
            changed=self.note,
            is_ours=self.is_ours,
            metrics=self.metrics,
            log=make_logger("json", "error"),
            wall=now_ms,
            port=port,
        )

    async def count(self) -> None:
        tally = TlsTally(TlsOutcome("a.test", "no-policy-found", "a.test"), 5)
        for day in (_TODAY - 1, _TODAY):
            await self.store.tls_tallies.add(day, [tally], 100)

    async def is_ours(self) -> bool:
        return True

    def note(self) -> None:
        self.changes += 1

    async def queued(self) -> list[Any]:
        owner = await self.store.register("test", 30_000)
        return await self.store.claim(owner, now_ms() + 1, 100)

    async def left(self) -> list[tuple[int, str]]:
        return await self.store.tls_tallies.unsettled(0, _TODAY, 10)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[_Desk]:
    desk = _Desk(tmp_path)
    (tmp_path / "data").mkdir()
    await desk.store.open()
    await desk.count()
    yield desk
    await desk.store.close()


async def test_a_report_is_queued_as_signed_mail_of_an_identity_that_no_policy_stops(
    desk: _Desk,
) -> None:
    desk.dns.wants("mailto:rua@a.test")
    assert await desk.reporting().look() is True
    (delivery,) = await desk.queued()
    message = delivery.message
    assert [r.address for r in message.envelope.recipients] == ["rua@a.test"]
    assert message.envelope.reverse_path == "tls@sender.test"
    assert (message.identity, message.configuration_set) == ("sender.test", "main")
    assert message.tls_optional
    assert desk.changes == 1


async def test_a_mailed_report_arrives_under_a_signature_that_verifies(tmp_path: Path) -> None:
    key = make_private_key("ed25519")
    write_private_key(tmp_path / "dkim.pem", key)
    record = record_text(key).encode()
    identity = {"dkim": [{"selector": "tls", "key": tmp_path / "dkim.pem"}]}
    async with Receiver() as receiver:
        desk = _Desk(
            tmp_path, identities={"sender.test": identity}, route=f"127.0.0.1:{receiver.port}"
        )
        (tmp_path / "data").mkdir()
        async with Outgoing(
            desk.config.model_copy(update={"data_dir": tmp_path / "data"})
        ) as relay:
            desk.store = relay.store
            await desk.count()
            desk.dns.wants("mailto:rua@a.test")
            assert await desk.reporting().look() is True
            relay.scheduler.wake()
            await receiver.until_messages(1)
    (message,) = receiver.messages
    assert message.recipients == ["rua@a.test"]

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        return record if name == b"tls._domainkey.sender.test." else None

    assert dkim.verify(message.content, dnsfunc=look_up)
    changed = message.content.replace(b"5 sessions went well", b"6 sessions went well")
    assert changed != message.content
    assert not dkim.verify(changed, dnsfunc=look_up)


async def test_a_report_is_sent_once_and_never_of_a_day_that_is_not_over(desk: _Desk) -> None:
    desk.dns.wants("mailto:rua@a.test")
    for _ in range(2):
        await desk.reporting().look()
    assert len(await desk.queued()) == 1
    assert [day.report for day in await desk.store.tls_tallies.days("", 9)] == ["", "sent"]


async def test_who_asks_for_none_gets_none(desk: _Desk) -> None:
    assert await desk.reporting().look() is True
    assert await desk.queued() == []
    assert await desk.left() == []


async def test_where_dns_does_not_answer_it_is_tried_again(desk: _Desk) -> None:
    desk.dns.text = TextAnswer("failure", detail="timeout")
    assert await desk.reporting().look() is False
    assert await desk.left() == [(_TODAY - 1, "a.test")]


async def test_nothing_is_sent_where_it_is_not_switched_on_and_old_days_are_forgotten(
    desk: _Desk, tmp_path: Path
) -> None:
    desk.config = make_config(tmp_path)
    desk.dns.wants("mailto:rua@a.test")
    old = TlsTally(TlsOutcome("old.test", "no-policy-found", "old.test"), 1)
    await desk.store.tls_tallies.add(_TODAY - 30, [old], 100)
    assert await desk.reporting().look() is True
    assert await desk.queued() == []
    assert await desk.left() == [(_TODAY - 1, "a.test")]


async def test_a_report_is_posted_over_https(desk: _Desk) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CA.issue_cert("r.test").configure_cert(server)
    async with PolicyHost(server) as host:
        host.answer = response(b"", "201 Created")
        desk.dns.wants("https://r.test/v1?x=y")
        assert await desk.reporting(host.port).look() is True
        (request,) = host.requests
        assert request.startswith("POST /v1?x=y HTTP/1.1\r\n")
        assert f"\r\nHost: r.test:{host.port}\r\n" in request
        assert "application/tlsrpt+gzip" in request
        (content,) = host.contents
        assert json.loads(gzip.decompress(content))["report-id"].endswith("a.test@relay.test")
    assert await desk.left() == []


async def test_a_post_that_is_refused_is_tried_again(desk: _Desk) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CA.issue_cert("r.test").configure_cert(server)
    async with PolicyHost(server) as host:
        host.answer = response(b"", "500 Oops")
        desk.dns.wants("https://r.test/v1")
        assert await desk.reporting(host.port).look() is False
    assert await desk.left() == [(_TODAY - 1, "a.test")]


async def test_one_place_that_takes_it_is_enough(desk: _Desk) -> None:
    desk.dns.wants("https://nowhere.test/", "mailto:rua@a.test")
    assert await desk.reporting().look() is True
    assert len(await desk.queued()) == 1


async def test_nothing_is_posted_into_private_networks(desk: _Desk) -> None:
    delivery = desk.config.delivery.model_copy(update={"allow_private_destinations": False})
    desk.config = desk.config.model_copy(update={"delivery": delivery})
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CA.issue_cert("r.test").configure_cert(server)
    async with PolicyHost(server) as host:
        desk.dns.wants("https://r.test/v1")
        assert await desk.reporting(host.port).look() is False
        assert host.requests == []


def test_reports_go_some_time_after_midnight_and_failures_are_tried_again_in_an_hour() -> None:
    noon = 20_000 * DAY_MS + DAY_MS // 2
    midnight = 20_001 * DAY_MS
    times = {next_look(noon, Random(n), failed=False) for n in range(200)}
    assert midnight + 300_000 <= min(times) < max(times) <= midnight + 4 * 3_600_000
    assert len(times) > 100
    assert next_look(noon, Random(1), failed=True) == noon + 3_600_000
    assert noon + 60_000 <= first_look(noon, Random(1)) <= noon + 900_000
