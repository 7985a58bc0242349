"""What counts of what happened, and where."""

from dataclasses import replace

import pytest

from relay.feedback.tallying import Tallies
from relay.store.attempted import Way
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    EventFacts,
    LoggedEvent,
    LoggedMessage,
    SendFacts,
    Tally,
)

NOW = 1_800_000_000_000
HOUR = NOW // 3_600_000
WAY = Way("main", "192.0.2.1", "google")
MESSAGE = LoggedMessage(
    "m", NOW, NOW, "a@sender.test", ("a@x.test",), "app", "news", "sender.test", 100
)
DELIVERED = DeliveryFacts(5, "250 ok", WAY)
HARD = BounceFacts("Permanent", "NoEmail", (), "f", counts=True, way=WAY)
SOFT = BounceFacts("Transient", "General", (), "f", way=WAY)


def tallies(
    facts: EventFacts, *recipients: str, message: LoggedMessage = MESSAGE, own: str = "own.test"
) -> dict[str, Tally]:
    event = LoggedEvent("e", "Delivery", "m", NOW, recipients or ("a@x.test",), facts)
    counted = Tallies({own})
    counted.add(event, message)
    return {tally.dimension: tally for tally in counted.sums()}


def test_what_happens_in_one_hour_adds_up_whatever_the_way() -> None:
    counted = Tallies(())
    for number, way in enumerate((WAY, replace(WAY, source="192.0.2.2"), WAY)):
        facts = replace(DELIVERED, way=way)
        at = NOW + number * 1_800_000
        counted.add(LoggedEvent("e", "Delivery", "m", at, ("a@x.test",), facts), MESSAGE)
    sums = {(tally.dimension, tally.hour): tally.sent for tally in counted.sums()}
    assert sums["account", HOUR] == 2
    assert sums["account", HOUR + 1] == 1
    assert sums["source:192.0.2.2", HOUR] == 1


def test_a_delivery_counts_in_every_dimension_in_its_hour() -> None:
    found = tallies(DELIVERED, "a@x.test", "b@x.test")
    assert list(found) == [
        "account", "set:news", "credential:app", "identity:sender.test", "pool:main",
        "source:192.0.2.1", "provider:google",
    ]  # fmt: skip
    assert {(t.hour, t.sent, t.bounced, t.complained) for t in found.values()} == {(HOUR, 2, 0, 0)}


def test_a_hard_bounce_counts_as_sent_and_bounced_a_soft_one_as_sent() -> None:
    assert tallies(HARD)["account"] == Tally("account", HOUR, 1, 1, 0)
    assert tallies(SOFT)["account"] == Tally("account", HOUR, 1, 0, 0)


def test_a_bounce_that_comes_later_does_not_count_the_recipient_again() -> None:
    assert tallies(replace(HARD, is_returned=True))["account"] == Tally("account", HOUR, 0, 1, 0)
    assert tallies(replace(SOFT, is_returned=True)) == {}


def test_a_complaint_counts_as_one_and_as_no_recipient() -> None:
    assert tallies(ComplaintFacts("f"))["account"] == Tally("account", HOUR, 0, 0, 1)
    assert tallies(ComplaintFacts("f", counts=False)) == {}


def test_a_complaint_that_names_all_who_have_the_message_counts_as_one() -> None:
    everybody = [f"{name}@x.test" for name in "abcd"]
    assert tallies(ComplaintFacts("f"), *everybody)["account"].complained == 1
    assert tallies(ComplaintFacts("f"), "a@own.test", "b@own.test") == {}


@pytest.mark.parametrize("facts", [SendFacts(), DelayFacts("General", (), NOW)])
def test_what_has_no_outcome_yet_does_not_count(facts: EventFacts) -> None:
    assert tallies(facts) == {}


def test_what_is_suppressed_does_not_count() -> None:
    assert tallies(replace(HARD, subtype="OnAccountSuppressionList")) == {}
    assert tallies(ComplaintFacts("f", "OnAccountSuppressionList")) == {}


def test_mail_of_the_simulator_and_reports_of_the_relay_do_not_count() -> None:
    assert tallies(HARD, message=replace(MESSAGE, is_simulated=True)) == {}
    assert tallies(HARD, message=replace(MESSAGE, credential="relay")) == {}


def test_recipients_at_domains_of_our_own_do_not_count() -> None:
    assert tallies(DELIVERED, "a@own.test") == {}
    assert tallies(DELIVERED, "a@own.test", "b@x.test")["account"].sent == 1
