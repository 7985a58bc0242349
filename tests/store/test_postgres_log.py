"""What is the PostgreSQL log's own: its windows, its count of octets, and two who file at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

import asyncpg
import pytest

from relay.store.fleet_values import HeldDuty, NodeReport
from relay.store.happenings import Complained
from relay.store.interface import StoreUnavailable
from relay.store.log_interface import FiledElsewhere
from relay.store.log_values import DeadLetter, Filing, MessageQuery, TellingCursor
from relay.store.postgres.log import PostgresLog, search, telling, weights
from relay.store.postgres.log.fence import fenced
from relay.store.postgres.place import Place
from relay.store.postgres.store import PostgresStore
from tests.contract.test_message_log import delivered, ids, message, sent


@pytest.fixture
async def log(postgres_url: str) -> AsyncIterator[PostgresLog]:
    made = PostgresLog(Place(postgres_url))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def forty(log: PostgresLog, monkeypatch: pytest.MonkeyPatch) -> PostgresLog:
    """Forty messages, and time for three of them; one in twenty is from somebody else."""
    monkeypatch.setattr(search, "_WINDOW", 3)
    monkeypatch.setattr(search, "_SECONDS", 0.0)
    made = [message(n, subject="odd" if n % 2 else "even") for n in range(1, 41)]
    for n in (5, 25):
        made[n - 1] = replace(made[n - 1], reverse_path="eve@x.test", recipients=("eve@y.test",))
    await log.file(Filing("o", 1, tuple(made)))
    return log


async def test_a_search_whose_time_is_up_says_how_far_back_it_came(forty: PostgresLog) -> None:
    result = await forty.search(MessageQuery(subject="even"))
    assert [found.message.id for found in result.messages] == [message(40).id, message(38).id]
    assert result.looked_back_to == message(38).accepted_at


async def test_it_goes_on_from_there_until_all_are_found(forty: PostgresLog) -> None:
    until, found, searches = None, [], 0
    while searches == 0 or until:
        result = await forty.search(MessageQuery(subject="even", until=until))
        found += [one.message.id for one in result.messages]
        until = result.looked_back_to
        searches += 1
    assert found == [message(n).id for n in range(40, 0, -2)]
    assert searches == 14


@pytest.mark.parametrize("wanted", [{"sender": "eve@x.test"}, {"recipient": "Eve@y.test"}])
async def test_an_index_leads_past_all_that_is_of_others(
    forty: PostgresLog, wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await ids(forty, **wanted) == [25]  # one window, and its time is up
    looked_through = []
    look_through = search._look_through

    async def counted(*args: object) -> object:
        looked_through.append(args[2:4])
        return await look_through(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "_look_through", counted)
    monkeypatch.setattr(search, "_SECONDS", 10.0)
    assert await ids(forty, **wanted) == [25, 5]
    assert len(looked_through) == 2


async def test_of_two_who_file_at_once_one_is_told_so(log: PostgresLog, postgres_url: str) -> None:
    other = PostgresLog(Place(postgres_url))
    await other.open()
    mine, theirs = message(1), message(2)
    results = await asyncio.gather(
        log.file(Filing("o", 5, (mine,), (sent(mine),), after=0)),
        other.file(Filing("o", 6, (theirs,), (sent(theirs),), after=0)),
        return_exceptions=True,
    )
    assert {type(result) for result in results} == {FiledElsewhere, type(None)}
    assert [one.number for one in await log.events_after(0, 10)] == [1]
    await other.close()


async def test_what_was_counted_is_what_there_is(log: PostgresLog, postgres_url: str) -> None:
    made = [message(n, "a@x.test", "b@x.test") for n in range(30)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    await log.file(Filing("o", 2, tuple(made), tuple(delivered(one) for one in made)))
    await log.file(Filing("o", 3, (), (delivered(message(99)),)))
    session = await asyncpg.connect(postgres_url)
    counted, there = (
        "SELECT octets FROM relay.log_state",
        "SELECT (SELECT coalesce(sum(octet_length(told) + octet_length(header) + $1::bigint), 0)"
        " FROM relay.log_message) + (SELECT count(*) * $2::bigint FROM relay.log_recipient)"
        " + (SELECT coalesce(sum(octet_length(told) + $3::bigint), 0) FROM relay.log_event)",
    )
    each = (weights.MESSAGE, weights.RECIPIENT, weights.EVENT)
    assert await session.fetchval(counted) == await session.fetchval(there, *each) > 30_000
    assert await log.prune(made[20].accepted_at, 1 << 40, keep_from=1 << 60, limit=50) == 20
    assert await session.fetchval(counted) == await session.fetchval(there, *each) > 10_000
    assert await log.prune(0, 0, keep_from=1 << 60, limit=50) == 10
    assert await log.prune(made[29].accepted_at, 0, keep_from=1 << 60, limit=50) == 0
    assert await session.fetchval(counted) == await session.fetchval(there, *each)
    await session.close()


async def test_a_row_that_cannot_be_read_is_left_out(log: PostgresLog, postgres_url: str) -> None:
    made = [message(n) for n in range(3)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    session = await asyncpg.connect(postgres_url)
    await session.execute("UPDATE relay.log_message SET told = '{' WHERE id = 2")
    await session.execute("UPDATE relay.log_event SET told = 'x' WHERE number = 2")
    await session.close()
    assert await ids(log) == [2, 0]
    assert await log.message(made[1].id) is None
    assert [one.number for one in await log.events_after(0, 10)] == [1, 3]
    assert await log.prune(made[2].accepted_at, 1 << 40, keep_from=1 << 60, limit=9) == 2


async def test_what_text_cannot_hold_is_found_all_the_same(log: PostgresLog) -> None:
    odd = message(1, subject="a nul \0 in it", tags=(("a", "b\x1ec"),), header=b"\0\xff")
    await log.file(Filing("o", 1, (odd,), (sent(odd),)))
    assert await ids(log, subject="NUL") == [1]
    assert await ids(log, tag=("a", "b\x1ec")) == [1]


async def test_who_reads_writes_nothing(postgres_url: str) -> None:
    log = PostgresLog(Place(postgres_url))
    await log.open(reading=True)
    assert await log.newest_event() == 0
    with pytest.raises(StoreUnavailable, match="reading"):
        await log.file(Filing("o", 1))
    await log.close()


async def test_what_waits_in_a_store_that_moves_to_another_server_is_filed_before_what_comes(
    postgres_url: str,
) -> None:
    """Its numbers are those of the transactions of the old one, and the new one has had few."""
    store = PostgresStore(Place(postgres_url))
    await store.open()
    for name in ("one", "two"):
        await store.outbox.add(name, 1, Complained(0))
    session = await asyncpg.connect(postgres_url)
    await session.execute("UPDATE relay.outbox SET id = id + (1::bigint << 50)")
    await session.close()
    assert await store.outbox.read(0, 9) == []
    await store.outbox.rename()
    await store.outbox.add("three", 1, Complained(0))
    read = [entry.message_id for entry in await store.outbox.read(0, 9)]
    assert read == ["one", "two", "three"]
    await store.close()


async def test_who_has_lost_the_duty_writes_nothing_any_more(
    log: PostgresLog, postgres_url: str
) -> None:
    """As a scribe that was stopped for longer than its lease, and goes on."""
    store = PostgresStore(Place(postgres_url))
    await store.open()
    scribes = []
    for name in ("a", "b"):
        member = await store.fleet.join(name, name, 10_000, NodeReport("1"))
        assert await store.fleet.hold_duty("scribe", member)
        duty = HeldDuty("scribe", member.epoch)
        scribes.append(PostgresLog(Place(postgres_url), duty=duty))
        await scribes[-1].open()
        await scribes[-1].put_cursors([TellingCursor("crm", 7 if name == "a" else 9)])
        if name == "a":
            await store.fleet.leave(member)
    late, present = scribes
    writes: list[Awaitable[object]] = [
        late.put_cursors([TellingCursor("crm", 8)]),
        late.forget_cursor("crm"),
        late.add_dead_letters([DeadLetter("crm", sent(message(1)), 1, "400", 1)], 9),
        late.file(Filing("o", 1, (message(1),))),
    ]
    for write in writes:
        with pytest.raises(FiledElsewhere, match="duty"):
            await write
    assert await log.cursors() == [TellingCursor("crm", 9)]
    assert await log.count_dead_letters() == {}
    await present.file(Filing("o", 1, (message(1),)))
    assert await ids(log) == [1]
    for each in scribes:
        await each.close()
    await store.close()


async def test_who_takes_the_duty_over_waits_for_what_is_being_written_for_it(
    postgres_url: str,
) -> None:
    store = PostgresStore(Place(postgres_url))
    await store.open()
    before = await store.fleet.join("a", "a", 10_000, NodeReport("1"))
    after = await store.fleet.join("b", "b", 10_000, NodeReport("1"))
    assert await store.fleet.hold_duty("scribe", before)
    session = await asyncpg.connect(postgres_url, server_settings={"search_path": "relay"})
    watch = await asyncpg.connect(postgres_url)
    await watch.execute("UPDATE relay.node SET ended = true WHERE name = 'a'")
    put = fenced(telling.put_cursors, HeldDuty("scribe", before.epoch))
    async with session.transaction():
        await put(session, [[TellingCursor("crm", 7)]])
        taking = asyncio.create_task(store.fleet.hold_duty("scribe", after))
        async with asyncio.timeout(30):
            while not await watch.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not taking.done()
        assert not taking.done()
    assert await taking
    for one in (session, watch):
        await one.close()
    await store.close()
