"""What a reply does to the mail at hand, and which sources rest."""

from dataclasses import replace
from typing import Any

import pytest

from relay.config.reactions import ReactionRule
from relay.delivery.reacting import Judgement, Reacting, Sent
from relay.feedback.outcome import Phase, RecipientResult
from relay.feedback.reactions import Rule, Rules
from relay.feedback.restraints import Complaint, Rest
from relay.feedback.settle import result_for
from relay.mail.enhanced import split_reply
from relay.mail.envelope import Recipient
from relay.mail.replies import Reply
from relay.observe.metrics import Metrics

SENT = Sent("192.0.2.1", "acme", "acme", began=990.0)


class Room:
    """A `Reacting` with a clock that tests turn by hand, and what it has told."""

    def __init__(self, *rules: dict[str, object]) -> None:
        self.now = 1000.0
        self.complaints: list[Complaint] = []
        self.rested: list[tuple[str, str]] = []
        written = [ReactionRule.model_validate({"name": f"r{n}", **r}) for n, r in enumerate(rules)]
        self.reacting = Reacting(
            Metrics(),
            lambda: self.now,
            complain=self.complaints.append,
            rested=lambda *who: self.rested.append(who),
        )
        self.reacting.rules = Rules(Rule.of(rule, "configuration") for rule in written)

    def judge(self, *replies: str | Reply) -> Judgement | None:
        results = tuple(result(reply, f"b{n}@x.test") for n, reply in enumerate(replies))
        return self.reacting.judge(results, SENT)


def result(reply: str | Reply, to: str, phase: Phase = "final") -> RecipientResult:
    said = reply if isinstance(reply, Reply) else split_reply(int(reply[:3]), reply[4:])
    return result_for(Recipient(to), said, phase, "mx.test[192.0.2.9]:25")


def kinds(judgement: Judgement | None) -> list[str]:
    assert judgement is not None
    return [one.kind for one in judgement.results]


def test_a_reply_that_meets_no_rule_is_judged_by_nobody() -> None:
    room = Room({"code": "421", "action": "pause"})
    assert room.judge("250 2.0.0 ok", "450 4.2.1 busy") is None
    assert not room.complaints


def test_greylisting_is_tried_again_at_the_time_that_the_peer_names() -> None:
    room = Room({"text": "greylisted", "action": "retry_later", "duration": "5m"})
    named = room.judge("451 4.7.1 greylisted, try again in 90 seconds")
    unnamed = room.judge("451 4.7.1 greylisted")
    assert named is not None
    assert unnamed is not None
    assert (named.retry_in, unnamed.retry_in) == (90.0, 300.0)
    assert not room.complaints


def test_of_several_delays_the_latest_counts() -> None:
    room = Room({"text": "greylisted", "action": "retry_later", "duration": "5m"})
    judgement = room.judge("451 greylisted, try again in 90 seconds", "451 greylisted", "450 busy")
    assert judgement is not None
    assert judgement.retry_in == 300.0


def test_a_slow_down_is_a_complaint_with_all_that_the_supervisor_needs() -> None:
    room = Room({"code": "421", "action": "slow_down", "duration": "10m", "after": "3 in 5m"})
    judgement = room.judge("421 4.7.28 too fast")
    assert judgement is not None
    assert (judgement.retry_in, judgement.elsewhere, judgement.rests) == (None, False, False)
    assert room.complaints == [
        Complaint(
            "192.0.2.1", "acme", "acme", "r0", "slow_down", 600.0, "421 4.7.28 too fast", 990.0,
            count=3, within=300.0,
        )
    ]  # fmt: skip


def test_one_attempt_complains_once_of_many_recipients() -> None:
    room = Room({"code": "450", "action": "slow_down"})
    room.judge(*["450 4.7.1 too fast"] * 20)
    assert len(room.complaints) == 1


def test_a_reply_of_our_own_never_meets_a_rule() -> None:
    room = Room({"code": "4xx", "action": "pause"}, {"code": "5xx", "action": "bounce"})
    ours = Reply(451, "4.4.2", "the connection to mx.test was lost while sending RCPT")
    assert room.judge(ours) is None
    assert room.reacting.judge_refusal(ours, "greeting", SENT) is None
    assert not room.complaints
    assert not room.reacting.rests("192.0.2.1", "acme")


def test_a_blocked_source_gives_no_mail_up_and_rests_at_once() -> None:
    room = Room({"text": "blocked", "action": "other_source", "duration": "1h"})
    judgement = room.judge("250 ok", "550 5.7.1 blocked (S3140)")
    assert kinds(judgement) == ["delivered", "deferred"]
    assert judgement is not None
    assert judgement.elsewhere
    assert judgement.rests
    assert room.rested == [("192.0.2.1", "acme")]
    assert set(room.reacting.resting("acme")) == {"192.0.2.1"}
    assert room.reacting.first_end("acme", ["192.0.2.1", "192.0.2.2"]) == 4600.0
    assert not room.reacting.resting("other.test")


def test_mail_moves_to_another_source_only_where_all_of_it_was_refused_for_the_source() -> None:
    room = Room({"text": "blocked", "action": "other_source"})
    judgement = room.judge("450 4.2.1 mailbox busy", "550 5.7.1 blocked")
    assert judgement is not None
    assert not judgement.elsewhere


def test_with_a_trigger_nothing_rests_before_the_supervisor_says_so() -> None:
    room = Room({"text": "blocked", "action": "other_source", "after": "3 in 5m"})
    judgement = room.judge("550 5.7.1 blocked")
    assert judgement is not None
    assert not judgement.elsewhere
    assert not judgement.rests
    assert not room.rested


def test_a_rule_may_give_mail_up_that_the_peer_would_have_tried_again() -> None:
    room = Room({"text": "no such user", "action": "bounce"})
    assert kinds(room.judge("450 4.1.1 no such user")) == ["bounced"]


def test_what_is_told_not_to_be_tried_again_bounces() -> None:
    room = Room({"text": "unsolicited", "action": "slow_down", "try_again": False})
    assert kinds(room.judge("550 5.7.1 unsolicited")) == ["bounced"]
    assert len(room.complaints) == 1


def test_a_rest_ends_by_itself_and_is_not_prolonged_by_what_is_still_answered() -> None:
    room = Room({"code": "421", "action": "pause", "duration": "60s"})
    room.judge("421 no")
    room.now += 30
    room.judge("421 no")
    assert room.reacting.rests("192.0.2.1", "acme")
    room.now += 30
    assert not room.reacting.rests("192.0.2.1", "acme")
    assert room.rested == [("192.0.2.1", "acme")]


def test_what_the_supervisor_tells_of_a_rest_counts() -> None:
    room = Room()
    room.reacting.told(Rest("192.0.2.1", "acme", 1600.0))
    room.reacting.told(Rest("192.0.2.1", "acme", 1700.0))
    room.reacting.told(Rest("192.0.2.2", "acme", 999.0))
    assert set(room.reacting.resting("acme")) == {"192.0.2.1"}
    assert room.rested == [("192.0.2.1", "acme")]
    room.reacting.told(Rest("192.0.2.1", "acme", 0.0))
    assert not room.reacting.resting("acme")


def test_an_operator_who_has_mail_tried_again_ends_the_rests_of_a_worker_alone() -> None:
    room = Room()
    room.reacting.told(Rest("192.0.2.9", "acme", 1600.0))
    room.reacting.rest(SENT, 600.0, "refused")
    room.reacting.forgive()
    assert set(room.reacting.resting("acme")) == {"192.0.2.9"}
    room.reacting.rest(SENT, 600.0, "refused")
    room.reacting.told(Rest("192.0.2.1", "acme", 1600.0))  # now all workers know of it
    room.reacting.forgive()
    assert set(room.reacting.resting("acme")) == {"192.0.2.1", "192.0.2.9"}


@pytest.mark.parametrize(
    ("action", "rests", "crowded"),
    [("pause", True, False), ("fewer_connections", False, True), ("slow_down", False, False)],
)
def test_a_refused_connection_is_judged_too(action: Any, rests: bool, crowded: bool) -> None:
    room = Room({"text": "too many", "action": action})
    said = split_reply(421, "4.7.0 too many connections")
    judgement = room.reacting.judge_refusal(said, "greeting", SENT)
    assert judgement is not None
    assert (judgement.rests, judgement.is_crowded) == (rests, crowded)
    assert judgement.restrains
    assert len(room.complaints) == 1


def test_what_the_simulator_answers_says_nothing_of_how_we_send() -> None:
    room = Room({"code": "550", "action": "pause"})
    inside = replace(SENT, is_simulated=True)
    refusal = result("550 5.7.1 Mail from your address is blocked", "blocked@s.test")
    assert room.reacting.judge((refusal,), inside) is None
    assert room.reacting.judge_refusal(refusal.reply, "greeting", inside) is None
    assert (room.complaints, room.rested) == ([], [])
    assert room.reacting.judge((refusal,), SENT) is not None
