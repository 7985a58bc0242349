"""Scribes of several nodes at one store: whatever dies, everything is filed once and in order."""

import asyncio
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay.store.interface import StoreUnavailable
from relay.store.postgres import Place, PostgresStore
from relay.store.postgres.log import PostgresLog
from tests.runtime.test_filing_desk import Desks

# It tells of each place between filing and forgetting: one that is killed then leaves entries that
# are filed.
_SCRIBE = """
import asyncio, sys
from relay.runtime import filing
from relay.store.interface import StoreUnavailable
from relay.store.postgres import Place, PostgresStore
from relay.store.postgres.log import PostgresLog
from tests.runtime.test_filing_desk import Desks

class Told(list):
    def append(self, filing):
        print(filing.upto, flush=True)

async def main(place):
    desks = Desks(PostgresStore(place), PostgresLog(place))
    desks.filed = Told()
    await desks.store.open(joining=True)
    await desks.log.open()
    await (await desks.open()).run()

filing._AT_ONCE = 7
asyncio.run(main(Place(sys.argv[1])))
"""


class Nodes:
    """Two nodes that take and deliver mail, and processes that file."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.each = [Desks(PostgresStore(Place(url)), PostgresLog(Place(url))) for _ in range(2)]
        self.scribes: list[subprocess.Popen[str]] = []
        self.ids: list[str] = []

    async def accept(self, count: int) -> None:
        """So many at each, all at once."""
        self.ids += await asyncio.gather(*(node.accept() for node in self.each * count))

    def scribe(self) -> subprocess.Popen[str]:
        """Begin another one."""
        words = [sys.executable, "-c", _SCRIBE, self._url]
        scribe = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.scribes.append(scribe)
        return scribe


@pytest.fixture
async def nodes(postgres_url: str) -> AsyncIterator[Nodes]:
    made = Nodes(postgres_url)
    for number, node in enumerate(made.each):
        await node.begin(f"{number}/worker-1")
    yield made
    for scribe in made.scribes:
        scribe.kill()
        scribe.communicate()
    for node in made.each:
        await node.end()


async def _check(nodes: Nodes) -> None:
    """Nothing is lost, or filed twice, or before its cause; no number is left out."""
    log = nodes.each[0].log
    events = await log.events_after(0, 10_000)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    told = defaultdict(list)
    for event in events:
        told[event.message_id].append(event.type)
    assert told == {message_id: ["Send", "Delivery"] for message_id in nodes.ids}
    assert len({event.id for event in events}) == len(events)
    assert await nodes.each[0].waiting() == 0


async def test_scribes_that_are_killed_one_after_another_file_everything_once(
    nodes: Nodes,
) -> None:
    await nodes.accept(15)
    for filings in (1, 3, 2):
        scribe = nodes.scribe()
        assert scribe.stdout is not None
        for _ in range(filings):
            assert await asyncio.to_thread(scribe.stdout.readline)
        scribe.kill()
        await nodes.accept(5)
    await nodes.each[1].work()
    await _check(nodes)


async def test_of_scribes_that_file_at_once_all_but_one_end(nodes: Nodes) -> None:
    await nodes.accept(10)
    scribes = [nodes.scribe(), nodes.scribe()]
    ends = [asyncio.create_task(asyncio.to_thread(scribe.wait)) for scribe in scribes]
    while not any(end.done() for end in ends):
        await nodes.accept(1)
        await asyncio.wait(ends, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
    (late,) = (scribe for scribe in scribes if scribe.poll() is not None)
    assert late.stderr is not None
    assert "FiledElsewhere" in late.stderr.read()
    for scribe in scribes:
        scribe.kill()
    await asyncio.gather(*ends)
    await nodes.each[0].work()
    await _check(nodes)


async def test_what_waits_for_an_older_transaction_is_filed_once_that_has_ended(
    nodes: Nodes, postgres_url: str
) -> None:
    older = await asyncpg.connect(postgres_url)
    await older.execute("BEGIN")
    await older.fetchval("SELECT pg_current_xact_id()")
    await nodes.accept(2)
    await nodes.each[0].work()
    assert await nodes.each[0].events() == []
    await older.execute("ROLLBACK")
    await older.close()
    await nodes.each[1].work()
    await _check(nodes)


_DUMPED = f"{1 << 30}::bigint << 20"
"""The server that was before had done so many more transactions."""


async def _restore(url: str) -> None:
    """Have the database look as if it had been restored from a dump of another server: whoever
    restores writes all rows, and those of the outbox have numbers of the other one."""
    session = await asyncpg.connect(url)
    await session.execute(f"UPDATE relay.outbox SET id = id + ({_DUMPED})")
    await session.execute(f"UPDATE relay.log_filed SET upto = upto + ({_DUMPED})")
    await session.close()


async def test_what_a_restored_store_has_to_tell_is_filed_once_and_before_what_is_new(
    nodes: Nodes, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.each[0]
    await nodes.accept(1)

    async def dies(upto: int) -> int:
        raise StoreUnavailable("The relay died between filing and forgetting.")

    with monkeypatch.context() as patch:
        patch.setattr(node.store.outbox, "forget", dies)
        await node.work()
    await nodes.accept(2)
    await _restore(postgres_url)
    await nodes.accept(1)  # before the first scribe
    await node.work()
    await nodes.accept(1)
    await node.work()
    await _check(nodes)


async def test_a_store_whose_log_had_nothing_yet_is_restored_as_well(
    nodes: Nodes, postgres_url: str
) -> None:
    await nodes.accept(2)
    await _restore(postgres_url)
    await nodes.accept(1)
    for node in nodes.each:
        await node.work()
    await _check(nodes)
