"""News of other nodes: each kind is seen to, and none is lost to a store that fails."""

import asyncio

from relay.observe.logging import make_logger
from relay.runtime.news import News
from relay.store.interface import StoreUnavailable
from tests.delivery.outgoing import Lines


async def test_news_of_a_kind_is_seen_to_once_however_often_it_came() -> None:
    news, seen = News(make_logger("json", "info", Lines())), []  # type: ignore[arg-type]

    async def note() -> None:
        seen.append(1)

    news.handle({"pauses": note})
    for _ in range(3):
        news.hear("pauses")
    news.hear("queue")

    assert await news.see_to_it()
    assert seen == [1]


async def test_news_that_a_failing_store_held_up_is_seen_to_later() -> None:
    news, faults = News(make_logger("json", "info", Lines())), [StoreUnavailable("away")]  # type: ignore[arg-type]

    async def read() -> None:
        if faults:
            raise faults.pop()

    news.handle({"secrets": read})
    news.hear("secrets")

    assert not await news.see_to_it()
    assert await news.see_to_it()


async def test_news_that_never_ends_keeps_nothing_from_being_read_anew() -> None:
    news = News(make_logger("json", "info", Lines()), reread=0.01)  # type: ignore[arg-type]
    read = asyncio.Event()

    async def busy() -> None:
        await asyncio.sleep(0)
        news.hear("queue")

    async def pauses() -> None:
        read.set()

    news.handle({"queue": busy, "pauses": pauses}, again=("pauses",))
    news.hear("queue")
    running = asyncio.create_task(news.run())
    async with asyncio.timeout(10):
        await read.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_store_that_stays_away_is_told_once_and_tried_each_time() -> None:
    lines = Lines()
    news = News(make_logger("json", "info", lines))  # type: ignore[arg-type]
    tried: list[int] = []

    async def fail() -> None:
        tried.append(1)
        raise StoreUnavailable("away")

    news.handle({"pauses": fail})
    news.hear("pauses")
    for _ in range(3):
        assert not await news.see_to_it()
    assert len(tried) == 3
    assert len(lines.of("news of the fleet is not seen to yet")) == 1
