"""Lists that several nodes change at the same moment: nothing is lost, counted twice or let by."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay.store.postgres import Place, PostgresStore, suspensions
from relay.store.postgres.permits import as_asked
from relay.store.tls_values import TlsOutcome, TlsTally
from relay.store.values import (
    PermitRequest,
    QueueFilter,
    SuppressionEntry,
    Suspension,
    UnclassifiedReply,
    WarmupProgress,
)
from tests.contract.making import AUTHOR, LEASE, NOW, make_new
from tests.postgres import PostgresServer

DAY = 86_400_000
_SOMEBODY_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
ODD = "nul \0 and half \ud83d a pair"


@pytest.fixture
async def stores(
    postgres_server: PostgresServer, postgres_url: str
) -> AsyncIterator[list[PostgresStore]]:
    """Of four nodes, none of which has to give way to another in the end."""
    before = postgres_server.told().count("deadlock detected")
    opened = [PostgresStore(Place(postgres_url), permit_clock=as_asked) for _ in range(4)]
    for store in opened:
        await store.open()
    yield opened
    for store in opened:
        await store.close()
    assert postgres_server.told().count("deadlock detected") == before


def bounce(address: str, at: int = NOW, **fields: object) -> SuppressionEntry:
    known: dict[str, object] = {"reason": "bounce", "source": "bounce", "created_at": at}
    return SuppressionEntry(address, **(known | fields))  # type: ignore[arg-type]


async def test_nodes_that_lease_at_once_never_have_more_than_the_limit(
    stores: list[PostgresStore],
) -> None:
    request = PermitRequest("k", 50, DAY, 1, 7, NOW)
    answers = await asyncio.gather(
        *(store.lease_permits(request) for _ in range(5) for store in stores)
    )
    assert sum(answer.granted for answer in answers) == 50
    assert await stores[0].permits_used(["k"], DAY, NOW) == {"k": 50}
    await asyncio.gather(*(store.return_permits("k", NOW, 5) for store in stores))
    assert await stores[0].permits_used(["k"], DAY, NOW) == {"k": 30}


async def test_permits_go_by_the_clock_of_the_server_not_by_that_of_a_node(
    postgres_url: str,
) -> None:
    store = PostgresStore(Place(postgres_url))
    await store.open()
    now = await store.fleet.clock()
    for wrong in (0, NOW * 2):
        leased = await store.lease_permits(PermitRequest("k", 2, DAY, 1, 1, wrong))
        assert leased.granted == 1
        assert now <= leased.at <= await store.fleet.clock()
    assert (await store.lease_permits(PermitRequest("k", 2, DAY, 1, 1, NOW * 2))).granted == 0
    assert await store.permits_used(["k"], DAY, 0) == {"k": 2}
    await store.close()


async def test_what_many_nodes_observe_of_one_address_is_counted_once_each(
    stores: list[PostgresStore],
) -> None:
    seen = [bounce("A@x.test", NOW + n, expires_at=NOW + n + DAY) for n in range(4)]
    others = [[bounce(f"{k}@x.test", NOW + n) for k in "bcdef"] for n in range(4)]
    await asyncio.gather(
        *(
            store.suppressions.add_observed([one, *(more if n % 2 else reversed(more))])
            for n, (store, one, more) in enumerate(zip(stores, seen, others, strict=True))
        )
    )
    assert await stores[0].suppressions.count() == 6
    found = await stores[0].suppressions.find("a@x.test")
    assert found is not None
    # Those that came in out of order are told of again, as a process that was killed tells.
    assert found.expires_at == NOW + 3 + DAY
    assert 1 <= found.bounces <= 4
    told = await stores[0].suppressions.changes("a@x.test", 10)
    assert [change.what for change in told].count("added") == 1
    assert len(told) == found.bounces


async def test_lists_that_nodes_import_and_delete_at_once_are_counted_right(
    stores: list[PostgresStore],
) -> None:
    entries = [bounce(f"{number:03}@x.test") for number in range(300)]
    added = await asyncio.gather(
        *(
            store.suppressions.put(entries if n % 2 else entries[::-1], AUTHOR)
            for n, store in enumerate(stores)
        )
    )
    assert sum(added) == 300
    assert await stores[0].suppressions.count() == 300
    addresses = [entry.address for entry in entries]
    gone = await asyncio.gather(
        *(
            store.suppressions.remove(addresses if n % 2 else addresses[::-1], AUTHOR)
            for n, store in enumerate(stores)
        )
    )
    assert sum(gone) == 300
    assert await stores[0].suppressions.count() == 0


async def test_no_mail_is_left_set_aside_for_an_order_that_is_lifted_meanwhile(
    stores: list[PostgresStore], postgres_url: str
) -> None:
    one, two, *_ = stores
    owner = await one.register("one", LEASE)
    await two.suspensions.put(Suspension("domain", "x.test", "", "root", NOW))
    (delivery,) = (await one.insert(make_new("a@x.test"), owner)).deliveries

    async def lift() -> int:
        await two.suspensions.lift("domain", "x.test")
        return await two.suspensions.free(100)

    slow = await Place(postgres_url).connect()
    async with slow.transaction():
        await suspensions.set_aside(slow, [(owner, [(delivery.id, "domain:x.test")])])
        lifting = asyncio.create_task(lift())
        while not lifting.done() and not await slow.fetchval(_SOMEBODY_WAITS):
            await asyncio.sleep(0)
    assert await lifting == 1
    assert await two.queue(QueueFilter(state="suspended")) == []
    await slow.close()


async def test_one_of_those_who_turn_the_day_of_a_warm_up_does(
    stores: list[PostgresStore],
) -> None:
    first = WarmupProgress("192.0.2.1", 1, NOW, NOW)
    assert sum(await asyncio.gather(*(s.warmups.replace(None, first) for s in stores))) == 1
    second = WarmupProgress("192.0.2.1", 2, NOW, NOW)
    assert sum(await asyncio.gather(*(s.warmups.replace(first, second) for s in stores))) == 1
    assert await stores[0].warmups.all() == [second]


async def test_what_nodes_count_of_tls_adds_up_and_stays_within_its_rows(
    stores: list[PostgresStore],
) -> None:
    outcomes = [TlsOutcome(f"{n}.test", "sts", "x.test", ("version: STSv1",)) for n in range(30)]
    tallies = [TlsTally(outcome, 2) for outcome in outcomes]
    lost = await asyncio.gather(
        *(store.tls_tallies.add(7, tallies[::step], 20) for store, step in zip(
            stores, (1, -1, 1, -1), strict=True
        ))
    )  # fmt: skip
    days = await stores[0].tls_tallies.days("", 100)
    assert len(days) == 20
    assert sum(day.successes for day in days) + sum(lost) == 4 * 60


async def test_nodes_gather_unknown_replies_in_the_same_rows(stores: list[PostgresStore]) -> None:
    async def gather(store: PostgresStore, number: int) -> None:
        for time in range(5):
            at = NOW + (time * 7 + number) % 5
            replies = [
                UnclassifiedReply(f"550 {n:03}", "rcpt", "", 1, at + n % 3, at + n % 3, "550")
                for n in range(number * 20, number * 20 + 50)
            ]
            await store.unclassified.add(replies, 40)

    await asyncio.gather(*(gather(store, number) for number, store in enumerate(stores)))
    assert len(await stores[0].unclassified.all(100)) == 40


async def test_text_of_peers_that_the_database_cannot_hold_is_made_harmless(
    stores: list[PostgresStore],
) -> None:
    store, *_ = stores
    await store.suppressions.add_observed([bounce("a@x.test", evidence=ODD, remote_host=ODD)])
    found = await store.suppressions.find("a@x.test")
    assert found is not None
    assert found.evidence == found.remote_host == "nul \ufffd and half ? a pair"
    await store.unclassified.add([UnclassifiedReply(ODD, "rcpt", "", 1, NOW, NOW, ODD)], 10)
    assert len(await store.unclassified.all(10)) == 1
    await store.suspensions.put(Suspension("domain", "x.test", ODD, ODD, NOW))
    assert len(await store.suspensions.all()) == 1
