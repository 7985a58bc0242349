"""Which shipped rule a provider's reply meets, on texts that providers really give."""

import pytest

from bench.classify import corpus
from relay.config.shipped import shipped_reactions, shipped_text
from relay.feedback.outcome import Phase
from relay.feedback.reactions import Rule, Rules
from relay.mail.replies import Reply
from tests.feedback.real_replies import REAL, said

SHIPPED = Rules(Rule.of(written, "shipped") for written in shipped_reactions())


@pytest.mark.parametrize(("text", "phase", "name", "action"), REAL)
def test_a_real_reply_meets_its_rule(text: str, phase: Phase, name: str, action: str) -> None:
    rule = SHIPPED.find(said(text), phase, "")
    assert rule is not None
    assert (rule.name, rule.action) == (name, action)


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        (
            "550 5.5.0 Le compte du destinataire est bloque. The recipient account is blocked."
            " OFR_426 [426]",
            "rcpt",
        ),
        (
            "554 5.7.1 Service unavailable; Sender address [a@x.test] blocked using"
            " dbl.spamhaus.org",
            "rcpt",
        ),
        ("550 IP 192.0.2.22 blocked by user", "final"),
        ("550 5.1.1 The email account that you tried to reach does not exist.", "rcpt"),
        ("550 5.7.26 This mail has been blocked because the sender is unauthenticated.", "final"),
        ("552 5.2.2 The email account that you tried to reach is over quota.", "rcpt"),
        ("550 5.7.1 Message rejected: a domain in it is listed in the Spamhaus DBL", "final"),
        ("451 4.3.0 Temporary server error. Please try again later. PRX4", "final"),
        ("421 4.4.2 mx.example.net Error: timeout exceeded", "data"),
        ("554 5.7.1 <b@example.net>: Relay access denied", "rcpt"),
        ("450 4.1.8 <a@sender.test>: Sender address rejected: Domain not found", "rcpt"),
    ],
)
def test_what_says_nothing_of_how_we_send_meets_no_shipped_rule(text: str, phase: Phase) -> None:
    assert SHIPPED.find(said(text), phase, "") is None


_ABOUT_THE_MESSAGE = {
    "mailbox_unknown", "mailbox_inactive", "domain_unknown", "mailbox_full", "too_large", "content",
    "relay_denied", "auth", "protocol", "dns", "timeout", "expired", "local",
}  # fmt: skip


def test_no_reply_that_is_about_a_mailbox_or_a_message_holds_a_source_back() -> None:
    met = {}
    for case in corpus():
        rule = SHIPPED.find(said(case.text), case.phase, case.provider)
        if rule is not None and rule.restrains and case.category in _ABOUT_THE_MESSAGE:
            met[case.text] = rule.name
    assert met == {}


def test_what_a_source_is_refused_for_as_spam_is_refused_all_the_same() -> None:
    for case in corpus():
        rule = SHIPPED.find(said(case.text), case.phase, case.provider)
        if rule is not None and rule.restrains and case.category == "spam":
            assert not rule.tries_again, case.text


def test_of_what_people_call_throttled_greylisted_or_blocked_most_meets_a_rule() -> None:
    cases = [c for c in corpus() if c.category in ("throttled", "greylisted", "blocked")]
    met = [c for c in cases if SHIPPED.find(said(c.text), c.phase, c.provider) is not None]
    assert len(cases) >= 200
    assert len(met) / len(cases) >= 0.83


def test_a_reply_that_no_peer_gave_meets_no_rule_whatever_it_says() -> None:
    real = said("421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred")
    ours = Reply(real.code, real.enhanced, real.text)
    assert ours == real
    assert SHIPPED.find(real, "mail", "") is not None
    assert SHIPPED.find(ours, "mail", "") is None


def test_a_yes_meets_no_rule() -> None:
    assert (
        SHIPPED.find(said("250 2.0.0 Ok: greylisted no more, rate limit lifted"), "final", "")
        is None
    )


def test_every_shipped_rule_is_met_by_a_real_text_or_stands_for_codes_alone() -> None:
    met = {name for _, _, name, _ in REAL}
    untested = {r.name for r in shipped_reactions()} - met
    assert untested == {"microsoft-throttle-codes"}


def test_the_names_of_the_shipped_rules_are_distinct_and_the_text_explains_each_action() -> None:
    names = [rule.name for rule in shipped_reactions()]
    assert len(names) == len(set(names))
    head = shipped_text("reactions.yaml").partition("\nreactions:")[0]
    assert all(rule.action in head for rule in shipped_reactions())
