"""Queued mail whose recipients came to the suppression list. Pure."""

from collections.abc import Callable

import pytest

from relay.events.making import SUPPRESSED
from relay.feedback.listed import listed, settle_listed
from relay.store.values import Delivery
from tests.feedback.conftest import NOW

Make = Callable[..., Delivery]
ALL = ("bounce", "complaint", "manual")


def test_who_is_on_the_list_by_any_spelling_is_over_and_the_others_remain(
    make_delivery: Make,
) -> None:
    delivery = make_delivery("Bob@Example.org", "cid@example.org", attempts=2)
    results = listed(delivery, {"bob@example.org": ("bounce", None)}, ALL, NOW)
    assert [result.recipient.address for result in results] == ["Bob@Example.org"]
    settlement = settle_listed(delivery, results, NOW)
    assert [one.address for one in settlement.remaining] == ["cid@example.org"]
    assert not settlement.attempted
    assert settlement.due_at == NOW
    assert not settlement.reports  # the sender knows the list, as who is on it at acceptance
    assert settlement.happened is not None
    (verdict,) = settlement.happened.verdicts
    assert verdict.bounced
    assert (verdict.bounce_type, verdict.bounce_subtype) == (
        "Permanent",
        "OnAccountSuppressionList",
    )
    assert (verdict.category, verdict.rule) == (SUPPRESSED, "bounce")


@pytest.mark.parametrize(
    ("expires_at", "is_over"), [(NOW - 1, False), (NOW, False), (NOW + 1, True), (None, True)]
)
def test_an_entry_holds_until_it_expires(
    make_delivery: Make, expires_at: int | None, is_over: bool
) -> None:
    delivery = make_delivery("bob@example.org")
    results = listed(delivery, {"bob@example.org": ("manual", expires_at)}, ALL, NOW)
    assert bool(results) is is_over


def test_a_reason_that_the_set_does_not_heed_keeps_nothing_back(make_delivery: Make) -> None:
    delivery = make_delivery("bob@example.org")
    assert not listed(delivery, {"bob@example.org": ("complaint", None)}, ("bounce",), NOW)
