"""Rolling-window permits: exact, and closed when in doubt."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.store.interface import Store
from relay.store.sqlite import SqliteStore
from relay.store.values import PermitRequest, Permits
from tests.contract.making import NOW, Kind

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
START = NOW - NOW % MINUTE


def wish(need: int = 1, **fields: object) -> PermitRequest:
    known: dict[str, object] = {
        "key": "k",
        "limit": 10,
        "window": DAY,
        "need": need,
        "block": 1,
        "now": START,
    }
    return PermitRequest(**(known | fields))  # type: ignore[arg-type]


async def test_permits_are_granted_until_the_limit(store: Store) -> None:
    for _ in range(10):
        assert await store.lease_permits(wish()) == Permits(1, START)
    refused = await store.lease_permits(wish())
    assert refused == Permits(0, START + MINUTE + DAY)


async def test_one_free_permit_lets_the_whole_need_through(store: Store) -> None:
    await store.lease_permits(wish(9))
    assert await store.lease_permits(wish(5)) == Permits(5, START)
    assert (await store.permits_used(["k"], DAY, START)) == {"k": 14}
    assert (await store.lease_permits(wish())).granted == 0


async def test_a_block_is_granted_as_far_as_it_is_free(store: Store) -> None:
    assert (await store.lease_permits(wish(block=8))).granted == 8
    assert (await store.lease_permits(wish(block=8))).granted == 2


async def test_a_permit_frees_when_the_end_of_its_minute_has_left_the_window(
    store: Store,
) -> None:
    await store.lease_permits(wish(10, now=START + 1))
    for now in (START + DAY, START + DAY + MINUTE - 1):
        assert (await store.lease_permits(wish(now=now))).granted == 0
    assert (await store.lease_permits(wish(now=START + DAY + MINUTE))).granted == 1


async def test_a_queued_wish_is_charged_when_a_permit_frees(store: Store) -> None:
    await store.lease_permits(wish(6))
    await store.lease_permits(wish(4, now=START + 10 * MINUTE))
    first = START + MINUTE + DAY
    for _ in range(6):
        assert await store.lease_permits(wish(queue=True)) == Permits(1, first)
    second = START + 11 * MINUTE + DAY
    assert await store.lease_permits(wish(queue=True)) == Permits(1, second)


async def test_returned_permits_are_free_again(store: Store) -> None:
    granted = await store.lease_permits(wish(block=10))
    await store.return_permits("k", granted.at, 4)
    assert (await store.permits_used(["k", "other"], DAY, START)) == {"k": 6, "other": 0}


async def test_more_is_never_returned_than_was_used(store: Store) -> None:
    await store.lease_permits(wish(2))
    await store.return_permits("k", START, 50)
    await store.return_permits("k", START, -50)
    assert (await store.permits_used(["k"], DAY, START)) == {"k": 0}


async def test_a_clock_that_goes_back_frees_nothing(store: Store) -> None:
    await store.lease_permits(wish(10))
    for back in (1, MINUTE, DAY, 3 * DAY):
        assert (await store.lease_permits(wish(now=START - back))).granted == 0


async def test_a_clock_that_leaps_ahead_and_comes_back_frees_nothing(store: Store) -> None:
    await store.lease_permits(wish(10))
    assert (await store.lease_permits(wish(now=START + 3 * DAY))).granted == 1
    assert (await store.lease_permits(wish())).granted == 0


async def test_a_limit_of_nothing_grants_nothing(store: Store) -> None:
    assert (await store.lease_permits(wish(limit=0, queue=True))).granted == 0
    assert (await store.permits_used(["k"], DAY, START)) == {"k": 0}


async def test_what_was_used_outlives_a_restart(kind: Kind) -> None:
    first = await kind.open()
    await first.lease_permits(wish(10))
    await first.close()
    second = await kind.open()
    assert (await second.lease_permits(wish())).granted == 0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 200_000),  # ms until the wish
            st.integers(1, 4),  # need
            st.booleans(),  # queue
        ),
        min_size=1,
        max_size=40,
    )
)
async def test_no_window_holds_more_than_the_limit_and_one_overdraft(
    wishes: list[tuple[int, int, bool]],
) -> None:
    window, limit = 10 * MINUTE, 7
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory))
        await store.open()
        uses: list[tuple[int, int]] = []
        now = START
        for wait, need, queue in wishes:
            now += wait
            answer = await store.lease_permits(
                wish(need, limit=limit, window=window, now=now, queue=queue)
            )
            assert answer.at >= now
            assert answer.granted == need or (answer.granted == 0 and not queue)
            if answer.granted:
                uses.append((answer.at, answer.granted))
        await store.close()
    for end, _ in uses:
        inside = sum(count for at, count in uses if end - window < at <= end)
        assert inside <= limit + 3
