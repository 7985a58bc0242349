"""Domains that go to the same hosts are one site: what they share, and what holds for all of it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.config.units import Rate
from relay.limits.specs import Limit
from relay.routing.answers import MxAnswer
from relay.routing.plan import Destination
from relay.routing.routes import RouteTarget
from relay.store.values import QueueFilter
from tests.delivery.outgoing import Dns, Outgoing, make_config
from tests.delivery.receiver import Receiver, Session

FIRST, SECOND = "127.0.0.11", "127.0.0.12"


class Answering(Dns):
    """What a domain says may be believed for good; it says so when it may."""

    def __init__(self, mx: Any, addresses: Any) -> None:
        super().__init__(mx, addresses)
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked: list[str] = []

    async def mx(self, domain: str) -> MxAnswer:
        self.asked.append(domain)
        await self.may_answer.wait()
        return replace(await super().mx(domain), until=float("inf"))


@pytest.fixture
def mx_port(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has mail for MX hosts go to a port that a test may listen on."""
    original = RouteTarget.destination

    def use(port: int) -> None:
        def destination(target: RouteTarget, *given: Any) -> Destination:
            return replace(original(target, *given), port=port)

        monkeypatch.setattr(RouteTarget, "destination", destination)

    return use


def one_host(*domains: str) -> Answering:
    """Domains that all go to mx.host.test, which is FIRST."""
    mx = {domain: [(10, "mx.host.test")] for domain in domains}
    return Answering(mx, {"mx.host.test": [FIRST]})


async def _start(
    stack: AsyncExitStack,
    tmp_path: Path,
    mx_port: Any,
    dns: Answering,
    script: Any = None,
    **sections: Any,
) -> tuple[Receiver, Outgoing]:
    receiver = await stack.enter_async_context(Receiver(script, host=FIRST))
    mx_port(receiver.port)
    config = make_config(tmp_path, route="mx", **sections)
    return receiver, await stack.enter_async_context(Outgoing(config, dns=dns))


async def know(relay: Outgoing, receiver: Receiver, *domains: str) -> None:
    """Have the sites of these domains known before mail comes."""
    for domain in domains:
        destination = Destination("mx", port=receiver.port)
        await relay.scheduler._dispatcher._router._sites.find(destination, domain)


async def test_domains_with_the_same_mx_share_a_connection(tmp_path: Path, mx_port: Any) -> None:
    async with AsyncExitStack() as stack:
        dns = one_host("one.test", "two.test")
        receiver, relay = await _start(stack, tmp_path, mx_port, dns)
        await relay.send("a@one.test")
        await receiver.until_messages(1)
        await relay.send("b@two.test")
        await receiver.until_messages(2)
        assert len(receiver.sessions) == 1


async def test_recipients_at_several_domains_of_one_site_share_a_transaction(
    tmp_path: Path, mx_port: Any
) -> None:
    async with AsyncExitStack() as stack:
        dns = one_host("one.test", "two.test", "three.test")
        sets = {"main": {"pool": "main", "quota": 1000}}
        receiver, relay = await _start(stack, tmp_path, mx_port, dns, configuration_sets=sets)
        for domain in ("one.test", "two.test", "three.test"):
            await relay.send(f"first@{domain}")
        await receiver.until_messages(3)
        await relay.send("a@one.test", "b@two.test", "c@three.test", "d@one.test")
        await receiver.until_messages(4)
        assert sorted(receiver.messages[3].recipients) == [
            "a@one.test",
            "b@two.test",
            "c@three.test",
            "d@one.test",
        ]
        await relay.until_empty()
        lines = (await relay.until_attempted(6))[3:]
        assert sorted((line["domain"], line["recipients"]) for line in lines) == [
            ("one.test", 2),
            ("three.test", 1),
            ("two.test", 1),
        ]
        [level] = await relay.limits.levels(["set:main"])
        assert level.used == 3 + 4


async def test_what_the_receiver_says_of_each_recipient_counts_for_its_delivery_alone(
    tmp_path: Path, mx_port: Any
) -> None:
    def judge(_: Session, line: str) -> bytes:
        if "two.test" in line:
            return b"450 4.2.1 try later\r\n"
        return b"550 5.1.1 no such user\r\n" if "three.test" in line else b"250 ok\r\n"

    async with AsyncExitStack() as stack:
        dns = one_host("one.test", "two.test", "three.test")
        receiver, relay = await _start(stack, tmp_path, mx_port, dns, {"RCPT": judge})
        await know(relay, receiver, "one.test", "two.test", "three.test")
        await relay.send("a@one.test", "b@two.test", "c@three.test", reverse_path="")
        lines = await relay.until_attempted(3)
        assert {line["domain"]: line["kind"] for line in lines} == {
            "one.test": "delivered",
            "two.test": "deferred",
            "three.test": "bounced",
        }
        assert len(receiver.sessions) == 1
        left = await relay.until(lambda: _queued(relay, 1))
        assert left[0].domain == "two.test"
        assert left[0].attempts == 1


async def _queued(relay: Outgoing, count: int) -> Any:
    found = await relay.queue()
    return found if len(found) == count else None


async def test_a_transaction_has_no_more_recipients_than_the_provider_takes(
    tmp_path: Path, mx_port: Any
) -> None:
    domains = [f"d{n}.test" for n in range(5)]
    async with AsyncExitStack() as stack:
        receiver, relay = await _start(
            stack,
            tmp_path,
            mx_port,
            one_host(*domains),
            providers={"default": {"recipients": 2, "connections": 1}},
        )
        await know(relay, receiver, *domains)
        await relay.send(*(f"a@{domain}" for domain in domains))
        await relay.send(*(f"{name}@d0.test" for name in "abcde"))
        await relay.until_empty()
        assert max(len(message.recipients) for message in receiver.messages) == 2
        assert sum(len(message.recipients) for message in receiver.messages) == 10
        assert len(receiver.messages) == 6


async def test_an_address_in_utf8_does_not_keep_others_from_a_peer_that_takes_none(
    tmp_path: Path, mx_port: Any
) -> None:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver(host=FIRST, extensions=("PIPELINING",)))
        mx_port(receiver.port)
        relay = await stack.enter_async_context(
            Outgoing(make_config(tmp_path, route="mx"), dns=one_host("one.test", "two.test"))
        )
        await know(relay, receiver, "one.test", "two.test")
        await relay.send("ü@one.test", "b@two.test", reverse_path="")
        lines = await relay.until_attempted(2)
        assert {line["domain"]: line["kind"] for line in lines} == {
            "one.test": "bounced",
            "two.test": "delivered",
        }


async def test_mail_waits_for_one_question_per_domain_and_is_not_forgotten_meanwhile(
    tmp_path: Path, mx_port: Any
) -> None:
    async with AsyncExitStack() as stack:
        dns = one_host("one.test")
        receiver, relay = await _start(stack, tmp_path, mx_port, dns)
        dns.may_answer.clear()
        for _ in range(20):
            await relay.send("a@one.test")
        await relay.until(lambda: dns.asked)
        assert len(relay.scheduler._dispatcher.waiting()) == 20
        assert relay.scheduler.working_set == 20
        dns.may_answer.set()
        await receiver.until_messages(20)
        assert dns.asked == ["one.test"]


async def test_mail_whose_site_is_asked_for_can_be_recalled(tmp_path: Path, mx_port: Any) -> None:
    async with AsyncExitStack() as stack:
        dns = one_host("one.test")
        receiver, relay = await _start(stack, tmp_path, mx_port, dns)
        dns.may_answer.clear()
        await relay.send("a@one.test")
        kept = await relay.send("b@one.test")
        await relay.until(lambda: relay.scheduler.working_set == 2)
        recalled = next(e for e in await relay.queue() if e.message_id != kept.id)
        await relay.scheduler.recall(QueueFilter(message_id=recalled.message_id))
        assert relay.scheduler.working_set == 1
        dns.may_answer.set()
        await receiver.until_messages(1)
        assert receiver.messages[0].recipients == ["b@one.test"]


async def test_a_reload_while_dns_is_asked_counts_for_the_mail_that_waits(
    tmp_path: Path, mx_port: Any
) -> None:
    async with AsyncExitStack() as stack:
        dns = one_host("one.test")
        receiver, relay = await _start(stack, tmp_path, mx_port, dns)
        elsewhere = await stack.enter_async_context(Receiver(host=SECOND))
        dns.may_answer.clear()
        await relay.send("a@one.test")
        await relay.until(lambda: dns.asked)
        config = make_config(tmp_path, route={"to": f"{SECOND}:{elsewhere.port}"})
        relay.scheduler.reconfigure(config, relay.router(config), relay._keyring)
        mx_port(elsewhere.port)
        dns.may_answer.set()
        await elsewhere.until_messages(1)
        assert not receiver.messages


async def test_a_domain_that_does_not_exist_ends_all_that_wait_for_it(
    tmp_path: Path, mx_port: Any
) -> None:
    async with AsyncExitStack() as stack:
        dns = one_host("one.test")
        _, relay = await _start(stack, tmp_path, mx_port, dns)
        dns.may_answer.clear()
        for _ in range(3):
            await relay.send("a@gone.test", reverse_path="")
        await relay.until(lambda: dns.asked)
        dns.may_answer.set()
        lines = await relay.until_attempted(3)
        assert {(line["kind"], line["outcome"]) for line in lines} == {
            ("bounced", "domain_unknown")
        }
        await relay.until_empty()


async def test_the_sites_of_one_provider_share_its_connections(
    tmp_path: Path, mx_port: Any
) -> None:
    domains = {f"d{n}.test": [(10, f"d{n}.in.hosted.test")] for n in range(4)}
    addresses = {f"d{n}.in.hosted.test": [FIRST] for n in range(4)}
    providers = {"hosted": {"exchanges": ["in.hosted.test"], "connections": 2}}
    async with AsyncExitStack() as stack:
        receiver, relay = await _start(
            stack, tmp_path, mx_port, Answering(domains, addresses), providers=providers
        )
        for _ in range(10):
            for domain in domains:
                await relay.send(f"a@{domain}")
        await receiver.until_messages(40)
        assert receiver.most_open == 2
        await relay.until_attempted(40)
        assert relay.metric("relay_attempts_total", provider="hosted") == 40


async def test_the_rate_of_a_provider_holds_for_all_its_domains_and_for_no_other(
    tmp_path: Path, mx_port: Any
) -> None:
    providers = {"hosted": {"domains": ["one.test", "two.test"], "rate": "20/s"}}
    async with AsyncExitStack() as stack:
        receiver, relay = await _start(
            stack,
            tmp_path,
            mx_port,
            one_host("one.test", "two.test", "free.test"),
            providers=providers,
        )
        await asyncio.sleep(1.1)  # a rate begins closed
        for n in range(40):
            await relay.send(f"a@{'one' if n % 2 else 'two'}.test")
        for _ in range(10):
            await relay.send("a@free.test")
        await receiver.until_messages(50)
        at: dict[bool, list[float]] = {True: [], False: []}
        for message in receiver.messages:
            at[message.recipients == ["a@free.test"]].append(message.at)
        assert max(at[True]) - min(at[True]) < 1.0
        limited = at[False]
        assert max(sum(t <= u < t + 0.9 for u in limited) for t in limited) <= 20


async def test_connections_are_opened_at_their_rate_and_mail_waits_without_a_task(
    tmp_path: Path, mx_port: Any
) -> None:
    shape = {"connection_rate": "4/s", "messages_per_connection": 1}
    async with AsyncExitStack() as stack:
        receiver, relay = await _start(
            stack, tmp_path, mx_port, one_host("one.test"), providers={"default": shape}
        )
        for _ in range(8):
            await relay.send("a@one.test")
        await relay.until(lambda: relay.metric("relay_limit_waits_total", level="connect"))
        assert relay.scheduler.outbound_connections == 0
        await receiver.until_messages(8)
        begun = [session.begun for session in receiver.sessions]
        assert len(begun) == 8
        assert max(sum(t <= u < t + 0.95 for u in begun) for t in begun) <= 4


async def test_a_slow_down_counts_at_once_and_its_end_too(tmp_path: Path, mx_port: Any) -> None:
    key = "temper:127.0.0.2/mx.host.test"
    async with AsyncExitStack() as stack:
        receiver, relay = await _start(stack, tmp_path, mx_port, one_host("one.test"))
        await relay.send("a@one.test")
        await receiver.until_messages(1)
        slow = Limit(Rate(1, 60))
        relay.limits.override(key, slow)
        relay.scheduler.limit_changed(key, slow)
        for _ in range(5):
            await relay.send("a@one.test")
        await relay.until(lambda: relay.metric("relay_limit_waits_total", level="temper"))
        assert len(receiver.messages) == 1
        relay.limits.override(key, None)
        relay.scheduler.limit_changed(key, None)
        await relay.scheduler._claims.given_back()
        relay.scheduler.wake()
        waiting = [entry for entry in await relay.queue() if not entry.claimed]
        await receiver.until_messages(6 - len(waiting))


async def test_mail_that_waited_goes_to_the_hosts_that_its_domain_has_by_then(
    tmp_path: Path, mx_port: Any
) -> None:
    key = "temper:127.0.0.2/mx.host.test"
    old = {"one.test": [(10, "mx.host.test")]}
    dns = Answering(old, {"mx.host.test": [FIRST], "mx.new.test": [SECOND]})
    async with AsyncExitStack() as stack:
        first, relay = await _start(stack, tmp_path, mx_port, dns)
        second = await stack.enter_async_context(Receiver(host=SECOND, port=first.port))
        await relay.send("a@one.test")
        await first.until_messages(1)
        slow = Limit(Rate(1, 60))
        relay.limits.override(key, slow)
        relay.scheduler.limit_changed(key, slow)
        for _ in range(3):
            await relay.send("a@one.test")
        await relay.until(lambda: relay.metric("relay_limit_waits_total", level="temper"))
        old["one.test"] = [(10, "mx.new.test")]
        relay.scheduler._dispatcher._router._sites._known.clear()  # as when it has expired
        await relay.send("new@one.test")
        await second.until_messages(1)
        relay.limits.override(key, None)
        relay.scheduler.limit_changed(key, None)
        await relay.until_empty()
        assert len(first.messages) + len(second.messages) == 5
        assert len(second.messages) >= 3  # of those that waited, no more than one had gone before


async def test_a_dead_first_host_is_passed_over_for_all_domains_of_the_site(
    tmp_path: Path, mx_port: Any
) -> None:
    exchanges = [(10, "dead.host.test"), (20, "mx.host.test")]
    dns = Answering(
        {"one.test": exchanges, "two.test": exchanges},
        {"dead.host.test": [SECOND], "mx.host.test": [FIRST]},
    )
    async with AsyncExitStack() as stack:
        receiver, relay = await _start(
            stack, tmp_path, mx_port, dns, providers={"default": {"messages_per_connection": 1}}
        )
        for domain in ("one.test", "two.test", "one.test"):
            await relay.send(f"a@{domain}")
            await relay.until_empty()
        assert len(receiver.sessions) == 3
        refused = relay.metric("relay_outbound_connections_opened_total", result="refused")
        assert refused == 1
