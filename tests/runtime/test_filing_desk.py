"""The outbox is emptied into the log once and in order, whatever dies or is full in between."""

import asyncio
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import pytest

from relay.events.filing import Made, Rules
from relay.feedback.policy import Policies
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.runtime import filing as filing_desk
from relay.runtime.filing import FilingDesk
from relay.store.attempted import Attempted
from relay.store.happenings import Complained, OutboxEntry, Returned
from relay.store.interface import Store, StoreError, StoreFull, StoreUnavailable
from relay.store.log_interface import FiledElsewhere, MessageLog
from relay.store.log_values import Filing, MessageQuery
from relay.store.postgres.log import PostgresLog
from relay.store.postgres.place import Place
from relay.store.postgres.store import PostgresStore
from relay.store.sqlite import SqliteStore
from relay.store.sqlite.log import SqliteLog
from relay.store.values import Owner, Settlement
from tests.contract.making import LEASE, NOW, make_new
from tests.limits.making import make_config

DEAD = Returned(0, "a@destination.test", "failed", "5.1.1", "550 5.1.1 User unknown", "mx.test")


class Obstacles:
    """What may be in the way of filing. While `is_full` there is no room, and `refused` is set by
    the second try; of the next `unheard` filings nobody hears that they were done."""

    def __init__(self) -> None:
        self.is_full = False
        self.tries = 0
        self.refused = asyncio.Event()
        self.unheard = 0

    def before(self) -> None:
        if self.is_full:
            self.tries += 1
            if self.tries == 2:
                self.refused.set()
            raise StoreFull("No room: no space left on device")

    def after(self) -> None:
        if self.unheard:
            self.unheard -= 1
            raise StoreUnavailable("The database was lost.")


def obstruct(log: MessageLog, obstacles: Obstacles) -> None:
    """Put them in the way."""
    file = log.file

    async def obstructed(filing: Filing) -> None:
        obstacles.before()
        await file(filing)
        obstacles.after()

    log.file = obstructed  # type: ignore[method-assign]


class Desks:
    """A store with an outbox, a log, and one desk after the other between them."""

    def __init__(self, store: Store, log: MessageLog) -> None:
        self.store, self.log = store, log
        self.obstacles = Obstacles()
        obstruct(self.log, self.obstacles)
        self.metrics, self.lines = Metrics(), StringIO()
        self.filed: list[Filing] = []
        self.owner: Owner
        config = make_config()
        self.rules = Rules(config.hostname, Policies.of(config), frozenset())

    async def begin(self, worker: str = "worker") -> None:
        await self.store.open()
        await self.log.open()
        self.owner = await self.store.register(worker, LEASE)

    async def end(self) -> None:
        await self.log.close()
        await self.store.close()

    async def open(self) -> FilingDesk:
        desk = FilingDesk(
            outbox=self.store.outbox,
            log=self.log,
            suppressions=self.store.suppressions,
            rules=lambda: self.rules,
            filed=self.filed.append,
            wall=lambda: NOW,
            metrics=self.metrics,
            logger=make_logger("json", "debug", self.lines),
        )
        await desk.open()
        return desk

    async def work(self) -> None:
        """A desk that files what there is, and ends."""
        desk = await self.open()
        desk.finish()
        await desk.run()

    async def accept(self, recipient: str = "a@destination.test") -> str:
        """A message that is delivered at once; its id."""
        (delivery,) = (await self.store.insert(make_new(recipient), self.owner)).deliveries
        happened = Attempted(NOW + 5, 1, (recipient,), "250 ok")
        assert await self.store.settle(self.owner, Settlement(delivery, happened=happened))
        return delivery.message.id

    async def events(self) -> list[tuple[str, str]]:
        return [(e.message_id, e.type) for e in await self.log.events_after(0, 1_000)]

    async def waiting(self) -> int:
        return len(await self.store.outbox.read(0, 1_000))


@pytest.fixture(params=["sqlite", "postgres"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Desks:
    if request.param == "sqlite":
        return Desks(SqliteStore(tmp_path), SqliteLog(tmp_path))
    place = Place(request.getfixturevalue("postgres_url"))
    return Desks(PostgresStore(place), PostgresLog(place))


@pytest.fixture
async def desks(made: Desks) -> AsyncIterator[Desks]:
    await made.begin()
    yield made
    await made.end()


def both(*ids: str) -> list[tuple[str, str]]:
    return [(message_id, kind) for message_id in ids for kind in ("Send", "Delivery")]


async def test_what_happened_is_filed_in_order_and_leaves_the_outbox(desks: Desks) -> None:
    ids = [await desks.accept() for _ in range(3)]
    await desks.work()
    assert await desks.events() == both(*ids)
    assert await desks.waiting() == 0
    assert [len(filing.events) for filing in desks.filed] == [6]


async def test_more_than_is_filed_at_once_is_filed_in_one_go(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing_desk, "_AT_ONCE", 2)
    ids = [await desks.accept() for _ in range(5)]
    await desks.work()
    assert await desks.events() == both(*ids)
    assert len(desks.filed) == 5


async def test_while_the_log_is_full_mail_goes_on_and_all_is_filed_once_there_is_room(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing_desk, "_RETRY_FIRST", 0.01)
    desks.obstacles.is_full = True
    ids = [await desks.accept()]
    desk = await desks.open()
    running = asyncio.create_task(desk.run())
    await desks.obstacles.refused.wait()
    ids.append(await desks.accept())
    assert await desks.waiting() == 4
    assert desks.filed == []
    assert desks.metrics.registry.get_sample_value("relay_message_log_errors_total")
    assert "it waits in the outbox" in desks.lines.getvalue()
    assert "no space left on device" in desks.lines.getvalue()
    desks.obstacles.is_full = False
    desk.finish()
    await running
    if await desks.waiting():  # it was to end while it waited for the next try
        await desks.work()
    assert await desks.events() == both(*ids)
    assert await desks.waiting() == 0


async def test_a_desk_that_should_end_while_the_log_is_full_leaves_all_in_the_outbox(
    desks: Desks,
) -> None:
    desks.obstacles.is_full = True
    await desks.accept()
    await desks.work()
    assert await desks.waiting() == 2
    assert await desks.events() == []


async def test_who_dies_between_filing_and_forgetting_has_filed_once(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await desks.accept()

    async def died(upto: int) -> int:
        raise StoreError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(desks.store.outbox, "forget", died)
        await desks.work()
    assert await desks.waiting() == 2
    second = await desks.accept()
    await desks.work()
    assert await desks.events() == both(first, second)
    assert await desks.waiting() == 0


async def test_a_log_that_is_begun_anew_has_what_the_outbox_still_holds(
    tmp_path: Path,
) -> None:
    desks = Desks(SqliteStore(tmp_path), SqliteLog(tmp_path))
    await desks.begin()
    await desks.accept()
    await desks.work()
    await desks.log.close()
    (tmp_path / "log.db").unlink()
    desks.log = SqliteLog(tmp_path)
    await desks.log.open()
    second = await desks.accept()
    await desks.work()
    assert await desks.events() == both(second)
    found = await desks.log.search(MessageQuery())
    assert [one.message.id for one in found.messages] == [second]
    await desks.end()


async def test_a_filing_that_is_not_heard_of_is_made_once_though_more_has_come(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing_desk, "_RETRY_FIRST", 0.01)
    desks.obstacles.unheard = 1
    first = await desks.accept()
    desk = await desks.open()
    running = asyncio.create_task(desk.run())
    while desks.obstacles.unheard:
        await asyncio.sleep(0.01)
    second = await desks.accept()
    desk.finish()
    await running
    if await desks.waiting():
        await desks.work()
    assert await desks.events() == both(first, second)


async def test_a_store_that_was_put_back_to_an_earlier_state_is_filed_as_new(
    desks: Desks,
) -> None:
    name, newest = await desks.store.outbox.name()
    await desks.log.file(Filing(name, newest + (1 << 40)))
    message_id = await desks.accept()
    await desks.work()
    assert await desks.events() == both(message_id)
    assert "put back to an earlier state" in desks.lines.getvalue()
    assert (await desks.store.outbox.name())[0] != name


async def test_a_report_that_comes_later_is_a_bounce_and_suppresses_whoever_comes_again(
    desks: Desks,
) -> None:
    message_id = await desks.accept()
    await desks.work()
    assert await desks.store.outbox.add(message_id, NOW + 9, DEAD, "once")
    assert not await desks.store.outbox.add(message_id, NOW + 10, DEAD, "once")
    await desks.store.outbox.add(message_id, NOW + 11, Complained(0))
    await desks.work()

    kinds = [kind for _, kind in await desks.events()]
    assert kinds == ["Send", "Delivery", "Bounce", "Complaint"]
    entry = await desks.store.suppressions.find("A@destination.test")
    assert entry is not None
    assert (entry.reason, entry.message_id) == ("complaint", message_id)
    assert await desks.waiting() == 0


async def test_a_scribe_that_dies_before_it_files_a_report_suppresses_once_and_tells_once(
    desks: Desks,
) -> None:
    message_id = await desks.accept()
    await desks.work()
    await desks.store.outbox.add(message_id, NOW + 9, DEAD, "once")
    desks.obstacles.is_full = True  # what was suppressed stays so, nothing is filed
    desk = await desks.open()
    work = asyncio.create_task(desk.run())
    await desks.obstacles.refused.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    desks.obstacles.is_full = False
    await desks.work()

    assert [kind for _, kind in await desks.events()] == ["Send", "Delivery", "Bounce"]
    entry = await desks.store.suppressions.find("a@destination.test")
    assert entry is not None
    assert entry.bounces == 1


async def test_a_report_about_a_message_that_the_log_has_not_changes_nothing_and_is_told(
    desks: Desks,
) -> None:
    unknown = "010001a0c4506c76-5b0c5f0e-8a55-4a7c-9b61-1f6f6b2f7a10-000000"
    await desks.store.outbox.add(unknown, NOW + 9, DEAD)
    await desks.work()

    assert await desks.events() == []
    assert await desks.store.suppressions.find("a@destination.test") is None
    assert desks.metrics.registry.get_sample_value("relay_returns_forgotten_total") == 1
    assert unknown in desks.lines.getvalue()


async def test_of_two_desks_the_one_that_comes_too_late_gives_up(desks: Desks) -> None:
    late = await desks.open()
    ids = [await desks.accept()]
    await desks.work()
    with pytest.raises(
        FiledElsewhere
    ):  # it finds nothing, for the other one has emptied the outbox
        await late.run()
    assert await desks.events() == both(*ids)


async def test_of_two_desks_that_have_read_the_same_one_files_it(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await desks.accept()]
    slow, read = await desks.open(), asyncio.Event()
    goes_on = asyncio.Event()
    made = slow._make

    async def make(entries: list[OutboxEntry]) -> Made:
        read.set()
        await goes_on.wait()
        return await made(entries)

    monkeypatch.setattr(slow, "_make", make)
    running = asyncio.create_task(slow.run())
    await read.wait()
    ids.append(await desks.accept())
    await desks.work()
    goes_on.set()
    with pytest.raises(FiledElsewhere):
        await running
    assert await desks.events() == both(*ids)


async def test_a_desk_whose_store_was_put_back_under_it_gives_up(desks: Desks) -> None:
    await desks.accept()
    await desks.work()
    desk = await desks.open()
    await desks.store.outbox.rename()
    with pytest.raises(FiledElsewhere):
        await desk.run()
