"""The suppression list, and the log of what changed it."""

from relay.store.interface import Store
from relay.store.suppression_values import Author, SuppressionCount
from relay.store.values import SuppressionEntry
from tests.contract.making import AUTHOR, NOW, make_new

DAY = 86_400_000


def entry(address: str, **fields: object) -> SuppressionEntry:
    known: dict[str, object] = {"reason": "manual", "source": "operator", "created_at": NOW}
    return SuppressionEntry(address, **(known | fields))  # type: ignore[arg-type]


def bounce(address: str, at: int = NOW, **fields: object) -> SuppressionEntry:
    return entry(address, **({"reason": "bounce", "source": "bounce", "created_at": at} | fields))


async def put(store: Store, *entries: SuppressionEntry) -> int:
    return await store.suppressions.put(entries, AUTHOR)


async def logged(store: Store, address: str = "") -> list[tuple[str, str, str]]:
    """Newest first: what, of which address, by whom."""
    found = await store.suppressions.changes(address, 100)
    return [(change.what, change.address, change.by) for change in found]


async def test_matching_ignores_case_and_keeps_the_spelling(store: Store) -> None:
    known = entry("John.Doe@X.test", evidence="told us", note="by telephone", by="ann", bounces=3)
    await put(store, known)
    assert await store.suppressions.find("john.doe@x.TEST") == known


async def test_adding_counts_what_is_new_and_replaces_what_is_not(store: Store) -> None:
    assert await put(store, entry("a@x.test"), entry("b@x.test")) == 2
    assert await put(store, entry("B@x.test", reason="complaint"), entry("c@x.test")) == 1
    found = await store.suppressions.find("b@x.test")
    assert found is not None
    assert (found.address, found.reason) == ("B@x.test", "complaint")
    assert await store.suppressions.count() == 3


async def test_the_last_of_two_spellings_in_one_import_wins(store: Store) -> None:
    assert await put(store, entry("a@x.test"), entry("A@x.test")) == 1
    found = await store.suppressions.find("a@x.test")
    assert found is not None
    assert found.address == "A@x.test"
    assert await store.suppressions.count() == 1


async def test_removing_counts_what_was_there(store: Store) -> None:
    await put(store, entry("a@x.test"), entry("b@x.test"))
    assert await store.suppressions.remove(["A@x.test", "missing@x.test"], AUTHOR) == 1
    assert await store.suppressions.find("a@x.test") is None
    assert await store.suppressions.count() == 1


async def test_a_long_list_comes_in_order_of_address(store: Store) -> None:
    addresses = [f"{number:05}@x.test" for number in range(2_500)]
    assert await put(store, *(entry(address) for address in reversed(addresses))) == 2_500
    assert [found.address async for found in store.suppressions.all()] == addresses


async def test_an_empty_list_is_empty(store: Store) -> None:
    assert [found async for found in store.suppressions.all()] == []
    assert await put(store) == 0
    assert await store.suppressions.remove([], AUTHOR) == 0
    assert await store.suppressions.tally(NOW) == []


async def test_entries_are_counted_by_reason_and_source(store: Store) -> None:
    await put(store, entry("a@x.test"), bounce("b@x.test"), bounce("c@x.test", expires_at=NOW))
    assert await store.suppressions.tally(NOW) == [
        SuppressionCount("bounce", "bounce", 2, 1),
        SuppressionCount("manual", "operator", 1, 0),
    ]


async def test_a_bounce_that_comes_again_lasts_twice_as_long(store: Store) -> None:
    lasting = {"lasts_at_most": 14 * DAY}
    for at, ends in ((NOW, 1), (NOW + 2 * DAY, 4), (NOW + 5 * DAY, 9)):
        seen = bounce("a@x.test", at, expires_at=at + DAY, message_id=str(at), **lasting)
        await store.suppressions.add_observed([seen])
        found = await store.suppressions.find("a@x.test")
        assert found is not None
        assert found.expires_at == NOW + ends * DAY
    assert found.bounces == 3


async def test_what_is_told_twice_counts_once(store: Store) -> None:
    seen = bounce("a@x.test", expires_at=NOW + DAY, lasts_at_most=14 * DAY, message_id="m")
    await store.suppressions.add_observed([seen])
    once = await store.suppressions.find("a@x.test")
    await store.suppressions.add_observed([seen])
    assert await store.suppressions.find("a@x.test") == once
    assert await logged(store) == [("added", "a@x.test", "")]


async def test_a_complaint_takes_the_place_of_a_bounce_and_not_the_reverse(store: Store) -> None:
    complaint = entry("a@x.test", reason="complaint", source="complaint", created_at=NOW + 1)
    await store.suppressions.add_observed([bounce("a@x.test", expires_at=NOW + DAY)])
    await store.suppressions.add_observed([complaint])
    await store.suppressions.add_observed([bounce("a@x.test", NOW + 2, expires_at=NOW + DAY)])
    found = await store.suppressions.find("a@x.test")
    assert found is not None
    assert (found.reason, found.expires_at) == ("complaint", None)
    assert [what for what, _, _ in await logged(store)] == ["replaced", "added"]


async def test_an_operators_entry_that_has_expired_gives_way(store: Store) -> None:
    await put(store, entry("a@x.test", expires_at=NOW + 1))
    await store.suppressions.add_observed([bounce("a@x.test", NOW + 2)])
    found = await store.suppressions.find("a@x.test")
    assert found is not None
    assert (found.reason, found.expires_at, found.created_at) == ("bounce", None, NOW + 2)


async def test_each_change_is_logged_with_who_made_it(store: Store) -> None:
    await put(store, entry("A@x.test", note="asked for it"))
    await put(store, entry("a@x.test"), entry("b@x.test"))
    await store.suppressions.remove(["a@X.test", "missing@x.test"], Author("bob", NOW + 1))
    assert await logged(store, "A@X.test") == [
        ("removed", "a@x.test", "bob"),
        ("replaced", "a@x.test", "tester"),
        ("added", "A@x.test", "tester"),
    ]
    assert len(await logged(store)) == 4
    (*_, first) = await store.suppressions.changes("a@x.test", 10)
    assert (first.at, first.reason, first.detail) == (NOW, "manual", "asked for it")


async def test_an_import_is_one_line_of_the_log_that_grows_with_it(store: Store) -> None:
    await put(store, entry("a1@x.test"))
    bulk = await store.suppressions.begin("imported", "from list.csv", Author("ann", NOW))
    author = Author("ann", NOW, bulk)
    for start in (0, 600, 1_200):
        some = [entry(f"a{number}@x.test") for number in range(start, start + 600)]
        await store.suppressions.put(some, author)
    (change, _) = await store.suppressions.changes("", 10)
    assert (change.what, change.by, change.address) == ("imported", "ann", "")
    assert (change.entries, change.changed, change.ended_at) == (1_800, 1_799, 0)
    await store.suppressions.end(bulk, NOW + 5, "2 lines were not taken")
    (change, _) = await store.suppressions.changes("", 10)
    assert (change.ended_at, change.detail) == (NOW + 5, "from list.csv; 2 lines were not taken")


async def test_a_deletion_in_bulk_is_one_line_too(store: Store) -> None:
    await put(store, entry("a@x.test"), entry("b@x.test"))
    bulk = await store.suppressions.begin("deleted", "from gone.csv", Author("ann", NOW))
    gone = await store.suppressions.remove(["A@x.test", "no@x.test"], Author("ann", NOW, bulk))
    assert (gone, await store.suppressions.count()) == (1, 1)
    (change, *_) = await store.suppressions.changes("", 10)
    assert (change.what, change.entries, change.changed) == ("deleted", 2, 1)


async def test_what_expired_long_ago_is_forgotten_in_small_steps(store: Store) -> None:
    await put(store, *(entry(f"a{n}@x.test", expires_at=NOW + n) for n in range(5)))
    await put(store, entry("b@x.test"))
    assert await store.suppressions.prune(NOW + 4, 3) == 3
    assert await store.suppressions.prune(NOW + 4, 3) == 1
    assert await store.suppressions.prune(NOW + 4, 3) == 0
    assert [found.address async for found in store.suppressions.all()] == ["a4@x.test", "b@x.test"]
    assert await store.suppressions.count() == 2


async def test_the_log_is_bounded_in_age_and_number(store: Store) -> None:
    for number in range(6):
        await store.suppressions.put([entry(f"a{number}@x.test")], Author("ann", NOW + number))
    assert await store.suppressions.prune_changes(NOW + 2, 100, 50) == 2
    assert await store.suppressions.prune_changes(0, 3, 50) == 1
    assert await store.suppressions.prune_changes(0, 3, 50) == 0
    left = [change.address for change in await store.suppressions.changes("", 10)]
    assert left == ["a5@x.test", "a4@x.test", "a3@x.test"]


async def test_an_address_that_is_removed_is_sent_to_again(store: Store) -> None:
    await put(store, entry("a@x.test"))
    held = await store.insert(make_new("a@x.test", suppression=["manual"]), None)
    await store.suppressions.remove(["a@x.test"], AUTHOR)
    sent = await store.insert(make_new("a@x.test", suppression=["manual"]), None)
    assert (len(held.deliveries), len(sent.deliveries)) == (0, 1)


async def test_reasons_are_told_of_those_keys_that_are_on_the_list(store: Store) -> None:
    await put(store, entry("A@x.test", reason="complaint"), entry("b@x.test", expires_at=NOW + DAY))
    found = await store.suppressions.reasons(("a@x.test", "b@x.test", "missing@x.test"))
    assert found == {"a@x.test": ("complaint", None), "b@x.test": ("manual", NOW + DAY)}
    assert await store.suppressions.reasons(()) == {}
    many = tuple(f"r{number}@x.test" for number in range(3_000))  # more than a statement takes
    assert await store.suppressions.reasons((*many, "a@x.test")) == {
        "a@x.test": ("complaint", None)
    }
