"""The line between supervisor and worker."""

import asyncio
import io
import socket

import pytest

from relay.observe.logging import make_logger
from relay.observe.merging import Family, Sample
from relay.runtime.link import Link, LinkFault, LinkLost, connect
from relay.runtime.messages import (
    MailIsDue,
    Prepare,
    Recall,
    Report,
    State,
    TakeStock,
)
from relay.store.values import QueueFilter


async def pair(here, there, lost=lambda: None) -> tuple[Link, Link]:
    log = make_logger(stream=io.StringIO())
    one, other = socket.socketpair()
    return (
        await connect(one, lambda: Link(here, log, lost)),
        await connect(other, lambda: Link(there, log)),
    )


async def test_a_question_gets_the_answer_of_its_own_type() -> None:
    stock = (Family("f", "counter", "F.", (Sample("f_total", (("a", "b"),), 2.0),)),)
    here, there = await pair({}, {TakeStock: lambda _: stock, Report: lambda _: State(3, 4)})
    assert await here.ask(TakeStock()) == stock
    assert await here.ask(Report()) == State(3, 4)
    here.close()
    there.close()


async def test_questions_are_answered_in_any_order() -> None:
    first = asyncio.Event()

    async def slow(message: Prepare) -> tuple[str, ...]:
        await first.wait()
        return ("slow",)

    here, there = await pair({}, {Prepare: slow, Report: lambda _: State(0, 0)})
    asking = asyncio.ensure_future(here.ask(Prepare(b"")))
    assert await here.ask(Report()) == State(0, 0)
    first.set()
    assert await asking == ("slow",)
    here.close()
    there.close()


async def test_what_is_told_arrives_in_order_however_it_was_cut() -> None:
    heard: list[int] = []
    done = asyncio.Event()

    def hear(message: MailIsDue) -> None:
        heard.append(message.at)
        if len(heard) == 5_000:
            done.set()

    here, there = await pair({}, {MailIsDue: hear})
    for number in range(5_000):
        here.tell(MailIsDue(number))
    await asyncio.wait_for(done.wait(), 10)
    assert heard == list(range(5_000))
    here.close()
    there.close()


async def test_a_message_of_megabytes_passes() -> None:
    configuration = bytes(8_000_000)
    here, there = await pair({}, {Prepare: lambda m: (str(len(m.configuration)),)})
    assert await here.ask(Prepare(configuration)) == ("8000000",)
    here.close()
    there.close()


async def test_a_failure_at_the_other_end_is_told_and_the_line_stays() -> None:
    def fail(message: Recall) -> bool:
        raise ValueError("no such thing")

    async def fail_later(message: Prepare) -> tuple[str, ...]:
        raise ValueError("not ready")

    here, there = await pair({}, {Recall: fail, Prepare: fail_later, Report: lambda _: State(1, 1)})
    with pytest.raises(LinkFault, match="no such thing"):
        await here.ask(Recall(QueueFilter()))
    with pytest.raises(LinkFault, match="not ready"):
        await here.ask(Prepare(b""))
    assert await here.ask(Report()) == State(1, 1)
    here.close()
    there.close()


async def test_whoever_waits_for_an_answer_hears_that_the_other_end_is_gone() -> None:
    lost = asyncio.Event()
    here, there = await pair({}, {Prepare: lambda _: asyncio.Event().wait()}, lost.set)
    asking = asyncio.ensure_future(here.ask(Prepare(b"")))
    there.close()
    with pytest.raises(LinkLost):
        await asking
    await asyncio.wait_for(lost.wait(), 5)
    assert here.is_lost
    with pytest.raises(LinkLost):
        await here.ask(Report())
    here.tell(MailIsDue(1))  # to nobody
