"""Queue tools: in parts, through another pool, and with a reason."""

import pytest

from relay.admin import operations as module
from relay.admin.control import Refused
from relay.store.values import QueueFilter
from tests.admin.stored import a_message, operations_over


async def fill(operations, count):
    for number in range(count):
        await operations.store.insert(a_message(f"a@x{number}.test"), None)


async def test_long_work_is_done_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART", 2)
    async with operations_over(tmp_path) as operations:
        await fill(operations, 5)
        which, counts = QueueFilter(limit=1_000), []
        while True:
            answer = await operations.hold(which)
            counts.append(answer.count)
            if not answer.after:
                break
            await operations.store.insert(a_message("later@x.test"), None)
            which = QueueFilter(limit=1_000, after=answer.after, upto=answer.upto)
        assert counts == [2, 2, 1]
        states = [entry.state for entry in await operations.queue(QueueFilter())]
        assert states == ["held"] * 5 + ["queued"] * 2


async def test_what_is_bounced_in_parts_leaves_its_own_reports_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART", 2)
    async with operations_over(tmp_path) as operations:
        await fill(operations, 4)
        answer = await operations.bounce(QueueFilter(), "the list was wrong")
        rest = QueueFilter(after=answer.after, upto=answer.upto)
        assert (await operations.bounce(rest, "the list was wrong")).count == 2
        left = await operations.queue(QueueFilter())
        assert [entry.reverse_path for entry in left] == [""] * 4


async def test_the_reason_of_a_bounce_is_what_the_sender_reads(tmp_path):
    async with operations_over(tmp_path) as operations:
        new = a_message("a@x.test")
        await operations.store.insert(new, None)
        await operations.bounce(QueueFilter(), "the list\nwas wrong")
        (attempt,) = await operations.store.attempts.of(new.message.id, 1)
        assert attempt.results[0].reply.endswith("before it was delivered: the list was wrong")
        (report,) = await operations.queue(QueueFilter())
        owner = await operations.store.register("worker", 60_000)
        (claimed,) = await operations.store.take(owner, QueueFilter(message_id=report.message_id))
        body = b"".join([part async for part in operations.store.read_body(claimed.message)])
        assert b"the list was wrong" in body.replace(b"\r\n ", b" ")


async def test_mail_is_moved_only_to_a_pool_that_is_there(tmp_path):
    async with operations_over(tmp_path) as operations:
        await fill(operations, 2)
        with pytest.raises(Refused, match=r"no pool warm .*\(there: fresh, main\)"):
            await operations.move(QueueFilter(), "warm")
        assert (await operations.move(QueueFilter(domain="x1.test"), "main")).count == 1
        assert [e.pool for e in await operations.queue(QueueFilter())] == ["", "main"]
        assert len(await operations.queue(QueueFilter(pool="main"))) == 2
        assert (await operations.move(QueueFilter(), "")).count == 1
