"""Delivery reports: what programs and people read in them, whatever peers and originals hold."""

import email
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.dots import check_line_ends
from relay.mail.dsn import (
    RETURNED_BODY_OCTETS,
    Report,
    ReportedRecipient,
    compose_dsn,
    wants_body,
)

REPORT_ID = "01000187a5a0c0de-6b1a2f60-0f31-4a5e-9a50-3c1f0c4e9b9d-000000"
BOB = ReportedRecipient(
    "bob@example.com",
    "5.1.1",
    orcpt="rfc822;Bob+2Bx@example.com",
    remote_mta="mx.example.com",
    diagnostic="550 5.1.1 No such user",
    attempted_at=1_700_000_004_000,
)
REPORT = Report(
    report_id=REPORT_ID,
    reporting_mta="relay.test",
    reverse_path="app@sender.test",
    action="failed",
    recipients=(BOB,),
    message_id="0100-original",
    arrived_at=1_700_000_000_000,
    now=1_700_000_005_000,
    envid="QQ+2B314",
    header=b"From: a@b.c\r\nSubject: Hello\r\nMessage-ID: <orig@sender.test>\r\n",
)


def composed(report: Report) -> tuple[EmailMessage, bytes]:
    header, body = compose_dsn(report)
    check_line_ends(header + body)
    message = email.message_from_bytes(header + b"\r\n" + body, policy=SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message, header + b"\r\n" + body


def parts(report: Report) -> list[EmailMessage]:
    message, _ = composed(report)
    found = list(message.iter_parts())
    assert len(found) == 3
    return found


def groups(report: Report) -> list[EmailMessage]:
    status = parts(report)[1]
    assert status.get_content_type() == "message/delivery-status"
    return status.get_payload()  # type: ignore[return-value]


def test_a_report_is_a_multipart_report_from_the_server_to_the_sender() -> None:
    message, octets = composed(REPORT)
    assert octets.isascii()
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@relay.test>"
    assert message["To"] == "app@sender.test"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == f"<{REPORT_ID}@relay.test>"
    assert message["In-Reply-To"] == message["References"] == "<orig@sender.test>"
    assert message["Date"] == "Tue, 14 Nov 2023 22:13:25 +0000"
    assert [part.get_content_type() for part in parts(REPORT)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]


def test_programs_read_what_became_of_each_recipient() -> None:
    ann = replace(BOB, address="ann@example.com", orcpt="", remote_mta="", diagnostic="")
    about_message, about_bob, about_ann = groups(replace(REPORT, recipients=(BOB, ann)))
    assert about_message.items() == [
        ("Original-Envelope-Id", "QQ+314"),
        ("Reporting-MTA", "dns; relay.test"),
        ("Arrival-Date", "Tue, 14 Nov 2023 22:13:20 +0000"),
    ]
    assert about_bob.items() == [
        ("Original-Recipient", "rfc822; Bob+x@example.com"),
        ("Final-Recipient", "rfc822; bob@example.com"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mx.example.com"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such user"),
        ("Last-Attempt-Date", "Tue, 14 Nov 2023 22:13:24 +0000"),
    ]
    assert about_ann["Final-Recipient"] == "rfc822; ann@example.com"
    assert "Original-Recipient" not in about_ann
    assert "Diagnostic-Code" not in about_ann


def test_people_read_what_happened_why_and_what_to_do() -> None:
    text = parts(REPORT)[0].get_content().replace("\r\n", "\n")
    assert "could not be delivered to\nthis recipient" in text
    assert "mx.example.com said:\n      550 5.1.1 No such user" in text
    assert "no such address at that domain. Check its spelling." in text
    assert "Its Subject: Hello" in text
    assert "0100-original" in text


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        ("delayed", "4.4.1", "need not do anything: it will be tried"),
        ("delivered", "2.0.0", "was delivered to this recipient"),
        ("relayed", "2.0.0", "sends no confirmations"),
    ],
)
def test_other_actions_have_words_of_their_own(action: str, status: str, words: str) -> None:
    bob = replace(BOB, status=status, retried_until=1_700_050_000_000)
    report = replace(REPORT, action=action, recipients=(bob,))
    text = " ".join(parts(report)[0].get_content().split())
    assert words in text
    assert "could not be delivered to this" not in text
    group = groups(report)[1]
    assert group["Action"] == action
    assert ("Will-Retry-Until" in group) == (action == "delayed")


def test_the_message_comes_back_whole_where_it_was_asked_for_and_is_small() -> None:
    whole = replace(REPORT, ret="FULL", body=b"Hi\r\n.\r\n--x\r\n")
    returned = parts(whole)[2]
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content()["Subject"] == "Hello"
    assert whole.header + b"\r\n" + b"Hi\r\n.\r\n--x\r\n" in composed(whole)[1]


@pytest.mark.parametrize(
    "body", [b"x" * (RETURNED_BODY_OCTETS + 1), b"8-bit \xfc\r\n", b"NUL \0\r\n"]
)
def test_a_message_that_is_large_or_not_plain_comes_back_as_its_header(body: bytes) -> None:
    report = replace(REPORT, ret="FULL", body=body)
    assert parts(report)[2].get_content_type() == "text/rfc822-headers"
    assert "too large or not plain enough" in parts(report)[0].get_content()


def test_a_header_with_8bit_octets_comes_back_quoted_printable() -> None:
    header = b"Subject: gr\xc3\xbc\xc3\x9fe = \xff\r\nX: y \r\n"
    message, octets = composed(replace(REPORT, header=header))
    assert octets.isascii()
    text, _, returned = message.iter_parts()
    assert returned.get_payload(decode=True) == header
    assert "gr\u00fc\u00dfe" in text.get_content()  # type: ignore[attr-defined]


def test_a_huge_header_is_cut_at_a_line() -> None:
    header = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 60) for number in range(3000))
    returned = parts(replace(REPORT, header=header))[2].get_payload(decode=True)
    assert isinstance(returned, bytes)
    assert 60_000 < len(returned) <= 65_536
    assert header.startswith(returned)
    assert returned.endswith(b"y\r\n")


def test_the_subject_is_told_decoded() -> None:
    text = parts(replace(REPORT, header=b"Subject: =?utf-8?b?Z3LDvMOfZQ==?=\r\n"))[0].get_content()
    assert "Its Subject: gr\u00fc\u00dfe" in text


def test_utf8_addresses_are_written_in_their_ascii_form() -> None:
    bob = replace(BOB, address="b\u00fc+b@example.com", orcpt="utf-8;b\\x{FC}b@example.com")
    group = groups(replace(REPORT, recipients=(bob,)))[1]
    assert group["Final-Recipient"] == "utf-8; b\\x{FC}\\x{2B}b@example.com"
    assert group["Original-Recipient"] == "utf-8; b\\x{FC}b@example.com"


def test_a_sender_outside_ascii_is_named_as_he_is() -> None:
    header, body = compose_dsn(replace(REPORT, reverse_path="gr\u00fc@sender.test"))
    assert "To: <gr\u00fc@sender.test>\r\n".encode() in header
    assert body.isascii()


def test_a_boundary_that_the_original_foresaw_is_not_used() -> None:
    report = replace(REPORT, ret="FULL", body=b"--=_" + REPORT_ID.encode() + b"--\r\n")
    assert [part.get_content_type() for part in parts(report)][2] == "message/rfc822"


@pytest.mark.parametrize("envid", ["+0D+0AX: y", "+FF", "+", "a b"])
def test_an_envelope_id_that_would_break_the_report_stays_encoded(envid: str) -> None:
    assert groups(replace(REPORT, envid=envid))[0]["Original-Envelope-Id"] == envid


@given(
    st.text(min_size=1),
    st.text(),
    st.text(),
    st.text(),
    st.text(),
    st.binary(),
    st.one_of(st.none(), st.binary()),
)
def test_no_text_breaks_the_report(
    address: str,
    diagnostic: str,
    remote_mta: str,
    orcpt: str,
    envid: str,
    header: bytes,
    body: bytes | None,
) -> None:
    bob = ReportedRecipient(address, diagnostic, orcpt, remote_mta, diagnostic)
    report = replace(REPORT, recipients=(bob, bob), envid=envid, header=header, body=body)
    header, octets = compose_dsn(report)
    assert (header + octets).isascii()
    assert b"\0" not in octets
    message = email.message_from_bytes(header + b"\r\n" + octets, policy=SMTP)
    assert not message.defects
    _, status, _ = message.iter_parts()  # type: ignore[attr-defined]
    assert len(status.get_payload()) == 3
    assert all(len(group["Status"]) >= 5 for group in status.get_payload()[1:])


@pytest.mark.parametrize("word", ["x" * 3000, "\u00fc" * 3000, "x\u00fc" * 1500])
def test_endless_words_are_cut(word: str) -> None:
    bob = replace(BOB, address=word, diagnostic=word, remote_mta=word)
    _, octets = composed(replace(REPORT, recipients=(bob,)))
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_the_body_is_wanted_for_failures_with_ret_full_only() -> None:
    assert wants_body("failed", "FULL", 100)
    assert not wants_body("failed", "FULL", RETURNED_BODY_OCTETS + 1)
    assert not wants_body("failed", "HDRS", 100)
    assert not wants_body("failed", "", 100)
    assert not wants_body("delayed", "FULL", 100)
