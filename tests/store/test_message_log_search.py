"""Searches of the message log that take long: how they end, and how one goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.store.log_values import Filing, MessageQuery
from relay.store.sqlite.log import SqliteLog, search
from tests.contract.test_message_log import ids, message, sent


@pytest.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteLog]:
    """Forty messages; every search has time for three of them."""
    monkeypatch.setattr(search, "_WINDOW", 3)
    monkeypatch.setattr(search, "_SECONDS", 0.0)
    log = SqliteLog(tmp_path)
    await log.open()
    await log.file(
        Filing("o", 1, tuple(message(n, subject="odd" if n % 2 else "even") for n in range(1, 41)))
    )
    yield log
    await log.close()


async def test_a_search_whose_time_is_up_says_how_far_back_it_came(log: SqliteLog) -> None:
    result = await log.search(MessageQuery(subject="even"))
    assert [found.message.id for found in result.messages] == [message(40).id, message(38).id]
    assert result.looked_back_to == message(38).accepted_at


async def test_it_goes_on_from_there_until_all_are_found(log: SqliteLog) -> None:
    until, found, searches = None, [], 0
    while searches == 0 or until:
        result = await log.search(MessageQuery(subject="even", until=until))
        found += [one.message.id for one in result.messages]
        until = result.looked_back_to
        searches += 1
    assert found == [message(n).id for n in range(40, 0, -2)]
    assert searches == 14


async def test_a_search_that_found_enough_or_came_to_its_end_says_nothing_of_that(
    log: SqliteLog,
) -> None:
    enough = await log.search(MessageQuery(subject="even", limit=2))
    assert (len(enough.messages), enough.looked_back_to) == (2, 0)
    since = await log.search(MessageQuery(subject="even", since=message(39).accepted_at))
    assert (len(since.messages), since.looked_back_to) == (1, 0)


async def test_by_recipient_all_are_found_at_once(log: SqliteLog) -> None:
    assert await ids(log, recipient="a@x.test") == list(range(40, 0, -1))


async def test_what_was_pruned_in_between_takes_no_time(log: SqliteLog) -> None:
    """Where an old message is still to be told, there is a gap behind it."""
    late = message(1)
    await log.file(Filing("o", 2, (), (sent(late),)))
    await log.prune(message(38).accepted_at, 1 << 40, keep_from=1, limit=100)
    result = await log.search(MessageQuery(subject="odd"))
    assert result.looked_back_to == message(38).accepted_at
    result = await log.search(MessageQuery(subject="odd", until=result.looked_back_to))
    assert [found.message.id for found in result.messages] == [late.id]
    assert result.looked_back_to == 0
