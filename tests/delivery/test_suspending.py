"""Suspended mail: accepted, kept, not attempted; and let go as if it had not waited."""

from pathlib import Path

from relay.routing.suspensions import Suspensions
from relay.store.values import QueueFilter, Suspension, SuspensionKind
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Do, Receiver

TWO_SOURCES = {
    "main": {"sources": [{"address": "127.0.0.2"}, {"address": "127.0.0.4"}]},
    "other": {"sources": [{"address": "127.0.0.3"}]},
}


async def suspend(relay: Outgoing, *orders: tuple[SuspensionKind, str]) -> None:
    """As the supervisor does: stored first, then told."""
    for kind, name in orders:
        await relay.store.suspensions.put(Suspension(kind, name, "test", "ann", now_ms()))
    await put_in_force(relay)


async def put_in_force(relay: Outgoing) -> None:
    suspensions = Suspensions(await relay.store.suspensions.all())
    relay.health.rest(suspensions.sources)
    relay.scheduler.suspend(suspensions)


async def resume(relay: Outgoing, kind: SuspensionKind, name: str) -> None:
    await relay.store.suspensions.lift(kind, name)
    await put_in_force(relay)
    await relay.store.suspensions.free(1_000)
    relay.scheduler.expect(now_ms())


async def until_set_aside(relay: Outgoing, count: int) -> None:
    async def all_aside() -> bool:
        found = [(entry.state, entry.claimed) for entry in await relay.queue()]
        return found == [("suspended", False)] * count

    await relay.until(all_aside)


async def test_mail_to_a_suspended_domain_waits_and_other_mail_goes(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        config = make_config(tmp_path, route=f"127.0.0.1:{receiver.port}")
        async with Outgoing(config) as relay:
            await suspend(relay, ("domain", "x.test"))
            await relay.send("a@x.test")
            await relay.send("b@y.test")
            await relay.until(lambda: len(receiver.messages) == 1)
            await until_set_aside(relay, 1)
            (entry,) = await relay.queue()
            assert (entry.domain, entry.attempts) == ("x.test", 0)
            assert relay.scheduler.working_set == 0
            await resume(relay, "domain", "x.test")
            await relay.until(lambda: len(receiver.messages) == 2)
            await relay.until_empty()
            assert relay.metric("relay_deliveries_suspended_total", kind="domain") == 1


async def test_what_waits_in_memory_is_set_aside_when_the_order_comes(tmp_path: Path) -> None:
    async with Receiver({"MAIL": Do.SILENT}) as receiver:
        config = make_config(
            tmp_path,
            route=f"127.0.0.1:{receiver.port}",
            delivery={"connections_per_destination": 1, "command_timeout": "5s"},
        )
        async with Outgoing(config) as relay:
            for number in range(5):
                await relay.send(f"{number}@x.test")
            await receiver.until(lambda: any(s.seen["MAIL"] for s in receiver.sessions))
            await suspend(relay, ("set", "main"))

            async def all_but_the_one_under_way() -> bool:
                found = sorted(entry.state for entry in await relay.queue())
                return found == ["queued"] + ["suspended"] * 4

            await relay.until(all_but_the_one_under_way)


async def test_suspended_mail_is_touched_once(tmp_path: Path) -> None:
    """No storm: what is set aside is not claimed again, however often the store is asked."""
    async with Outgoing(make_config(tmp_path, route="127.0.0.1:9")) as relay:
        await suspend(relay, ("credential", "app"))
        for number in range(10):
            await relay.send(f"{number}@x.test", offer=False)
        relay.scheduler.wake()
        await until_set_aside(relay, 10)
        for _ in range(3):
            relay.scheduler.wake()
            await relay.scheduler._claiming._claim()
        assert relay.metric("relay_deliveries_suspended_total") == 10


async def test_other_sources_take_over_for_a_suspended_one(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        config = make_config(tmp_path, route=f"127.0.0.1:{receiver.port}", pools=TWO_SOURCES)
        async with Outgoing(config) as relay:
            await suspend(relay, ("source", "127.0.0.2"))
            for number in range(6):
                await relay.send(f"{number}@x.test")
            await relay.until_empty()
            assert {line["source"] for line in relay.lines.of("delivery attempt")} == {"127.0.0.4"}


async def test_mail_waits_where_every_source_of_its_pool_is_suspended(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        config = make_config(tmp_path, route=f"127.0.0.1:{receiver.port}", pools=TWO_SOURCES)
        async with Outgoing(config) as relay:
            await suspend(relay, ("source", "127.0.0.2"), ("source", "127.0.0.4"))
            await relay.send("a@x.test")
            await relay.send("a@x.test", configuration_set="other")
            await relay.until(lambda: len(receiver.messages) == 1)
            await until_set_aside(relay, 1)
            assert not relay.lines.of("delivery postponed")
            await resume(relay, "source", "127.0.0.4")
            await relay.until_empty()


async def test_suspended_mail_keeps_its_schedule(tmp_path: Path) -> None:
    async with Receiver({"RCPT": b"451 4.7.1 later\r\n"}) as receiver:
        config = make_config(tmp_path, route=f"127.0.0.1:{receiver.port}")
        async with Outgoing(config) as relay:
            await relay.send("a@x.test")
            await relay.until_attempted(1)
            (deferred,) = await relay.queue()
            await suspend(relay, ("domain", "x.test"))
            (waiting,) = await relay.queue()
            assert waiting == deferred  # not due: nobody has looked at it
            await relay.store.retry_now(QueueFilter(), now_ms())
            relay.scheduler.wake()
            await until_set_aside(relay, 1)
            (aside,) = await relay.queue()
            assert aside.attempts == 1
            assert aside.due_at <= now_ms()
