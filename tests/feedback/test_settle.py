"""From results to settlements: nobody is lost, nobody waits for ever, dead addresses are listed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.outcome import Kind, RecipientResult
from relay.feedback.policy import Policies
from relay.feedback.settle import (
    conclude,
    expire,
    postpone,
    result_for,
    results_for_all,
    settle,
    settle_delivered,
)
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply

NOW = 1_800_000_000_000
HOUR = 3_600_000
BOB, EVE = Recipient("bob@example.org"), Recipient("eve@example.org")
OK = Reply(250, "2.0.0", "taken")
LATER = Reply(451, "4.2.0", "greylisted")
UNKNOWN = Reply(550, "5.1.1", "user unknown")
REFUSED = Reply(550, "5.7.1", "rejected for policy reasons")


def said(recipient: Recipient, reply: Reply, phase: Any = "rcpt") -> RecipientResult:
    phase = "final" if reply is OK else phase
    return result_for(recipient, replace(reply, said_by_peer=True), phase, "mx.example.org")


def test_a_delivered_message_leaves_the_queue_without_a_trace(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(BOB)
    settlement = settle(delivery, [said(BOB, OK)], policies=policies, now=NOW, rng=Random(1))
    assert settlement.remaining == settlement.suppress == settlement.reports == ()
    assert settlement.attempted
    assert settlement.last_reply == ""


def test_what_was_said_of_those_who_remain_is_kept_rather_than_what_others_were_bounced_for(
    make_delivery: Any, policies: Policies
) -> None:
    results = [said(BOB, LATER), said(EVE, UNKNOWN)]
    for recipients, found in (((BOB, EVE), results), ((EVE, BOB), results[::-1])):
        delivery = make_delivery(*recipients)
        settlement = settle(delivery, found, policies=policies, now=NOW, rng=Random(1))
        assert settlement.remaining == (BOB,)
        assert settlement.last_reply == "mx.example.org: 451 4.2.0 greylisted"


@given(
    st.lists(st.sampled_from([OK, LATER, UNKNOWN, None]), min_size=1, max_size=4),
    st.sampled_from([(), ("NEVER",), ("SUCCESS", "FAILURE")]),
)
def test_what_is_settled_at_a_glance_is_what_a_closer_look_gives(
    make_delivery: Any, policies: Policies, replies: list[Reply | None], notify: tuple[str, ...]
) -> None:
    recipients = [Recipient(f"r{n}@example.org", notify) for n in range(len(replies))]
    delivery = make_delivery(*recipients)
    results = [said(r, reply) for r, reply in zip(recipients, replies, strict=True) if reply]
    at_a_glance = settle_delivered(delivery, results, NOW)
    if set(replies) == {OK} and "SUCCESS" not in notify:
        assert at_a_glance is not None
    if at_a_glance is not None:
        assert at_a_glance == settle(delivery, results, policies=policies, now=NOW, rng=Random(1))


def test_only_the_recipients_that_failed_for_now_remain(
    make_delivery: Any, policies: Policies
) -> None:
    ann = Recipient("ann@example.org")
    delivery = make_delivery(BOB, EVE, ann)
    results = [said(BOB, OK), said(EVE, LATER), said(ann, REFUSED)]
    settlement = settle(delivery, results, policies=policies, now=NOW, rng=Random(1))
    assert settlement.remaining == (EVE,)
    assert settlement.last_reply == "mx.example.org: 451 4.2.0 greylisted"
    assert len(settlement.reports) == 1


def test_a_recipient_without_a_result_is_tried_again(
    make_delivery: Any, policies: Policies
) -> None:
    settlement = settle(
        make_delivery(BOB, EVE), [said(EVE, OK)], policies=policies, now=NOW, rng=Random(1)
    )
    assert settlement.remaining == (BOB,)
    assert "without an answer" in settlement.last_reply


def test_the_same_recipient_given_twice_has_two_results(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(BOB, BOB)
    one = settle(delivery, [said(BOB, OK)], policies=policies, now=NOW, rng=Random(1))
    two = settle(delivery, [said(BOB, OK)] * 2, policies=policies, now=NOW, rng=Random(1))
    assert (one.remaining, two.remaining) == ((BOB,), ())


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(0, 1), (1, 5), (2, 15), (3, 30), (4, 60), (5, 120), (50, 120)]
)
def test_the_wait_grows_by_the_schedule_and_its_last_interval_repeats(
    make_delivery: Any, policies: Policies, attempts: int, minutes: int
) -> None:
    delivery = make_delivery(BOB, attempts=attempts)
    waits = {
        settle(delivery, [said(BOB, LATER)], policies=policies, now=NOW, rng=Random(seed)).due_at
        - NOW
        for seed in range(50)
    }
    assert min(waits) >= minutes * 60_000 * 0.9
    assert max(waits) <= minutes * 60_000 * 1.1
    assert len(waits) > 40


def test_the_last_wait_ends_at_the_expiry(make_delivery: Any, policies: Policies) -> None:
    delivery = make_delivery(BOB, attempts=9, expires_at=NOW + 5_000)
    settlement = settle(delivery, [said(BOB, LATER)], policies=policies, now=NOW, rng=Random(1))
    assert settlement.due_at == NOW + 5_000


def test_a_message_that_failed_for_now_once_too_often_is_given_up(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(BOB, EVE, expires_at=NOW)
    results = [said(BOB, LATER), said(EVE, OK)]
    assert [(r.kind, r.outcome) for r in conclude(delivery, results, NOW)] == [
        ("bounced", "expired"),
        ("delivered", "delivered"),
    ]
    settlement = settle(delivery, results, policies=policies, now=NOW, rng=Random(1))
    assert settlement.remaining == settlement.suppress == ()
    (report,) = settlement.reports
    assert report.message.body.inline is not None
    assert b"Status: 5.4.7" in report.message.body.inline
    assert b"greylisted" in report.message.body.inline


def test_a_message_whose_time_passed_while_it_waited_is_given_up_with_the_reason(
    make_delivery: Any, policies: Policies
) -> None:
    never = make_delivery(BOB, expires_at=NOW - 1)
    settlement = expire(never, "set:news quota", policies=policies, now=NOW, rng=Random(1))
    assert settlement.remaining == ()
    assert not settlement.attempted
    assert "set:news quota" in settlement.last_reply
    assert len(settlement.reports) == 1
    tried = make_delivery(BOB, expires_at=NOW - 1, last_reply="mx: 451 busy")
    settlement = expire(tried, "", policies=policies, now=NOW, rng=Random(1))
    assert "mx: 451 busy" in settlement.last_reply


@pytest.mark.parametrize(
    ("last_reply", "bounce"),
    [
        ("mx.dest.test: 452 4.2.2 Mailbox full", "Transient/MailboxFull"),
        ("mx.dest.test[192.0.2.1]:2525: 552 5.3.4 message too large", "Transient/MessageTooLarge"),
        ("mx.dest.test: 451 4.7.1 greylisted", "Transient/General"),
        ("mx.dest.test: 450 4.1.1 no such user", "Transient/General"),
        ("mx.dest.test: 550 5.1.1 no such user", "Transient/General"),  # was to be tried again
        ("mx.dest.test: 450 hm", "Transient/General"),
        ("the source of the mailbox is full", "Transient/General"),
        ("", "Transient/General"),
    ],
)
def test_what_expired_while_it_waited_is_named_by_what_a_peer_said_last(
    make_delivery: Any, policies: Policies, last_reply: str, bounce: str
) -> None:
    tried = make_delivery(BOB, expires_at=NOW - 1, last_reply=last_reply)
    settlement = expire(tried, "", policies=policies, now=NOW, rng=Random(1))
    assert settlement.suppress == ()
    assert settlement.happened is not None
    (verdict,) = settlement.happened.verdicts
    assert f"{verdict.bounce_type}/{verdict.bounce_subtype}" == bounce
    assert verdict.category == "expired"


def test_putting_off_is_no_attempt_and_ends_at_the_expiry(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(BOB, attempts=3)

    def put_off(due_at: int, now: int = NOW) -> Any:
        return postpone(
            delivery, "no\nsource", due_at=due_at, policies=policies, now=now, rng=Random(1)
        )

    assert put_off(NOW + 60_000).due_at == NOW + 60_000
    assert put_off(NOW + 60_000).remaining == (BOB,)
    assert put_off(NOW + 60_000).last_reply == "no source"
    assert not put_off(NOW + 60_000).attempted
    assert put_off(NOW - 60_000).due_at == NOW
    assert put_off(NOW + 100 * HOUR).due_at == NOW + 10 * HOUR
    assert put_off(NOW + 11 * HOUR, now=NOW + 10 * HOUR).remaining == ()


def test_a_hard_bounce_is_suppressed_with_its_evidence(
    make_delivery: Any, make_policies: Any
) -> None:
    policies = make_policies(suppression={"expire": {"first": "10d", "most": "30d"}})
    delivery = make_delivery(BOB, EVE)
    hostile = Reply(550, "5.1.1", "user unknown\r\nX-Evil: \x1b[31m" + "x" * 2000)
    settlement = settle(
        delivery,
        [said(BOB, hostile), said(EVE, REFUSED)],
        policies=policies,
        now=NOW,
        rng=Random(1),
    )
    (entry,) = settlement.suppress
    assert (entry.address, entry.reason, entry.source) == (BOB.address, "bounce", "bounce")
    assert entry.expires_at == NOW + 240 * HOUR
    assert entry.lasts_at_most == 720 * HOUR
    assert (entry.message_id, entry.remote_host) == (delivery.message.id, "mx.example.org")
    assert entry.evidence.startswith("550 5.1.1 user unknown")
    assert (entry.seen_at, entry.by) == (NOW, "")
    assert entry.evidence.isprintable()
    assert len(entry.evidence) <= 512
    assert settlement.last_reply.isprintable()


def test_a_settlement_says_of_each_whom_it_did_not_reach_what_was_found(
    make_delivery: Any, policies: Policies
) -> None:
    carol = Recipient("carol@example.org")
    delivery = make_delivery(BOB, EVE, carol)
    results = [said(BOB, UNKNOWN), said(EVE, OK), said(carol, LATER)]
    settlement = settle(delivery, results, policies=policies, now=NOW, rng=Random(1))
    assert settlement.happened is not None
    assert settlement.happened.delivered == (EVE.address,)
    dead, later = settlement.happened.verdicts
    assert (dead.address, dead.bounced, dead.category) == (BOB.address, True, "mailbox_unknown")
    assert (dead.bounce_type, dead.bounce_subtype) == ("Permanent", "NoEmail")
    assert (dead.rule, dead.status, dead.remote) == ("mailbox-unknown", "5.1.1", "mx.example.org")
    assert dead.reply == "550 5.1.1 user unknown"
    assert (later.address, later.bounced, later.category) == (carol.address, False, "greylisted")


def test_a_rule_that_gives_up_after_so_many_attempts_is_kept_to(
    make_delivery: Any, make_policies: Any
) -> None:
    rule = {"name": "full", "code": "4xx", "category": "mailbox_full", "attempts": 3}
    policies = make_policies(bounces={"rules": [rule]})
    full = Reply(452, "4.2.2", "mailbox full", said_by_peer=True)
    kinds = []
    for attempts in range(4):
        delivery = replace(make_delivery(BOB), attempts=attempts)
        result = result_for(BOB, full, "rcpt", "mx", classifier=policies.classifier)
        (ended,) = conclude(delivery, [result], NOW)
        kinds.append((ended.kind, ended.outcome))
        assert not settle(delivery, [result], policies=policies, now=NOW, rng=Random(1)).suppress
    assert kinds == [("deferred", "mailbox_full")] * 2 + [("bounced", "mailbox_full")] * 2


def test_suppression_by_itself_can_be_switched_off(make_delivery: Any, make_policies: Any) -> None:
    policies = make_policies(
        suppression={"reasons": ["complaint"]}, configuration_sets={"news": {"pool": "main"}}
    )
    settlement = settle(
        make_delivery(BOB), [said(BOB, UNKNOWN)], policies=policies, now=NOW, rng=Random(1)
    )
    assert settlement.suppress == ()


def test_a_reply_that_no_peer_gave_suppresses_nobody(
    make_delivery: Any, policies: Policies
) -> None:
    invented = replace(said(BOB, UNKNOWN), remote="")
    settlement = settle(make_delivery(BOB), [invented], policies=policies, now=NOW, rng=Random(1))
    assert settlement.suppress == ()


def test_a_domain_that_does_not_exist_is_suppressed_and_reported(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(BOB, EVE)
    results = results_for_all(delivery, Reply(550, "5.1.2", "the domain does not exist"), "routing")
    settlement = settle(delivery, results, policies=policies, now=NOW, rng=Random(1))
    assert [entry.address for entry in settlement.suppress] == [BOB.address, EVE.address]
    assert len(settlement.reports) == 1


def test_mail_of_a_set_that_left_the_configuration_is_settled_by_the_defaults(
    make_delivery: Any, policies: Policies
) -> None:
    delivery = make_delivery(BOB, configuration_set="gone")
    settlement = settle(delivery, [said(BOB, LATER)], policies=policies, now=NOW, rng=Random(1))
    assert settlement.remaining == (BOB,)


# Properties

_KINDS: Sequence[Kind] = ("delivered", "deferred", "bounced")
_PEOPLE = [Recipient(f"r{n}@example.org") for n in range(4)]


@st.composite
def attempts(draw: st.DrawFn) -> tuple[list[Recipient], list[RecipientResult]]:
    recipients = draw(st.lists(st.sampled_from(_PEOPLE), min_size=1, max_size=6))
    results = draw(
        st.lists(
            st.builds(
                RecipientResult,
                st.sampled_from(_PEOPLE),
                st.sampled_from(_KINDS),
                st.sampled_from([OK, LATER, UNKNOWN, REFUSED]),
                st.sampled_from(["other", "delivered"]),
                st.sampled_from(["", "mx"]),
            ),
            max_size=8,
        )
    )
    return recipients, results


@given(
    attempts(),
    st.integers(-HOUR, HOUR),
    st.integers(0, 10_000),
    st.integers(),
    st.sampled_from(["", "ann@example.com"]),
)
def test_no_settlement_loses_or_makes_up_a_recipient_or_lets_it_wait_beyond_the_expiry(
    make_delivery: Any,
    policies: Policies,
    attempt: tuple[list[Recipient], list[RecipientResult]],
    life: int,
    count: int,
    seed: int,
    reverse_path: str,
) -> None:
    recipients, results = attempt
    expires_at = NOW + life
    delivery = make_delivery(
        *recipients, attempts=count, expires_at=expires_at, reverse_path=reverse_path
    )
    concluded = conclude(delivery, results, NOW)
    settlement = settle(delivery, results, policies=policies, now=NOW, rng=Random(seed))
    gone = Counter(r.recipient for r in concluded if r.kind != "deferred")
    assert gone + Counter(settlement.remaining) == Counter(recipients)
    assert conclude(delivery, concluded, NOW) == concluded
    if settlement.remaining:
        assert NOW <= settlement.due_at <= expires_at
    if not reverse_path:
        assert settlement.reports == ()
    dead = {entry.address for entry in settlement.suppress}
    assert dead <= {r.recipient.address for r in concluded if r.kind == "bounced"}


@pytest.mark.parametrize(("attempts", "least"), [(0, 300_000), (4, 300_000), (5, 6_480_000)])
def test_a_time_that_the_peer_names_is_kept_and_in_the_end_the_schedule_counts(
    make_delivery: Any, policies: Policies, attempts: int, least: int
) -> None:
    delivery = make_delivery(BOB, attempts=attempts)
    for seed in range(50):
        settlement = settle(
            delivery,
            [said(BOB, LATER)],
            policies=policies,
            now=NOW,
            rng=Random(seed),
            retry_in=300.0,
        )
        assert NOW + least <= settlement.due_at <= NOW + max(330_000, least * 1.25)


def test_a_mailbox_of_the_simulator_bounces_for_good_and_is_not_suppressed(
    make_delivery: Any, policies: Policies
) -> None:
    box = Recipient(f"bounce@simulator.{policies.default.hostname}")
    for recipient, listed in ((box, 0), (BOB, 1)):
        settlement = settle(
            make_delivery(recipient),
            [said(recipient, UNKNOWN)],
            policies=policies,
            now=NOW,
            rng=Random(1),
        )
        assert settlement.remaining == ()
        assert len(settlement.suppress) == listed
