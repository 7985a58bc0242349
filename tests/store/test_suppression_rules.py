"""What becomes of an entry of the suppression list when something is observed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.store.suppression_rules import observe
from relay.store.values import SuppressionEntry

NOW = 1_800_000_000_000
DAY = 86_400_000


def seen(reason="bounce", at=NOW, **more):
    return SuppressionEntry("a@x.test", reason, reason, at, seen_at=at, **more)


def after(*observations):
    """What stands on the list after all of them."""
    known = None
    for one in observations:
        changed = observe(known, one)
        known = known if changed is None else changed[0]
    return known


def test_a_bounce_of_an_address_that_is_unknown_is_added():
    assert observe(None, seen()) == (replace(seen(), bounces=1), "added")


def test_an_entry_in_force_that_is_observed_again_keeps_its_beginning_and_note():
    known = replace(seen(), note="rang up", bounces=1)
    entry, what = observe(known, seen(at=NOW + 5, evidence="550 again"))
    assert what == "renewed"
    assert (entry.created_at, entry.seen_at, entry.note) == (NOW, NOW + 5, "rang up")
    assert (entry.evidence, entry.bounces) == ("550 again", 2)


def test_an_entry_that_has_expired_begins_anew_and_keeps_its_count():
    known = replace(seen(expires_at=NOW + DAY), bounces=4)
    entry, what = observe(known, seen(at=NOW + DAY))
    assert what == "added"
    assert (entry.created_at, entry.bounces) == (NOW + DAY, 5)


def test_an_entry_without_an_end_is_not_given_one():
    entry, _ = observe(seen(), seen(at=NOW + 1, expires_at=NOW + DAY, lasts_at_most=DAY))
    assert entry.expires_at is None


@pytest.mark.parametrize(
    ("known", "new", "changes"),
    [
        ("bounce", "complaint", True),
        ("complaint", "bounce", False),
        ("manual", "bounce", False),
        ("manual", "complaint", False),
        ("complaint", "complaint", True),
    ],
)
def test_what_is_weaker_changes_nothing(known, new, changes):
    assert (observe(seen(known), seen(new, at=NOW + 1)) is not None) == changes


@pytest.mark.parametrize("at", [NOW, NOW - 1])
def test_what_was_counted_already_is_not_counted_again(at):
    assert observe(seen(), seen(at=at)) is None


def test_a_complaint_that_was_heard_before_the_last_bounce_counts():
    assert after(seen(), seen("complaint", at=NOW - 5)).reason == "complaint"


@given(st.lists(st.integers(1, 100 * DAY), min_size=1, max_size=60))
def test_an_end_grows_with_bounces_up_to_its_most_and_is_never_nearer_than_the_first(waits):
    at, known = NOW, None
    for wait in waits:
        at += wait
        observation = seen(at=at, expires_at=at + DAY, lasts_at_most=14 * DAY)
        known = observe(known, observation)[0]
        assert at + DAY <= known.expires_at
        assert known.expires_at <= at + 14 * DAY
    assert known.bounces == len(waits)
    if len(waits) > 4:
        assert known.expires_at == at + 14 * DAY


@given(
    st.lists(st.tuples(st.sampled_from(["bounce", "complaint"]), st.integers(0, 9)), max_size=12)
)
def test_telling_the_end_of_a_history_twice_changes_nothing(history):
    told = [seen(reason, at=NOW + at) for reason, at in sorted(history, key=lambda h: h[1])]
    assert after(*told, *told[-3:]) == after(*told)
