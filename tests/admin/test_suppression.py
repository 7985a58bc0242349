"""What operators ask of the suppression list, and what is kept of what they change."""

import pytest

from relay.admin.control import Refused
from relay.admin.suppression import (
    LONGEST_NOTE,
    AddressesRequest,
    AddressRequest,
    BulkEnd,
    BulkRequest,
    ChangesRequest,
    SuppressRequest,
    held_for,
)
from relay.store.values import SuppressionEntry
from tests.admin.stored import NOW, a_config


def entry(address="a@one.test", **more):
    known = {"reason": "bounce", "source": "operator", "created_at": NOW}
    return SuppressionEntry(address, **(known | more))


@pytest.fixture
def config(tmp_path):
    return a_config(
        tmp_path,
        suppression={"reasons": ["complaint"]},
        configuration_sets={
            "inherits": {"pool": "main"},
            "none": {"pool": "main", "suppression": []},
            "own": {"pool": "main", "suppression": ["bounce"]},
        },
    )


@pytest.mark.parametrize(
    ("reason", "holds"),
    [
        ("bounce", {"inherits": False, "none": False, "own": True}),
        ("complaint", {"inherits": True, "none": False, "own": False}),
        ("manual", {"inherits": True, "none": False, "own": True}),
    ],
)
def test_an_entry_holds_for_the_sets_that_heed_its_reason(config, reason, holds):
    found = held_for(config, entry(reason=reason))
    assert {one.configuration_set: one.holds for one in found} == holds
    assert all(one.why for one in found)


def test_the_reasons_that_decide_are_named(config):
    whys = {one.configuration_set: one.why for one in held_for(config, entry())}
    assert whys == {
        "inherits": "the account's reasons are: complaint",
        "none": "its suppression is [], which lets all mail through",
        "own": "its own reasons are: bounce",
    }


async def test_why_has_the_entry_the_sets_and_the_last_changes(operations):
    list_ = operations.suppressions
    await list_.add(SuppressRequest((entry(note="rang up"),), by="ann"))
    found = await list_.why(AddressRequest("A@one.test"))
    assert found.in_force
    assert found.entry is not None
    assert (found.entry.note, found.entry.by) == ("rang up", "ann")
    assert [one.configuration_set for one in found.sets] == ["bills", "news"]
    assert [(change.what, change.by) for change in found.changes] == [("added", "ann")]


async def test_an_entry_that_has_expired_is_told_and_holds_for_nobody(operations):
    list_ = operations.suppressions
    await list_.add(SuppressRequest((entry(expires_at=NOW - 1),)))
    found = await list_.why(AddressRequest("a@one.test"))
    assert (found.in_force, found.sets) == (False, ())
    assert found.entry is not None
    with pytest.raises(Refused, match="is not suppressed"):
        await list_.find(AddressRequest("a@one.test"))


async def test_texts_are_bounded_and_names_are_made_printable(operations):
    list_ = operations.suppressions
    hostile = entry(note="x" * 9_999, remote_host="mx\r\n\x1b[31m", evidence="e" * 9_999)
    await list_.add(SuppressRequest((hostile,), by="ann\r\nbob" * 40))
    kept = await list_.find(AddressRequest("a@one.test"))
    assert len(kept.note) == LONGEST_NOTE
    assert len(kept.evidence) == 1_000
    assert kept.remote_host.isprintable()
    assert kept.by.isprintable()
    assert len(kept.by) <= 64


async def test_who_does_not_say_who_he_is_is_an_operator(operations):
    list_ = operations.suppressions
    await list_.add(SuppressRequest((entry(),)))
    (change,) = await list_.changes(ChangesRequest("a@one.test"))
    assert change.by == "an operator"


async def test_an_import_is_noted_from_its_beginning_to_its_end(operations):
    list_ = operations.suppressions
    bulk = (await list_.begin(BulkRequest("imported", "from list.csv", "ann"))).id
    await list_.add(SuppressRequest((entry(), entry("b@one.test")), "ann", bulk))
    (change,) = await list_.changes(ChangesRequest())
    assert (change.entries, change.ended_at) == (2, 0)
    await list_.end(BulkEnd(bulk, skipped=3))
    (change,) = await list_.changes(ChangesRequest())
    assert (change.ended_at, change.detail) == (NOW, "from list.csv; 3 lines were not taken")


async def test_bounds_are_kept(operations):
    list_ = operations.suppressions
    with pytest.raises(Refused, match="1001 entries are more than 1000"):
        await list_.remove(AddressesRequest(("a@one.test",) * 1_001))
    endless = SuppressionEntry("a@one.test", "manual", "operator", NOW, expires_at=10**18)
    with pytest.raises(Refused, match="years 1 to 9999"):
        await list_.add(SuppressRequest((endless,)))
    with pytest.raises(Refused, match="limit"):
        await list_.changes(ChangesRequest(limit=0))
