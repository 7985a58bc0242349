"""Group commit: what shares a transaction, who fails, and how the writer recovers."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from relay.observe.logging import make_logger
from relay.store.interface import StoreError, StoreFull, StoreUnavailable
from relay.store.sqlite.schema import connect, migrate
from relay.store.sqlite.turn import TURN, Turn
from relay.store.sqlite.writer import MAX_BATCH, Writer


class House:
    """A writer, what it told, and a connection that can be made to fail."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "relay.db"
        self.commits: list[int] = []
        self.errors: list[StoreError] = []
        self.connected = 0
        self.unreachable = False
        self.listener_fails = False
        self.writer = Writer(
            self._connect,
            directory,
            on_commit=self._committed,
            on_error=self.errors.append,
            log=make_logger(level="error"),
            patience=0.2,
        )

    async def all_commits(self) -> list[int]:
        """The operations of each commit, at the end: they are told after the results."""
        self.writer.end()
        await asyncio.to_thread(self.writer.join)
        return self.commits

    def _committed(self, seconds: float, operations: int) -> None:
        self.commits.append(operations)
        if self.listener_fails:
            raise RuntimeError("a broken listener")

    def _connect(self) -> sqlite3.Connection:
        if self.unreachable:
            raise sqlite3.OperationalError("unable to open database file")
        self.connected += 1
        connection = connect(self.path)
        migrate(connection)
        return connection


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    made.writer.start()
    yield made
    made.writer.end()
    made.writer.join()


def charge(db: sqlite3.Connection, keys: Sequence[str]) -> list[str]:
    for key in keys:
        if key.startswith("bad"):
            raise ValueError(key)
        db.execute("INSERT INTO usage VALUES (?, 0, 1)", (key,))
    return [key.upper() for key in keys]


def stored(house: House) -> set[str]:
    with connect(house.path) as db:
        found = {key for (key,) in db.execute("SELECT key FROM usage")}
    db.close()
    return found


async def test_what_waits_shares_a_commit(house: House) -> None:
    answers = await asyncio.gather(*(house.writer.submit(charge, f"k{n}") for n in range(100)))
    assert answers == [f"K{n}" for n in range(100)]
    commits = await house.all_commits()
    assert sum(commits) == 100
    assert len(commits) < 20


async def test_a_batch_is_bounded(house: House) -> None:
    await asyncio.gather(*(house.writer.submit(charge, f"k{n}") for n in range(3 * MAX_BATCH)))
    assert max(await house.all_commits()) <= MAX_BATCH


async def test_only_the_culprit_fails(house: House) -> None:
    keys = ["a", "b", "bad1", "c", "bad2", "d"]
    answers = await asyncio.gather(
        *(house.writer.submit(charge, key) for key in keys), return_exceptions=True
    )
    assert [isinstance(answer, ValueError) for answer in answers] == [
        key.startswith("bad") for key in keys
    ]
    assert stored(house) == {"a", "b", "c", "d"}


async def test_what_is_answered_is_committed(house: House) -> None:
    await house.writer.submit(charge, "a")
    assert stored(house) == {"a"}


async def test_who_went_away_before_his_turn_gets_nothing_done(house: House) -> None:
    lost: list[str | None] = []
    future = house.writer.submit(charge, "first")
    cancelled = house.writer.submit(charge, "gone", lost.append)
    cancelled.cancel()
    await future
    await house.writer.submit(charge, "last")
    assert lost in ([None], ["GONE"])
    assert ("gone" in stored(house)) == (lost == ["GONE"])


async def test_the_writer_serves_again_when_the_database_can_be_opened_again(
    house: House,
) -> None:
    house.unreachable = True
    with pytest.raises(StoreUnavailable):
        await house.writer.submit(charge, "a")
    house.unreachable = False
    await house.writer.submit(charge, "b")
    assert stored(house) == {"b"}
    assert len(house.errors) == 1


@pytest.mark.parametrize(
    ("code", "name"),
    [(sqlite3.SQLITE_IOERR, "SQLITE_IOERR"), (sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT")],
)
async def test_a_doubtful_connection_is_opened_anew(house: House, code: int, name: str) -> None:
    def fail(db: sqlite3.Connection, requests: Sequence[None]) -> list[None]:
        db.execute("INSERT INTO usage VALUES ('half', 0, 1)")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode, error.sqlite_errorname = code, name
        raise error

    with pytest.raises(StoreUnavailable, match=name):
        await house.writer.submit(fail, None)
    await house.writer.submit(charge, "a")
    assert house.connected == 2
    assert stored(house) == {"a"}


async def test_no_room_is_told_apart_from_other_faults(house: House) -> None:
    def fail(db: sqlite3.Connection, requests: Sequence[OSError]) -> list[None]:
        raise requests[0]

    with pytest.raises(StoreFull):
        await house.writer.submit(fail, OSError(errno.EDQUOT, "Disk quota exceeded"))
    with pytest.raises(StoreUnavailable):
        await house.writer.submit(fail, OSError(errno.EIO, "Input/output error"))


async def test_a_failing_listener_does_not_end_the_writer(house: House) -> None:
    house.listener_fails = True
    await house.writer.submit(charge, "a")
    await house.writer.submit(charge, "b")
    assert stored(house) == {"a", "b"}


async def test_what_was_submitted_before_the_end_is_done(house: House) -> None:
    futures = [house.writer.submit(charge, f"k{n}") for n in range(50)]
    house.writer.end()
    await asyncio.gather(*futures)
    with pytest.raises(StoreUnavailable):
        house.writer.submit(charge, "late")


async def test_what_nobody_hurries_for_goes_with_the_next_commit(house: House) -> None:
    unhurried = [house.writer.submit(charge, f"k{n}", unhurried=True) for n in range(3)]
    assert await house.writer.submit(charge, "k3") == "K3"
    assert await asyncio.gather(*unhurried) == ["K0", "K1", "K2"]
    assert await house.all_commits() == [4]


async def test_what_nobody_hurries_for_does_not_wait_for_ever(house: House) -> None:
    for round_ in range(3):
        unhurried = [house.writer.submit(charge, f"k{round_}{n}", unhurried=True) for n in range(3)]
        await asyncio.wait_for(asyncio.gather(*unhurried), 5)
    assert await house.all_commits() == [3, 3, 3]


async def test_what_nobody_hurries_for_is_done_before_the_end(house: House) -> None:
    unhurried = [house.writer.submit(charge, f"k{n}", unhurried=True) for n in range(2 * MAX_BATCH)]
    house.writer.end()
    assert len(await asyncio.gather(*unhurried)) == 2 * MAX_BATCH


# Turns with other processes


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Turn]:
    """What another process would have open."""
    turn = Turn(tmp_path / TURN)
    yield turn
    turn.close()


async def test_what_comes_while_another_process_writes_is_one_commit(
    house: House, other: Turn
) -> None:
    other.take()
    futures = [house.writer.submit(charge, "k0")]
    futures += [house.writer.submit(charge, f"k{n}") for n in range(1, 20)]
    other.give_up()
    await asyncio.gather(*futures)
    assert await house.all_commits() == [20]


async def test_a_turn_that_does_not_come_fails_all_who_wait_and_nothing_is_done(
    house: House, other: Turn
) -> None:
    other.take()
    waiting = [house.writer.submit(charge, f"k{n}") for n in range(3)]
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, StoreUnavailable)
        assert f"Process {os.getpid()} keeps" in str(answer)
    with pytest.raises(StoreUnavailable):
        await house.writer.submit(charge, "at once")
    other.give_up()
    while True:
        try:
            await house.writer.submit(charge, "later")
        except StoreUnavailable:
            await asyncio.sleep(0.01)
        else:
            break
    assert stored(house) == {"later"}


async def test_a_turn_that_does_not_come_does_not_keep_a_store_from_closing(
    house: House, other: Turn
) -> None:
    other.take()
    future = house.writer.submit(charge, "a")
    house.writer.end()
    await asyncio.to_thread(house.writer.join)
    with pytest.raises(StoreUnavailable):
        await future
    other.give_up()


async def test_without_the_file_of_turns_each_request_fails_and_the_next_is_served(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / TURN).mkdir()
    with pytest.raises(StoreUnavailable):
        await house.writer.submit(charge, "a")
    (tmp_path / TURN).rmdir()
    await house.writer.submit(charge, "b")
    assert stored(house) == {"b"}
