"""What comes back, read: the corpus, what it is worth, and hostile messages."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.returns import Case, corpus, judge
from relay.mail.dsn_reading import MOST_BLOCKS, MOST_RECIPIENTS
from relay.mail.mime import MOST_PARTS, read_message
from relay.mail.returned_mail import read_returned

CASES = corpus()
NOT_UNDERSTOOD = {"imail.eml", "unknown-program.eml"}
"""Known: they begin with no phrase that would not stand in letters too."""
PATIENCE = 2.0  # seconds of CPU for a hostile message of a megabyte, on a slow machine
WORDS = (
    b"\r\n",
    b"\r\n\r\n",
    b"--x",
    b"--x--",
    b"Content-Type: multipart/report; boundary=x",
    b"Content-Type: message/delivery-status",
    b"Content-Type: message/feedback-report",
    b"Content-Type: text/html; charset=utf-16",
    b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: quoted-printable",
    b"From: MAILER-DAEMON@x.test",
    b"Subject: Undelivered =?utf-8?q?=ff?=",
    b"Final-Recipient: rfc822; ann@example.org",
    b"Original-Recipient: utf-8; \\x{110000}\\x{D800}@x.test",
    b"Action: failed",
    b"Status: 5.1.1",
    b"Diagnostic-Code: smtp; 550 no",
    b"Feedback-Type: abuse",
    b"Arrival-Date: Thu, 99 Foo 99999 99:99:99 +9999",
    b"Hi. This is the qmail-send program",
    b"<ann@example.org>:",
    b"550 5.1.1 User unknown",
    b"\0",
    b"\xff\xfe",
    b"=",
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}/{case.file.name}")
def test_what_comes_back_is_understood_as_labelled(case: Case) -> None:
    (found,) = judge([case])

    if case.file.name in NOT_UNDERSTOOD:
        assert found.outcome == "refused"
        return
    assert (found.kind, found.outcome) == (case.kind, case.outcome)
    assert sorted(found.told) == sorted(case.told)


def test_real_servers_wrote_part_of_the_corpus_and_nobody_is_called_dead_who_is_not() -> None:
    found = judge(CASES)
    assert len(found) >= 90
    servers = {one.case.file.name.split("-")[0] for one in found if one.case.family == "generated"}
    assert servers == {"exim", "opensmtpd", "postfix"}
    for one in found:
        hard = {told.split()[-1] for told in one.case.told if "Permanent/" in told}
        complained = {told.split()[-1] for told in one.case.told if told.startswith("Complaint")}
        assert set(one.suppressed) <= hard | complained
    assert not any(one.events or one.suppressed for one in found if one.case.family == "forged")


@settings(deadline=None)
@given(st.binary(max_size=2_000), st.booleans())
def test_any_octets_have_an_answer(octets: bytes, for_complaints: bool) -> None:
    read_returned(octets, for_complaints=for_complaints)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS) | st.binary(max_size=20), max_size=60).map(b"\r\n".join),
    st.booleans(),
)
@example(b"", False)
def test_any_words_of_reports_have_an_answer_that_can_be_written(
    octets: bytes, for_complaints: bool
) -> None:
    mail = read_returned(octets, for_complaints=for_complaints)
    mail.subject.encode()
    for recipient in mail.report.recipients if mail.report else ():
        assert recipient.diagnostic.isprintable()
        f"{recipient.address}{recipient.status}{recipient.diagnostic}".encode()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_a_report_that_is_cut_or_damaged_anywhere_has_an_answer(
    case: Case, data: st.DataObject
) -> None:
    octets = bytearray(case.file.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=10)):
        octets[at] = data.draw(st.integers(0, 255))
    read_returned(bytes(octets[: data.draw(st.integers(0, len(octets)))]))


def _report(status: bytes) -> bytes:
    return (
        b"From: mailer-daemon@x.test\r\nSubject: Undelivered\r\n"
        b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n"
        b"Content-Type: message/delivery-status\r\n\r\n" + status + b"\r\n--x--\r\n"
    )


def _nested(depth: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(depth)
    )


_MEGABYTE = 1_000_000
_PROSE = b"From: mailer-daemon@x.test\r\nSubject: Undelivered\r\n\r\nundelivered message\r\n"
_MIXED = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
_ATTACHED = b"Content-Type: message/rfc822\r\n\r\n"
_FAILED = b"Final-Recipient: rfc822; a@b.test\r\nAction: failed\r\n"
_PRINTABLE = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
_HTML = b"From: mailer-daemon@x.test\r\nContent-Type: text/html\r\n\r\nundelivered message"
HOSTILE = {
    "ten thousand parts": _MIXED + b"--x\r\n\r\na\r\n" * 100_000,
    "nested without end": _nested(20_000),
    "the same boundary nested": (_MIXED + b"--x\r\n") * 20_000,
    "a million fields": b"a: b\r\n" * 160_000,
    "one field without end": b"Subject: " + b"a" * _MEGABYTE,
    "a field folded without end": b"Subject: a\r\n" + b" b\r\n" * 250_000,
    "encoded words without end": b"Subject: " + b"=?utf-8?q?a?= " * 70_000,
    "recipients without end": _report((_FAILED + b"\r\n") * 18_000),
    "recipients without blank lines": _report(_FAILED * 18_000),
    "a diagnostic without end": _report(_FAILED + b"Diagnostic-Code: x; " + b"5.1." * 240_000),
    "blank lines": _report(b"\r\n" * 500_000),
    "spaces": _PROSE + b" " * _MEGABYTE,
    "dashes": _PROSE + b"a@b.test\r\n" + b"-" * _MEGABYTE,
    "at signs": _PROSE + b"a@" * 500_000,
    "addresses": _PROSE + b"a@b.test 550\r\n" * 70_000,
    "replies": _PROSE + b"a@b.test\r\n\r\n" + b"said: error: 550" * 60_000,
    "angle brackets": _HTML + b"<" * _MEGABYTE,
    "parameters": b"Content-Type: multipart/mixed" + b'; a="\\' * 150_000,
    "tokens": _ATTACHED + b"b+" * 500_000,
    "almost a token": _ATTACHED + (b"b+" + b"a" * 61 + b"@" + b"a" * 250) * 3_000,
    "nuls": b"\0" * _MEGABYTE,
    "quoted-printable": _PRINTABLE + b"=" * _MEGABYTE,
    "quoted-printable line ends": _PRINTABLE + b" \t" * 500_000,
    "base64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A=" * 500_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("for_complaints", [False, True])
def test_a_hostile_message_is_read_in_bounded_time(name: str, for_complaints: bool) -> None:
    began = time.process_time()
    mail = read_returned(HOSTILE[name], for_complaints=for_complaints)

    assert time.process_time() - began < PATIENCE
    assert mail.report is None or len(mail.report.recipients) <= MOST_RECIPIENTS


def test_parts_and_their_depth_are_bounded() -> None:
    assert sum(1 for _ in read_message(HOSTILE["ten thousand parts"]).walk()) == MOST_PARTS + 1
    assert sum(1 for _ in read_message(HOSTILE["nested without end"]).walk()) < MOST_PARTS


def test_a_report_of_many_blocks_is_read_up_to_a_number_of_them() -> None:
    one = b"Final-Recipient: rfc822; a@b.c\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    near, far = (_report(b"Nothing: x\r\n\r\n" * n + one) for n in (900, MOST_BLOCKS + 1))
    assert read_returned(near).report is not None
    assert read_returned(far).kind != "dsn"


def test_the_words_of_a_person_are_no_report_whatever_they_quote() -> None:
    letter = (
        b"From: Bob <bob@example.com>\r\nSubject: Help\r\n\r\n"
        b"Hi. This is the qmail-send program at x.\r\n<ann@example.org>:\r\n550 User unknown\r\n"
    )
    assert read_returned(letter).kind == "other"


def test_a_reason_in_the_text_alone_is_taken_only_where_it_is_a_reply() -> None:
    def reported(reason: bytes) -> tuple[str, str]:
        mail = read_returned(
            b"From: mailer-daemon@x.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
            b"--x\r\n\r\nIt failed:\r\n\r\nann@example.org: " + reason + b"\r\n\r\n--x\r\n"
            b"Content-Type: message/delivery-status\r\n\r\n"
            b"Final-Recipient: rfc822; ann@example.org\r\nAction: failed\r\n"
            b"Status: 5.0.0\r\n--x--\r\n"
        )
        assert mail.report is not None
        (recipient,) = mail.report.recipients
        return recipient.status, recipient.diagnostic

    assert reported(b"552 5.2.2 Mailbox full") == ("5.2.2", "552 5.2.2 Mailbox full")
    assert reported(b"I do not know why") == ("5.0.0", "")
