"""TLSA look-ups: only secure answers count, and a failure never passes for "no records".

A name server of the tests stands for one that validates: it sets AD where the zone says so.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from relay.routing.dane import find_tlsa
from relay.routing.resolver import DnsResolver
from relay.routing.tlsa import NO_TLSA, HostTlsa, Tlsa
from tests.nameserver import SERVFAIL, Answer, NameServer

_DIGEST = "ab" * 32
_RECORD = Tlsa(3, 1, 1, bytes.fromhex(_DIGEST))


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as server:
        server.zone[("mx.test", "A")] = Answer(["192.0.2.1"], authentic=True)
        server.zone[("_25._tcp.mx.test", "TLSA")] = Answer([f"3 1 1 {_DIGEST}"], authentic=True)
        yield server


@pytest.fixture
async def resolver(server: NameServer) -> AsyncIterator[DnsResolver]:
    resolver = DnsResolver([server.address], dnssec=True, lifetime_s=2.0, hosts=dict)
    yield resolver
    await resolver.close()


async def _find(resolver: DnsResolver, host: str = "mx.test", port: int = 25) -> HostTlsa:
    return await find_tlsa(resolver, host, port, await resolver.addresses(host, 4))


async def test_secure_records_are_found(resolver: DnsResolver) -> None:
    assert await _find(resolver) == HostTlsa("found", (_RECORD,), "mx.test")


async def test_a_host_without_a_secure_address_is_not_asked_about(
    resolver: DnsResolver, server: NameServer
) -> None:
    server.zone[("mx.test", "A")] = ["192.0.2.1"]
    server.zone[("_25._tcp.mx.test", "TLSA")] = SERVFAIL
    assert await _find(resolver) == NO_TLSA
    assert "_25._tcp.mx.test TLSA" not in server.asked


async def test_insecure_records_do_not_count(resolver: DnsResolver, server: NameServer) -> None:
    server.zone[("_25._tcp.mx.test", "TLSA")] = [f"3 1 1 {_DIGEST}"]
    assert await _find(resolver) == NO_TLSA


async def test_no_records_is_no_dane(resolver: DnsResolver, server: NameServer) -> None:
    del server.zone[("_25._tcp.mx.test", "TLSA")]
    assert await _find(resolver) == NO_TLSA


async def test_a_failure_is_a_failure(resolver: DnsResolver, server: NameServer) -> None:
    server.zone[("_25._tcp.mx.test", "TLSA")] = SERVFAIL
    found = await _find(resolver)
    assert (found.status, found.detail) == ("failed", "the name servers failed")


async def test_records_stand_where_an_alias_leads_or_at_the_alias_itself(
    resolver: DnsResolver, server: NameServer
) -> None:
    server.zone[("alias.test", "CNAME")] = Answer(["mx.test."], authentic=True)
    assert (await _find(resolver, "alias.test")).base == "mx.test"
    server.zone[("other.test", "CNAME")] = Answer(["bare.test."], authentic=True)
    server.zone[("bare.test", "A")] = Answer(["192.0.2.2"], authentic=True)
    server.zone[("_25._tcp.other.test", "TLSA")] = Answer([f"3 1 1 {_DIGEST}"], authentic=True)
    assert (await _find(resolver, "other.test")).base == "other.test"


async def test_without_dnssec_nothing_is_secure(server: NameServer) -> None:
    resolver = DnsResolver([server.address], lifetime_s=2.0, hosts=dict)
    server.zone[("a.test", "MX")] = Answer(["10 mx.test."], authentic=True)
    assert not (await resolver.mx("a.test")).secure
    assert await _find(resolver) == NO_TLSA
    resolver.reconfigure([server.address], dnssec=True)
    assert (await resolver.mx("a.test")).secure  # what was known without DNSSEC is forgotten
    await resolver.close()


@pytest.mark.parametrize("authentic", [True, False])
async def test_whether_a_name_server_validates_is_seen_at_the_root(
    resolver: DnsResolver, server: NameServer, authentic: bool
) -> None:
    server.zone[("", "SOA")] = Answer(["a. b. 1 2 3 4 5"], authentic=authentic)
    assert await resolver.validates() is authentic


async def test_texts_are_put_together(resolver: DnsResolver, server: NameServer) -> None:
    server.zone[("_mta-sts.a.test", "TXT")] = ['"v=STSv1; " "id=1;"', '"other"']
    assert set((await resolver.texts("_mta-sts.a.test")).texts) == {"v=STSv1; id=1;", "other"}
    assert (await resolver.texts("_mta-sts.b.test")).status == "nxdomain"
    server.zone[("c.test", "TXT")] = SERVFAIL
    assert (await resolver.texts("c.test")).status == "failure"


@pytest.mark.parametrize(
    ("record", "usable"),
    [
        (Tlsa(3, 1, 1, bytes(32)), True),
        (Tlsa(3, 0, 2, bytes(64)), True),
        (Tlsa(2, 0, 0, b"certificate"), True),
        (Tlsa(0, 1, 1, bytes(32)), False),
        (Tlsa(1, 1, 1, bytes(32)), False),
        (Tlsa(255, 1, 1, bytes(32)), False),
        (Tlsa(3, 2, 1, bytes(32)), False),
        (Tlsa(3, 1, 3, bytes(32)), False),
        (Tlsa(3, 1, 1, bytes(31)), False),
        (Tlsa(3, 1, 2, bytes(32)), False),
        (Tlsa(3, 1, 0, b""), False),
        (Tlsa(3, 1, 0, bytes(100_000)), False),
    ],
)
def test_which_records_a_certificate_can_be_checked_against(record: Tlsa, usable: bool) -> None:
    assert record.is_usable is usable
    assert HostTlsa("found", (record,)).usable == ((record,) if usable else ())


def test_a_record_is_written_as_a_zone_file_has_it() -> None:
    assert str(Tlsa(3, 1, 1, b"\xab\x01")) == "3 1 1 ab01"
