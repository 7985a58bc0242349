"""Mail that an operator has moved to another pool."""

from pathlib import Path

from relay.store.values import QueueFilter
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Receiver


async def move(relay: Outgoing, pool: str) -> None:
    """What waits to be claimed, so that the next attempt knows of it."""
    await relay.store.move(QueueFilter(), pool)
    await relay.store.retry_now(QueueFilter(), now_ms())
    relay.scheduler.wake()


async def test_moved_mail_leaves_from_its_new_pool(tmp_path: Path) -> None:
    async with Receiver({"RCPT": b"451 4.7.1 later\r\n"}) as receiver:
        config = make_config(tmp_path, route=receiver.address)
        async with Outgoing(config) as relay:
            await relay.send("a@x.test")
            await relay.until_attempted(1)
            receiver.script.clear()
            await move(relay, "other")
            await relay.until_empty()
            lines = relay.lines.of("delivery attempt")
    assert [(line["pool"], line["source"]) for line in lines] == [
        ("main", "127.0.0.2"),
        ("other", "127.0.0.3"),
    ]


async def test_a_pool_that_is_gone_is_that_of_the_set_and_is_told_once(tmp_path: Path) -> None:
    async with Receiver({"RCPT": b"451 4.7.1 later\r\n"}) as receiver:
        config = make_config(tmp_path, route=receiver.address)
        async with Outgoing(config) as relay:
            await relay.send("a@x.test")
            await relay.send("b@x.test")
            await relay.until_attempted(2)
            receiver.script.clear()
            await move(relay, "gone")
            await relay.until_empty()
            told = relay.lines.of(
                "mail was moved to a pool that is gone: it goes through that of its set"
            )
            assert {line["pool"] for line in relay.lines.of("delivery attempt")} == {"main"}
    assert [line["pool"] for line in told] == ["gone"]
