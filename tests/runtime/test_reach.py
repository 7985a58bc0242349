"""Whether the store can be reached: told to whoever has a question, before any time-out."""

import asyncio

import pytest

from relay.runtime.reach import Away, Reach
from relay.store.interface import StoreError, StoreUnavailable


async def _answer() -> int:
    return 7


async def _silence() -> int:
    await asyncio.Event().wait()
    return 0


async def _fail() -> int:
    raise StoreUnavailable("refused")


async def test_what_is_asked_while_the_store_answers_is_answered() -> None:
    reach = Reach(lambda: 1)
    assert await reach.during(_answer) == 7
    with pytest.raises(StoreError, match="refused"):
        await reach.during(_fail)
    assert reach.away is None


async def test_a_question_under_way_is_given_up_when_the_store_is_found_to_be_away() -> None:
    reach = Reach(lambda: 1)
    asked = asyncio.create_task(reach.during(_silence))
    await asyncio.sleep(0)
    reach.lose("The database does not answer.")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await asked


async def test_a_store_that_is_away_is_not_asked_until_it_has_answered() -> None:
    reach = Reach(lambda: 1)
    asked: list[int] = []

    async def ask() -> int:
        asked.append(1)
        return 7

    reach.lose("away")
    with pytest.raises(StoreUnavailable, match="away"):
        await reach.during(ask)
    assert not asked

    reach.find()
    assert await reach.during(ask) == 7


async def test_it_is_away_since_it_was_first_missed_and_for_the_newest_reason() -> None:
    times = iter((10, 20, 30))
    reach = Reach(lambda: next(times))
    reach.lose("silent")
    reach.lose("refused")
    assert reach.away == Away(10, "refused")
    reach.find()
    reach.lose("silent")
    assert reach.away == Away(20, "silent")


async def test_who_goes_away_takes_the_question_along() -> None:
    reach = Reach(lambda: 1)
    ended = asyncio.Event()

    async def ask() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asked = asyncio.create_task(reach.during(ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await ended.wait()
