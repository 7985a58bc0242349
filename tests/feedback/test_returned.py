"""What comes back later, and what follows from it."""

import pytest

from relay.feedback.policy import Policies
from relay.feedback.returned import NOTHING, Understood, understand
from relay.store.attempted import Way
from relay.store.happenings import Complained, OutboxEntry, Returned
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DeliveryFacts,
    EventRecipient,
    LoggedEvent,
    LoggedMessage,
)
from tests.limits.making import make_config

ID = "010001a0c4506c76-5b0c5f0e-8a55-4a7c-9b61-1f6f6b2f7a10-000000"
AT = 1_790_000_500_000
HOST = "relay.example"
EVERYBODY = ("Ann@x.test", "bob@x.test", "cat@y.test")
WAY = Way("main", "192.0.2.1", "google", "mx.x.test", "203.0.113.9", "TLSv1.3")
POLICIES = Policies.of(make_config())
DEAD = Returned(0, "ann@x.test", "failed", "5.1.1", "550 5.1.1 User unknown", "mx.x.test")


def message(*recipients: str, **others: object) -> LoggedMessage:
    facts: dict[str, object] = {
        "id": ID,
        "accepted_at": AT - 500_000,
        "expires_at": AT,
        "reverse_path": "a@sender.test",
        "recipients": recipients or EVERYBODY,
        "credential": "app",
        "configuration_set": "main",
        "identity": "sender.test",
        "size": 100,
    }
    return LoggedMessage(**(facts | others))  # type: ignore[arg-type]


def delivered(*recipients: str) -> LoggedEvent:
    facts = DeliveryFacts(1, "250 ok", WAY)
    return LoggedEvent("d", "Delivery", ID, AT - 1, recipients or EVERYBODY, facts, 1)


def understood(
    what: Returned | Complained,
    *past: LoggedEvent,
    about: LoggedMessage | None = None,
    number: int = 9,
) -> Understood:
    entry = OutboxEntry(number, ID, AT, what)
    return understand(
        entry,
        about or message(),
        past or (delivered(),),
        policies=POLICIES,
        hostname=HOST,
    )


def test_a_report_of_a_dead_mailbox_is_a_hard_bounce_with_its_evidence() -> None:
    found = understood(DEAD)

    (event,) = found.events
    assert (event.type, event.message_id, event.at) == ("Bounce", ID, AT)
    assert event.recipients == ("Ann@x.test",)
    facts = event.facts
    assert isinstance(facts, BounceFacts)
    assert (facts.type, facts.subtype, facts.category) == (
        "Permanent",
        "NoEmail",
        "mailbox_unknown",
    )
    assert facts.recipients == (
        EventRecipient("Ann@x.test", "5.1.1", "550 5.1.1 User unknown", "failed"),
    )
    assert (facts.reporting_mta, facts.is_returned, facts.counts, facts.way) == (
        "mx.x.test",
        True,
        True,
        WAY,
    )
    (entry,) = found.suppress
    assert (entry.address, entry.reason, entry.message_id) == ("Ann@x.test", "bounce", ID)
    assert entry.evidence == "550 5.1.1 User unknown"


def test_the_same_report_is_understood_alike_and_has_the_same_ids() -> None:
    assert understood(DEAD) == understood(DEAD)
    assert understood(DEAD).events[0].id != understood(DEAD, number=10).events[0].id


@pytest.mark.parametrize(
    ("status", "diagnostic", "kind", "category"),
    [
        ("5.2.2", "552 5.2.2 Mailbox full", "Transient/MailboxFull", "mailbox_full"),
        ("5.3.4", "552 5.3.4 Message size exceeds fixed limit", "Transient/MessageTooLarge", None),
        ("5.7.1", "550 5.7.1 Message rejected as spam", "Transient/ContentRejected", "spam"),
        ("5.1.1", "", "Permanent/NoEmail", "mailbox_unknown"),
        ("4.4.7", "", "Transient/General", "expired"),
        ("5.4.4", "Host or domain name not found", "Transient/General", None),
        ("5.0.0", "something that nobody knows", "Undetermined/Undetermined", "unclassified"),
        ("", "", "Undetermined/Undetermined", "other"),
    ],
)
def test_reports_are_judged_by_the_rules_for_replies(
    status: str, diagnostic: str, kind: str, category: str | None
) -> None:
    what = Returned(0, "ann@x.test", "failed", status, diagnostic)
    facts = understood(what).events[0].facts
    assert isinstance(facts, BounceFacts)
    assert f"{facts.type}/{facts.subtype}" == kind
    assert category is None or facts.category == category
    assert facts.counts == (facts.type == "Permanent")
    assert bool(understood(what).suppress) == (facts.type == "Permanent")


def test_without_a_number_the_report_names_somebody_of_the_envelope_or_changes_nothing() -> None:
    named = Returned(None, "BOB@X.TEST", "failed", "5.1.1", "550 5.1.1 User unknown")
    assert understood(named).events[0].recipients == ("bob@x.test",)

    for address in ("victim@elsewhere.test", "", "ann@x.test.evil.test"):
        stranger = Returned(None, address, "failed", "5.1.1", "550 5.1.1 User unknown")
        assert understood(stranger) == NOTHING


def test_without_a_name_it_is_about_the_only_recipient_there_is() -> None:
    nobody = Returned(None, "", "failed", "5.1.1", "550 5.1.1 User unknown")
    assert understood(nobody, about=message("ann@x.test")).events[0].recipients == ("ann@x.test",)


def test_a_number_beyond_the_envelope_is_about_nobody() -> None:
    assert understood(Returned(3, "ann@x.test", "failed", "5.1.1")) == NOTHING


def test_who_is_forwarded_to_a_dead_mailbox_bounces_and_is_not_called_dead() -> None:
    forwarded = Returned(0, "other@z.test", "failed", "5.1.1", "550 5.1.1 User unknown")
    found = understood(forwarded)
    facts = found.events[0].facts
    assert isinstance(facts, BounceFacts)
    assert (facts.type, facts.counts) == ("Transient", False)
    assert found.events[0].recipients == ("Ann@x.test",)
    assert found.suppress == ()


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_a_report_that_nothing_has_failed_changes_nothing(action: str) -> None:
    what = Returned(0, "ann@x.test", action, "4.4.1")  # type: ignore[arg-type]
    assert understood(what) == NOTHING


def test_a_recipient_bounces_once_and_another_may_still() -> None:
    first = understood(DEAD).events[0]
    assert understood(DEAD, delivered(), first, number=10) == NOTHING
    other = Returned(1, "bob@x.test", "failed", "5.1.1", "550 5.1.1 User unknown")
    assert understood(other, delivered(), first, number=10).events[0].recipients == ("bob@x.test",)


def test_a_message_that_nobody_knows_any_more_has_no_bounces() -> None:
    entry = OutboxEntry(9, ID, AT, DEAD)
    assert understand(entry, None, (), policies=POLICIES, hostname=HOST) == NOTHING


@pytest.mark.parametrize("what", [DEAD, Complained(0)])
@pytest.mark.parametrize("others", [{"is_simulated": True}, {"credential": "relay"}])
def test_mail_of_the_simulator_and_our_own_reports_have_events_and_count_nowhere(
    what: Returned | Complained, others: dict[str, object]
) -> None:
    found = understood(what, about=message(**others))
    assert len(found.events) == 1
    assert found.events[0].facts.counts is False  # type: ignore[union-attr]
    assert found.suppress == ()


def test_a_complaint_is_told_of_the_one_whose_number_it_has_and_suppresses_that_one() -> None:
    what = Complained(2, "", "abuse", "Isp-FBL/1.0", AT - 7)
    found = understood(what)
    (event,) = found.events
    assert (event.type, event.recipients) == ("Complaint", ("cat@y.test",))
    facts = event.facts
    assert isinstance(facts, ComplaintFacts)
    assert (facts.subtype, facts.user_agent, facts.feedback_type, facts.arrived_at) == (
        None,
        "Isp-FBL/1.0",
        "abuse",
        AT - 7,
    )
    assert facts.counts
    (entry,) = found.suppress
    assert (entry.address, entry.reason) == ("cat@y.test", "complaint")


def test_a_complaint_of_nobody_in_particular_is_told_of_all_who_have_it_and_suppresses_nobody() -> (
    None
):
    found = understood(Complained(None), delivered("Ann@x.test", "bob@x.test"))
    assert found.events[0].recipients == ("Ann@x.test", "bob@x.test")
    assert found.suppress == ()

    named = understood(Complained(None, "BOB@x.test"), delivered("Ann@x.test", "bob@x.test"))
    assert named.events[0].recipients == ("bob@x.test",)


def test_who_has_a_return_path_in_common_with_others_can_have_none_of_them_suppressed() -> None:
    """All of a transaction have seen its return-path: it does not prove who bounced."""
    bounced = Returned(None, "cat@y.test", "failed", "5.1.1", "550 5.1.1 User unknown")
    for forged in (bounced, Complained(None, "cat@y.test")):
        found = understood(forged)
        assert found.events[0].recipients == ("cat@y.test",)
        assert found.suppress == ()
        alone = understood(forged, about=message("cat@y.test"))
        assert [entry.address for entry in alone.suppress] == ["cat@y.test"]


def test_a_second_complaint_of_the_same_recipient_adds_nothing() -> None:
    first = understood(Complained(0)).events[0]
    assert understood(Complained(0), delivered(), first) == NOTHING


def test_who_complains_by_name_is_heard_though_all_were_named_before() -> None:
    everybody = understood(Complained(None)).events[0]
    assert len(everybody.recipients) == 3
    assert understood(Complained(None), delivered(), everybody, number=10) == NOTHING

    found = understood(Complained(None, "bob@x.test"), delivered(), everybody, number=10)
    assert found.events[0].recipients == ("bob@x.test",)


def test_a_set_that_adds_no_complaints_has_the_event_alone() -> None:
    config = make_config(suppression={"reasons": ["bounce"]})
    entry = OutboxEntry(9, ID, AT, Complained(0))
    found = understand(
        entry, message(), (delivered(),), policies=Policies.of(config), hostname=HOST
    )
    assert len(found.events) == 1
    assert found.suppress == ()


def test_a_simulated_recipient_beside_real_ones_complains_and_is_neither_counted_nor_listed() -> (
    None
):
    box = f"complaint@simulator.{HOST}"
    about = message("ann@x.test", box)
    found = understood(Complained(None, box), delivered("ann@x.test", box), about=about)
    (event,) = found.events
    assert event.recipients == (box,)
    assert isinstance(event.facts, ComplaintFacts)
    assert not event.facts.counts
    assert found.suppress == ()
    real = understood(Complained(0, "ann@x.test"), delivered("ann@x.test", box), about=about)
    assert len(real.suppress) == 1
