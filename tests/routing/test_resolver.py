"""DNS over the wire, against a name server of our own on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address

import dns.rcode
import pytest

from relay.routing import resolver as resolver_module
from relay.routing.answers import AddressAnswer
from relay.routing.resolver import AnswerCache, DnsResolver
from tests.nameserver import SILENCE, Answer, NameServer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer({("is.silent", "MX"): SILENCE}) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def resolver(server: NameServer, clock: Clock) -> AsyncIterator[DnsResolver]:
    found = DnsResolver([server.address], clock=clock, lifetime_s=0.3)
    yield found
    await found.close()


async def test_mx_records_come_with_preference_and_lower_case_names(
    server: NameServer, resolver: DnsResolver
) -> None:
    server.zone[("example.org", "MX")] = ["10 Mail.Example.org.", "0 a.test."]
    answer = await resolver.mx("example.org")
    assert answer.status == "found"
    assert sorted(answer.records) == [(0, "a.test"), (10, "mail.example.org")]


async def test_a_null_mx_has_an_empty_name(server: NameServer, resolver: DnsResolver) -> None:
    server.zone[("example.org", "MX")] = ["0 ."]
    assert (await resolver.mx("example.org")).records == ((0, ""),)


async def test_addresses_are_of_the_family_asked_for_and_cnames_are_followed(
    server: NameServer, resolver: DnsResolver
) -> None:
    server.zone[("a.test", "A")] = ["192.0.2.1", "192.0.2.2"]
    server.zone[("a.test", "AAAA")] = ["2001:db8::1"]
    server.zone[("b.test", "CNAME")] = ["a.test."]
    four = await resolver.addresses("a.test", 4)
    assert set(four.addresses) == {ip_address("192.0.2.1"), ip_address("192.0.2.2")}
    assert (await resolver.addresses("b.test", 6)).addresses == (ip_address("2001:db8::1"),)


async def test_an_answer_that_is_too_long_for_udp_comes_by_tcp(
    server: NameServer, resolver: DnsResolver
) -> None:
    records = [f"{number} mx{number}.a-rather-long-name.test." for number in range(60)]
    server.zone[("example.org", "MX")] = Answer(records, truncated=True)
    assert len((await resolver.mx("example.org")).records) == 60
    assert server.tcp == ["example.org MX"]


async def test_what_does_not_exist_and_what_did_not_answer_are_told_apart(
    server: NameServer, resolver: DnsResolver
) -> None:
    server.zone[("example.org", "TXT")] = ['"here"']
    server.zone[("broken.test", "MX")] = dns.rcode.SERVFAIL
    server.zone[("refused.test", "MX")] = dns.rcode.REFUSED
    assert (await resolver.mx("example.org")).status == "nodata"
    assert (await resolver.mx("gone.test")).status == "nxdomain"
    assert (await resolver.mx("broken.test")).status == "failure"
    assert (await resolver.mx("refused.test")).status == "failure"
    assert (await resolver.mx("is.silent")).detail == "timeout"
    assert (await resolver.addresses("gone.test", 6)).status == "nxdomain"


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".".join(["abc"] * 80)])
async def test_a_name_that_dns_cannot_hold_does_not_exist(
    server: NameServer, resolver: DnsResolver, name: str
) -> None:
    assert (await resolver.mx(name)).status == "nxdomain"
    assert server.asked == []


async def test_an_answer_is_kept_for_its_time_to_live(
    server: NameServer, resolver: DnsResolver, clock: Clock
) -> None:
    server.zone[("example.org", "MX")] = ["10 a.test."]
    for _ in range(3):
        await resolver.mx("example.org")
    assert len(server.asked) == 1
    clock.now += 301
    await resolver.mx("example.org")
    assert len(server.asked) == 2


@pytest.mark.parametrize(("name", "seconds"), [("gone.test", 61), ("broken.test", 6)])
async def test_bad_news_is_kept_for_a_short_time(
    server: NameServer, resolver: DnsResolver, clock: Clock, name: str, seconds: int
) -> None:
    server.zone[("broken.test", "MX")] = dns.rcode.REFUSED
    await resolver.mx(name)
    asked = len(server.asked)
    await resolver.mx(name)
    assert len(server.asked) == asked
    clock.now += seconds
    await resolver.mx(name)
    assert len(server.asked) > asked


async def test_many_deliveries_to_a_domain_ask_once(
    server: NameServer, resolver: DnsResolver
) -> None:
    server.zone[("example.org", "MX")] = ["10 a.test."]
    answers = await asyncio.gather(*(resolver.mx("example.org") for _ in range(50)))
    assert len(set(answers)) == 1
    assert len(server.asked) == 1


async def test_a_delivery_that_gives_up_does_not_take_the_answer_from_the_others() -> None:
    cache: AnswerCache[AddressAnswer] = AnswerCache(10, Clock())
    gate = asyncio.Event()

    async def ask() -> tuple[AddressAnswer, float]:
        await gate.wait()
        return AddressAnswer("nodata"), 60.0

    first = asyncio.create_task(cache.get(("a", "A"), ask))
    second = asyncio.create_task(cache.get(("a", "A"), ask))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert (await second).status == "nodata"
    assert first.cancelled() or first.cancelling()


async def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for_longest() -> None:
    cache: AnswerCache[AddressAnswer] = AnswerCache(3, Clock())
    asked: list[str] = []

    def ask(name: str) -> Callable[[], object]:
        async def question() -> tuple[AddressAnswer, float]:
            asked.append(name)
            return AddressAnswer("nodata"), 60.0

        return question

    for name in "abcadaebc":
        await cache.get((name, "A"), ask(name))  # type: ignore[arg-type]
    assert len(cache) == 3
    assert asked == ["a", "b", "c", "d", "e", "b", "c"]


async def test_questions_under_way_end_with_the_resolver(server: NameServer) -> None:
    resolver = DnsResolver([server.address], lifetime_s=60)
    waiting = asyncio.create_task(resolver.mx("is.silent"))
    await asyncio.sleep(0)
    await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_names_whose_servers_are_silent_do_not_keep_others_waiting(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "QUESTIONS_AT_ONCE", 2)
    monkeypatch.setattr(resolver_module, "SLOW_QUESTIONS_AT_ONCE", 2)
    server.zone["good.test", "MX"] = ["10 mx.good.test."]
    silent = [f"s{n}.test" for n in range(6)]
    for name in silent:
        server.zone[name, "MX"] = SILENCE
    resolver = DnsResolver([server.address], lifetime_s=60, quick_s=0.1)
    asking = [asyncio.create_task(resolver.mx(name)) for name in silent]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert (await resolver.mx("good.test")).status == "found"
    assert not any(task.done() for task in asking)
    await resolver.close()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_an_answer_that_comes_late_is_taken_all_the_same(server: NameServer) -> None:
    server.zone["slow.test", "MX"] = SILENCE
    resolver = DnsResolver([server.address], lifetime_s=20, quick_s=0.1)
    asking = asyncio.create_task(resolver.mx("slow.test"))
    async with asyncio.timeout(20):
        while server.asked.count("slow.test MX") < 2:
            await asyncio.sleep(0.01)
    server.zone["slow.test", "MX"] = ["10 mx.slow.test."]
    assert (await asking).status == "found"
    await resolver.close()


async def test_a_host_without_name_servers_fails_every_question() -> None:
    resolver = DnsResolver([])
    assert (await resolver.mx("example.org")).status == "failure"
    assert repr(resolver) == "<DnsResolver 1 domains, 0 hosts known>"


async def test_other_name_servers_are_asked_after_a_reload(server: NameServer) -> None:
    server.zone["example.org", "MX"] = ["10 mx.example.org."]
    resolver = DnsResolver([])
    resolver.reconfigure([server.address])
    assert (await resolver.mx("example.org")).records == ((10, "mx.example.org"),)
