"""What a header looks like when it leaves: the client's octets, and the relay's fields."""

import pytest

from relay.admission.final_header import final_header
from relay.admission.policy import Policy
from relay.admission.reading import read_header


@pytest.fixture
def final(submission, policy):
    def make(header, policy=policy, **more) -> bytes:
        one = submission(header, **more)
        return final_header(one, read_header(one.headers, smtputf8=False), policy)

    return make


def test_fields_of_the_client_stay_octet_for_octet_under_received(final):
    header = (
        b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\tb=abc  \r\n"
        b"from:ann@sender.test\r\n"
        b"Subject : Gr\xfc\xdfe  \r\n  folded\t\r\n"
        b"Date: yesterday\r\n"
        b"MESSAGE-ID: <mine@sender.test>\r\n"
        b"X-Odd__proto__: 1\r\n"
    )
    octets = final(header)
    assert octets.startswith(b"Received: from app.internal ([192.0.2.7])")
    assert octets.endswith(header)
    assert octets.index(b"DKIM-Signature") == len(octets) - len(header)


def test_the_relays_own_and_hidden_fields_are_removed(final):
    octets = final(
        "Return-Path: <x@sender.test>\r\nFrom: ann@sender.test\r\nDate: d\r\nMessage-ID: <m>\r\n"
        "X-SES-CONFIGURATION-SET: marketing\r\nx-ses-message-tags: a=b\r\nX-SES-Tenant: t\r\n"
        "X-SES-Source-ARN: arn\r\nBcc: secret@example.org,\r\n hidden@example.org\r\n"
        "Resent-Bcc: x@example.org\r\nTo: r0@example.org\r\n"
    )
    assert octets.endswith(
        b"From: ann@sender.test\r\nDate: d\r\nMessage-ID: <m>\r\nTo: r0@example.org\r\n"
    )
    for gone in (b"x-ses", b"bcc", b"secret", b"hidden@", b"return-path", b"marketing"):
        assert gone not in octets.lower()


def test_a_missing_date_and_message_id_are_added(final):
    octets = final("From: ann@sender.test\r\n")
    assert octets.endswith(
        b"From: ann@sender.test\r\n"
        b"Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n"
        b"Message-ID: <0100019e8b2fc000-8e0cc2b5-5a4c-4a3e-a1a4-0d8f5d4b1f10-000000@relay.test>\r\n"
    )


def test_identical_copies_of_a_field_are_reduced_to_the_first(final):
    octets = final(
        "From: ann@sender.test\r\nSubject: hi\r\nDate: d\r\nsubject:  hi\r\nMessage-ID: <m>\r\n"
    )
    assert octets.lower().count(b"subject:") == 1
    assert b"Subject: hi\r\n" in octets


def test_received_names_the_recipient_only_where_there_is_one(final):
    assert b"for <r0@example.org>" in final("From: ann@sender.test\r\n")
    assert b"example.org" not in final("From: ann@sender.test\r\n", recipients=2)


def test_received_can_be_left_out(final, configured):
    policy = Policy.of(configured(received_header=False), "relay.test")
    header = "From: ann@sender.test\r\nDate: d\r\nMessage-ID: <m>\r\n"
    assert final(header, policy) == header.encode()
