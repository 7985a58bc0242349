"""What happens to mail becomes events as SES has them, the same ones each time."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.bounces import Category
from relay.events.delay_types import DELAY_TYPES, DelayType, delay_type
from relay.events.making import events_of, logged_message, whole_fields
from relay.feedback.outcome import Outcome
from relay.mail.headers import Headers
from relay.mail.message_id import is_message_id
from relay.store.happenings import Attempted, Complained, Paused, Rejected, Returned
from relay.store.log_values import (
    MOST_LOGGED_HEADER,
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    LoggedMessage,
    PauseFacts,
    RejectFacts,
    SendFacts,
)
from relay.store.values import Suppressed
from tests.events.entries import (
    ACCEPTED_AT,
    EXPIRES_AT,
    HOSTNAME,
    MESSAGE_ID,
    attempted,
    delayed,
    entry,
    logged,
    new_message,
    sent,
    verdict,
)

ANN, BOB, CID = "ann@customer.example", "bob@customer.example", "cid@customer.example"


# The message as it is logged


def test_a_message_is_logged_with_what_is_known_of_it_and_without_its_body() -> None:
    message = logged_message(sent(new_message(ANN, BOB)), HOSTNAME)
    assert message.recipients == (ANN, BOB)
    assert (message.credential, message.configuration_set) == ("shop-app", "transactional")
    assert (message.client, message.tls) == ("10.0.4.7", "TLSv1.3")
    assert message.tags == (("app", "shop"),)
    assert not message.header_is_cut
    assert not message.is_simulated


def test_the_subject_is_decoded_for_people_and_stays_on_one_line() -> None:
    assert logged().subject == "Grüße from the shop"
    folded = logged(header=b"Subject: a\r\n  b =?utf-8?q?c=0D=0Ad?=\r\n")
    assert folded.subject == "a b c d"


def test_the_subject_is_found_as_the_header_has_it() -> None:
    header = b"X-Subject: no\r\nX: a\r\n subject: no\r\nSUBJECT \t: \r\n\tyes\r\nSubject: late\r\n"
    assert logged(header=header).subject == "yes"
    assert Headers.parse(header).first("subject") == "yes"


def test_a_message_without_subject_or_with_a_damaged_header_has_none() -> None:
    assert logged(header=b"To: ann@customer.example\r\n").subject == ""
    assert logged(header=b"no field at all").subject == ""


def test_a_recipient_given_twice_is_there_twice_as_others_count_by_its_place() -> None:
    assert logged(ANN, ANN).recipients == (ANN, ANN)


def test_mail_to_simulator_addresses_alone_is_simulated() -> None:
    success = "success+1@simulator.relay.example"
    assert logged(success).is_simulated
    assert logged(success, "bounce@Simulator.Relay.Example").is_simulated
    assert not logged(success, ANN).is_simulated
    assert not logged("success@simulator.other.example").is_simulated


def test_an_entry_that_tells_of_no_new_message_makes_none() -> None:
    with pytest.raises(TypeError, match="does not tell of a new message"):
        logged_message(attempted(), HOSTNAME)


fields = st.builds(
    lambda name, lines: name + b":" + b"\r\n ".join(lines) + b"\r\n",
    st.sampled_from([b"To", b"Subject", b"X-Long"]),
    st.lists(st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n")), min_size=1),
)


@given(st.lists(fields), st.integers(0, 300))
def test_a_header_is_cut_between_fields_and_not_before_it_must(
    some: list[bytes], most: int
) -> None:
    block = b"".join(some)
    kept = whole_fields(block, most)
    longest = b""
    for field in some:
        if len(longest + field) > most:
            break
        longest += field
    assert kept == longest
    assert whole_fields(block[: most + 1], most) == longest  # as the outbox has it


def test_a_long_header_is_logged_as_far_as_ses_tells_it() -> None:
    field = b"X-Filler: " + b"x" * 88 + b"\r\n"
    message = logged(header=field * 200)
    assert message.header_is_cut
    assert message.header == field * (MOST_LOGGED_HEADER // len(field))


# Accepted


def test_an_accepted_message_is_a_send_to_everybody() -> None:
    (event,) = events_of(sent(new_message(ANN, BOB)), logged(ANN, BOB), HOSTNAME)
    assert (event.type, event.recipients, event.facts) == ("Send", (ANN, BOB), SendFacts())
    assert (event.message_id, event.at) == (MESSAGE_ID, ACCEPTED_AT)


def test_who_is_on_the_list_is_sent_to_bounces_at_once_and_counts_nowhere() -> None:
    message = new_message(ANN, BOB, CID)
    listed = (Suppressed(BOB, "bounce"), Suppressed(CID, "manual"))
    send, bounce = events_of(sent(message, *listed), logged(ANN, BOB, CID), HOSTNAME)
    assert send.recipients == (ANN, BOB, CID)
    assert bounce.type == "Bounce"
    assert bounce.recipients == (BOB, CID)
    assert isinstance(bounce.facts, BounceFacts)
    assert (bounce.facts.type, bounce.facts.subtype) == ("Permanent", "OnAccountSuppressionList")
    assert bounce.facts.category == "suppressed"
    assert not bounce.facts.counts
    assert [one.status for one in bounce.facts.recipients] == ["5.1.1", "5.1.1"]


def test_who_is_on_the_list_for_a_complaint_complains_at_once_and_counts_nowhere() -> None:
    message = new_message(ANN, BOB)
    listed = (Suppressed(ANN, "complaint"), Suppressed(BOB, "bounce"))
    events = events_of(sent(message, *listed), logged(ANN, BOB), HOSTNAME)
    assert [event.type for event in events] == ["Send", "Complaint", "Bounce"]
    facts = events[1].facts
    assert events[1].recipients == (ANN,)
    assert isinstance(facts, ComplaintFacts)
    assert facts.subtype == "OnAccountSuppressionList"
    assert not facts.counts


def test_who_came_to_the_list_later_is_told_as_who_was_on_it() -> None:
    bounced = verdict(BOB, category="suppressed", rule="manual")
    complained = verdict(ANN, category="suppressed", rule="complaint")
    complaint, bounce = events_of(
        attempted(verdicts=(complained, bounced)), logged(ANN, BOB), HOSTNAME
    )
    assert (complaint.type, complaint.recipients) == ("Complaint", (ANN,))
    assert (bounce.type, bounce.recipients) == ("Bounce", (BOB,))
    for event in (complaint, bounce):
        assert isinstance(event.facts, BounceFacts | ComplaintFacts)
        assert event.facts.subtype == "OnAccountSuppressionList"
        assert not event.facts.counts


# Attempted


def test_who_has_the_message_is_told_of_in_one_delivery() -> None:
    (event,) = events_of(attempted(delivered=(ANN, BOB)), logged(ANN, BOB), HOSTNAME)
    assert (event.type, event.recipients) == ("Delivery", (ANN, BOB))
    assert isinstance(event.facts, DeliveryFacts)
    assert event.facts.processing_ms == 1_833
    assert event.facts.smtp_response == "250 2.0.0 queued as 7F3A"
    assert event.facts.way.source == "198.51.100.10"
    assert event.facts.way.remote_address == "192.0.2.25"
    assert event.facts.way.tls == "TLSv1.3"


def test_a_clock_that_was_set_back_makes_no_time_before_the_message() -> None:
    early = attempted(delivered=(ANN,), at=ACCEPTED_AT - 5_000)
    (event,) = events_of(early, logged(), HOSTNAME)
    assert isinstance(event.facts, DeliveryFacts)
    assert event.facts.processing_ms == 0


def test_a_message_that_the_log_has_lost_is_as_old_as_its_id_says() -> None:
    (event,) = events_of(attempted(delivered=(ANN,)), None, HOSTNAME)
    assert isinstance(event.facts, DeliveryFacts)
    assert event.facts.processing_ms == 1_833


def test_who_is_given_up_alike_shares_a_bounce_and_others_have_their_own() -> None:
    full = verdict(
        CID, bounce_type="Transient", bounce_subtype="MailboxFull", category="mailbox_full"
    )
    events = events_of(attempted(verdict(ANN), full, verdict(BOB)), logged(ANN, CID, BOB), HOSTNAME)
    assert [(event.type, event.recipients) for event in events] == [
        ("Bounce", (ANN, BOB)),
        ("Bounce", (CID,)),
    ]
    first, second = (event.facts for event in events)
    assert isinstance(first, BounceFacts)
    assert isinstance(second, BounceFacts)
    assert (first.type, first.subtype, first.category) == (
        "Permanent",
        "NoEmail",
        "mailbox_unknown",
    )
    assert (second.type, second.subtype) == ("Transient", "MailboxFull")
    assert first.reporting_mta == HOSTNAME
    assert first.recipients[0].diagnostic == "550 5.1.1 no such user"
    assert first.feedback_id != second.feedback_id
    assert is_message_id(first.feedback_id)


def test_hard_bounces_count_and_no_others_do() -> None:
    soft = verdict(BOB, bounce_type="Transient", bounce_subtype="General", category="policy")
    events = events_of(attempted(verdict(ANN), soft), logged(ANN, BOB), HOSTNAME)
    assert [event.facts.counts for event in events if isinstance(event.facts, BounceFacts)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("facts", [{"is_simulated": True}, {"credential": "relay"}])
def test_hard_bounces_of_simulated_mail_and_of_our_reports_do_not_count(
    facts: dict[str, object],
) -> None:
    message: LoggedMessage = replace(logged(), **facts)
    (event,) = events_of(attempted(verdict(ANN)), message, HOSTNAME)
    assert isinstance(event.facts, BounceFacts)
    assert not event.facts.counts


def test_a_simulated_recipient_beside_real_ones_does_not_count() -> None:
    box = f"bounce@simulator.{HOSTNAME}"
    for address, counts in ((box, False), (ANN, True)):
        (event,) = events_of(attempted(verdict(address)), logged(ANN, box), HOSTNAME)
        assert isinstance(event.facts, BounceFacts)
        assert event.facts.counts is counts


def test_mail_that_expired_bounces_with_ses_status_for_that() -> None:
    expired = delayed(ANN, bounced=True, category="expired")
    (event,) = events_of(attempted(expired, at=EXPIRES_AT), logged(), HOSTNAME)
    assert isinstance(event.facts, BounceFacts)
    assert (event.facts.type, event.facts.subtype) == ("Transient", "General")
    assert event.facts.recipients[0].status == "4.4.7"
    assert event.facts.recipients[0].diagnostic == (
        "554 4.4.7 Message expired: unable to deliver in 840 minutes."
        "<451 4.7.1 greylisted, try later>"
    )
    assert event.facts.recipients[0].action == "failed"


def test_mail_that_expired_over_a_reply_that_nobody_knew_is_determined_by_then() -> None:
    unknown = {"bounce_type": "Undetermined", "bounce_subtype": "Undetermined"}
    expired = delayed(ANN, bounced=True, category="expired", **unknown)
    refused = delayed(BOB, bounced=True, category="unclassified", **unknown)
    events = events_of(attempted(expired, refused), logged(ANN, BOB), HOSTNAME)
    kinds = [event.facts.type for event in events if isinstance(event.facts, BounceFacts)]
    assert kinds == ["Transient", "Undetermined"]


def test_mail_that_is_given_up_without_an_attempt_bounces_too() -> None:
    given_up = Attempted(
        at=EXPIRES_AT,
        number=0,
        verdicts=(delayed(ANN, bounced=True, category="expired", remote=""),),
        expires_at=EXPIRES_AT,
    )
    (event,) = events_of(entry(given_up), logged(), HOSTNAME)
    assert event.type == "Bounce"
    assert event.at == EXPIRES_AT


def test_who_is_tried_again_for_the_same_reason_shares_a_delay() -> None:
    full = delayed(CID, category="mailbox_full", status="", reply="452 full")
    events = events_of(
        attempted(delayed(ANN), full, delayed(BOB, category="timeout")), logged(), HOSTNAME
    )
    assert [(event.type, event.recipients) for event in events] == [
        ("DeliveryDelay", (ANN, BOB)),
        ("DeliveryDelay", (CID,)),
    ]
    first, second = (event.facts for event in events)
    assert isinstance(first, DelayFacts)
    assert isinstance(second, DelayFacts)
    assert first.delay_type == "TransientCommunicationFailure"
    assert first.expires_at == EXPIRES_AT
    assert second.delay_type == "MailboxFull"
    assert second.recipients[0].status == "4.0.0"


def test_an_attempt_may_deliver_bounce_and_delay_at_once_in_that_order() -> None:
    mixed = attempted(delayed(ANN), verdict(BOB), delivered=(CID,))
    events = events_of(mixed, logged(ANN, BOB, CID), HOSTNAME)
    assert [event.type for event in events] == ["Delivery", "Bounce", "DeliveryDelay"]


# The words for delays


@pytest.mark.parametrize("category", [*get_args(Category), "unclassified", "delivered"])
def test_every_category_has_a_word_of_ses(category: Outcome) -> None:
    assert DELAY_TYPES[category] in get_args(DelayType)
    assert delay_type(category) == DELAY_TYPES[category]


def test_no_category_has_a_word_that_is_none_any_more() -> None:
    assert set(DELAY_TYPES) == {*get_args(Category), "unclassified", "delivered"}


def test_a_category_of_another_release_is_undetermined() -> None:
    assert delay_type("eaten_by_a_grue") == "Undetermined"


# The rest


def test_a_rejected_message_is_rejected_for_everybody() -> None:
    (event,) = events_of(entry(Rejected("Bad content")), logged(ANN, BOB), HOSTNAME)
    assert (event.type, event.recipients) == ("Reject", (ANN, BOB))
    assert event.facts == RejectFacts("Bad content")


@pytest.mark.parametrize(("paused", "word"), [(True, "SendingPaused"), (False, "SendingResumed")])
def test_a_pause_is_an_event_of_no_message(paused: bool, word: str) -> None:
    told = entry(Paused("set", "bulk", paused, "12 % bounced"))
    (event,) = events_of(replace(told, message_id=""), None, HOSTNAME)
    assert (event.type, event.message_id, event.recipients) == (word, "", ())
    assert event.facts == PauseFacts("set", "bulk", "12 % bounced")


@pytest.mark.parametrize("what", [Returned(0, ANN, "failed"), Complained(0)])
def test_what_came_back_is_understood_elsewhere(what: Returned | Complained) -> None:
    with pytest.raises(TypeError, match="understood elsewhere"):
        events_of(entry(what), logged(), HOSTNAME)


# Ids


def test_an_entry_read_again_makes_the_same_events() -> None:
    told = attempted(delayed(ANN), verdict(BOB), delivered=(CID,))
    assert events_of(told, logged(), HOSTNAME) == events_of(told, logged(), HOSTNAME)


def test_events_of_one_entry_and_of_two_never_share_an_id() -> None:
    told = attempted(delayed(ANN), verdict(BOB), delivered=(CID,))
    both = [*events_of(told, None, HOSTNAME), *events_of(replace(told, id=8), None, HOSTNAME)]
    ids = {event.id for event in both}
    ids |= {event.facts.feedback_id for event in both if isinstance(event.facts, BounceFacts)}
    assert len(ids) == 8
