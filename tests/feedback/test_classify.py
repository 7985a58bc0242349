"""What replies mean. Texts are those of real servers."""

import time
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.classify import Classification, classify
from relay.feedback.outcome import Outcome, Phase, harmless
from relay.mail.enhanced import split_reply
from relay.mail.replies import Reply

BOB = "bob@example.org"
INACTIVE = "mailbox_inactive"


OWN = ("routing", "connect", "local")


def told(code: int, text: str, phase: Phase = "rcpt", recipient: str = BOB) -> Classification:
    reply = split_reply(code, text)
    if phase in OWN or "mx.test" in text:
        reply = Reply(reply.code, reply.enhanced, reply.text)
    return classify(reply, phase, recipient)


def meaning(found: Classification) -> tuple[str, str, bool]:
    return found.kind, found.outcome, found.hard_bounce


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (550, f"5.1.1 <{BOB}>: Recipient address rejected: User unknown in local recipient table"),
        (550, f"<{BOB}>: Recipient address rejected: User unknown in virtual mailbox table"),
        (550, "5.1.1 The email account that you tried to reach does not exist. Please try"),
        (550, "5.2.1 The email account that you tried to reach is disabled."),
        (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
        (550, "No such user here"),
        (550, "No user found"),
        (550, "Unrouteable address"),
        (550, "5.0.0 unknown user"),
        (550, "sorry, no mailbox here by that name. (#5.1.1)"),
        (550, "Invalid recipient"),
        (550, "5.1.6 mailbox moved, no forwarding address"),
        (554, f"delivery error: dd This user doesn't have an account; mailbox {BOB} not found"),
    ],
)
def test_an_unknown_mailbox_is_a_hard_bounce(code: int, text: str) -> None:
    outcome = INACTIVE if "disabled" in text or "moved" in text else "mailbox_unknown"
    found = told(code, text)
    assert meaning(found) == ("bounced", outcome, True)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (
            "5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org",
            "blocked",
        ),
        ("5.1.1 <x@example.org> rejected: your IP is on our blacklist", "blocked"),
        ("5.1.1 message rejected due to user policy settings; blocked", "policy"),
        ("5.7.1 Unable to relay for x@example.org", "relay_denied"),
        ("5.7.1 <x@example.org>: Relay access denied", "relay_denied"),
        ("5.2.1 The user is receiving mail at a rate that prevents delivery", "throttled"),
        ("5.2.2 The email account that you tried to reach is over quota", "mailbox_full"),
        ("5.1.1 user's mailbox is full", "mailbox_full"),
        ("5.2.1 Mailbox temporarily disabled", INACTIVE),
        ("Sender verify failed: unknown user", "policy"),
        ("5.1.1 sender address unknown", "policy"),
        ("5.4.1 Recipient address rejected: Access denied. AS(201806281)", "policy"),
        ("Requested action not taken: mailbox unavailable", "other"),
        ("5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy", "policy"),
        ("5.7.1 unknown user or whatever", "mailbox_unknown"),
        ("5.1.2 nobody can say", "domain_unknown"),
        ("5.1.3 bad syntax", "mailbox_unknown"),
        ("", "other"),
    ],
)
def test_a_refusal_in_doubt_bounces_the_mail_and_suppresses_nobody(
    text: str, outcome: Outcome
) -> None:
    assert meaning(told(550, text)) == ("bounced", outcome, False)


@pytest.mark.parametrize(
    ("code", "text", "phase", "outcome"),
    [
        (
            450,
            "4.2.0 <x@example.org>: Recipient address rejected: Greylisted",
            "rcpt",
            "greylisted",
        ),
        (451, "4.7.1 Greylisting in action, please come back in 00:05:00", "rcpt", "greylisted"),
        (421, "4.7.0 Try again later, closing connection", "mail", "throttled"),
        (
            450,
            "4.2.1 The user you are trying to contact is receiving mail too quickly",
            "rcpt",
            "throttled",
        ),
        (452, "4.2.2 The email account is over quota", "rcpt", "mailbox_full"),
        (452, "4.5.3 Too many recipients", "rcpt", "throttled"),
        (552, "Too many recipients", "rcpt", "throttled"),
        (550, "5.5.3 Too many recipients", "rcpt", "throttled"),
        (421, "Service not available, closing transmission channel", "greeting", "unavailable"),
        (554, "5.7.1 No SMTP service here, your IP is blacklisted", "greeting", "blocked"),
        (554, "No SMTP service here", "greeting", "unavailable"),
        (502, "command not implemented", "ehlo", "protocol"),
        (454, "4.7.0 TLS not available", "tls", "tls"),
        (554, "5.7.0 no TLS for you", "tls", "tls"),
        (535, "5.7.8 Authentication credentials invalid", "auth", "auth"),
        (503, "5.5.1 bad sequence of commands", "mail", "protocol"),
        (451, "4.4.2 the connection to mx.test timed out while sending MAIL", "mail", "timeout"),
        (451, "4.4.2 the connection to mx.test was lost", "final", "unreachable"),
        (451, "4.4.2 mx.test did not answer at EHLO in time", "ehlo", "timeout"),
        (451, "4.3.5 configuration set x is no longer configured", "routing", "local"),
        (451, "4.4.1 connection refused", "connect", "unreachable"),
        (451, "4.4.3 DNS gave no MX answer", "routing", "dns"),
        (451, "4.3.0 cannot sign", "local", "local"),
        (451, "4.5.0 does not keep to SMTP", "final", "protocol"),
        (354, "go ahead", "rcpt", "protocol"),
        (250, "2.1.5 ok", "rcpt", "protocol"),
        (0, "", "final", "protocol"),
        (999, "", "final", "protocol"),
    ],
)
def test_what_may_go_well_later_is_tried_again(
    code: int, text: str, phase: Phase, outcome: Outcome
) -> None:
    assert meaning(told(code, text, phase)) == ("deferred", outcome, False)


@pytest.mark.parametrize(
    ("code", "text", "phase", "outcome"),
    [
        (552, "5.3.4 Message size exceeds fixed limit", "mail", "too_large"),
        (552, "message size exceeds the limit", "rcpt", "too_large"),
        (550, "5.1.1 user unknown", "mail", "mailbox_unknown"),
        (554, "5.7.1 Spam message rejected", "final", "spam"),
        (554, "5.5.1 no valid recipients", "data", "protocol"),
        (554, "5.4.6 mail loops back", "routing", "unreachable"),
        (530, "5.7.0 Must issue a STARTTLS command first", "mail", "tls"),
        (530, "5.7.0 Authentication required", "mail", "auth"),
    ],
)
def test_a_permanent_refusal_of_the_message_bounces_it(
    code: int, text: str, phase: Phase, outcome: Outcome
) -> None:
    assert meaning(told(code, text, phase)) == ("bounced", outcome, False)


def test_after_the_content_only_a_reply_that_names_the_address_is_a_hard_bounce() -> None:
    assert told(550, f"5.1.1 <{BOB.upper()}>: user unknown", "final").hard_bounce
    assert not told(550, "5.1.1 user unknown", "final").hard_bounce
    assert not told(550, "5.1.1 user unknown", "final", "").hard_bounce


def test_words_inside_addresses_are_not_read() -> None:
    assert told(550, "5.1.1 <spam.greylist@blocked.test>: user unknown").hard_bounce


@pytest.mark.parametrize(
    ("code", "enhanced", "hard"),
    [(550, "5.1.2", True), (556, "5.1.10", True), (550, "5.4.4", False), (554, "5.4.6", False)],
)
def test_of_our_own_replies_only_what_dns_said_for_certain_is_a_hard_bounce(
    code: int, enhanced: str, hard: bool
) -> None:
    reply = Reply(code, enhanced, "unknown user")
    assert classify(reply, "routing", BOB).hard_bounce is hard
    assert classify(reply, "local", BOB).hard_bounce is False
    assert classify(reply, "connect", BOB).hard_bounce is False


def test_only_a_2yz_to_the_final_dot_means_delivered() -> None:
    assert meaning(told(250, "2.0.0 ok", "final")) == ("delivered", "delivered", False)
    for phase in get_args(Phase):
        if phase != "final":
            assert told(250, "2.0.0 ok", phase).kind == "deferred"


@given(
    st.integers(-1, 1000),
    st.text(max_size=40) | st.sampled_from(["5.1.1", "4.2.2", "5.7.1", "", "5.", "x.y.z"]),
    st.text(max_size=200),
    st.sampled_from(get_args(Phase)),
)
def test_every_reply_has_a_meaning(code: int, enhanced: str, text: str, phase: Any) -> None:
    found = classify(Reply(code, enhanced, text), phase, BOB)
    assert found.outcome in get_args(Outcome)
    assert found.kind != "delivered" or (phase == "final" and 200 <= code < 300)
    assert found.kind != "bounced" or 500 <= code < 600
    assert not found.hard_bounce or (
        found.kind == "bounced" and phase in ("rcpt", "data", "content", "final", "routing")
    )


@pytest.mark.parametrize("text", ["a" * 5000, "user " * 1000, "a@" * 2500, "mailbox" * 700])
def test_a_long_hostile_text_takes_no_time(text: str) -> None:
    start = time.perf_counter()
    told(550, text)
    assert time.perf_counter() - start < 0.2


@given(st.text(max_size=2000))
def test_the_text_of_a_peer_is_made_harmless(text: str) -> None:
    reply = harmless(Reply(550, "5.0.0", text))
    assert reply.text.isprintable()
    assert len(reply.text) <= 512
    assert harmless(reply) == reply
