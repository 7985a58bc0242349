"""The suppression list."""

from relay.store.interface import Store
from relay.store.values import SuppressionEntry
from tests.contract.making import NOW


def entry(address: str, **fields: object) -> SuppressionEntry:
    known: dict[str, object] = {"reason": "manual", "source": "cli", "created_at": NOW}
    return SuppressionEntry(address, **(known | fields))  # type: ignore[arg-type]


async def test_matching_ignores_case_and_keeps_the_spelling(store: Store) -> None:
    await store.suppress([entry("John.Doe@X.test", evidence="told us")])
    found = await store.suppression("john.doe@x.TEST", NOW)
    assert found == entry("John.Doe@X.test", evidence="told us")


async def test_an_entry_ends_when_it_expires(store: Store) -> None:
    await store.suppress([entry("a@x.test", expires_at=NOW + 1)])
    assert await store.suppression("a@x.test", NOW) is not None
    assert await store.suppression("a@x.test", NOW + 1) is None


async def test_adding_counts_what_is_new_and_replaces_what_is_not(store: Store) -> None:
    assert await store.suppress([entry("a@x.test"), entry("b@x.test")]) == 2
    assert await store.suppress([entry("B@x.test", reason="complaint"), entry("c@x.test")]) == 1
    found = await store.suppression("b@x.test", NOW)
    assert found is not None
    assert (found.address, found.reason) == ("B@x.test", "complaint")
    assert await store.count_suppressions() == 3


async def test_the_last_of_two_spellings_in_one_import_wins(store: Store) -> None:
    assert await store.suppress([entry("a@x.test"), entry("A@x.test")]) == 1
    found = await store.suppression("a@x.test", NOW)
    assert found is not None
    assert found.address == "A@x.test"


async def test_removing_counts_what_was_there(store: Store) -> None:
    await store.suppress([entry("a@x.test"), entry("b@x.test")])
    assert await store.unsuppress(["A@x.test", "missing@x.test"]) == 1
    assert await store.suppression("a@x.test", NOW) is None


async def test_a_long_list_comes_in_order_of_address(store: Store) -> None:
    addresses = [f"{number:05}@x.test" for number in range(2_500)]
    assert await store.suppress([entry(address) for address in reversed(addresses)]) == 2_500
    assert [found.address async for found in store.suppressions()] == addresses


async def test_an_empty_list_is_empty(store: Store) -> None:
    assert [found async for found in store.suppressions()] == []
    assert await store.suppress([]) == 0
    assert await store.unsuppress([]) == 0
