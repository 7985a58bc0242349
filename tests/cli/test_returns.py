"""`relay returns test`: what is made of a message, without a running relay."""

import pytest

from relay.cli.output import utc_ms
from relay.mail.message_id import new_message_id
from relay.mail.verp import make
from relay.signing.return_path_keys import read_keys

REPORT = """\
From: MAILER-DAEMON@mx.example.test
To: {to}
Content-Type: multipart/report; boundary=x

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.test

Final-Recipient: rfc822; bob@example.test
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown
--x--
"""
COMPLAINT = """\
From: fbl@isp.test
To: fbl@bounce.sender.test
Content-Type: multipart/report; boundary=x

--x
Content-Type: message/feedback-report

Feedback-Type: abuse
--x
Content-Type: message/rfc822

Return-Path: <{to}>
--x--
"""


@pytest.fixture
def ours(run, config_path):
    """Makes a return-path of this relay."""
    config_path.write_text(
        config_path.read_text().replace(
            "sender.test: {}", "sender.test: {mail_from: bounce.sender.test}"
        )
        + "returns: {address: 127.0.0.1:0, feedback_addresses: [fbl@bounce.sender.test]}\n"
    )
    assert run("bounces", "rotate-key").code == 0
    key = read_keys(config_path.parent / "data")[0]
    message_id = new_message_id(utc_ms())
    return message_id, make(message_id, 1, "bounce.sender.test", key)


def test_a_report_to_a_return_path_says_what_it_proves_and_means(run, ours, tmp_path):
    message_id, address = ours
    file = tmp_path / "report.eml"
    file.write_text(REPORT.format(to=address, action="failed"))

    ran = run("returns", "test", str(file))
    assert ran.code == 0
    for words in ("a delivery report", "RFC 3464", message_id, "number 2", "it is recorded",
                  "mailbox_unknown (Permanent/NoEmail)", "bob@example.test"):  # fmt: skip
        assert words in ran.out
    found = run("returns", "test", str(file), "--json").json
    assert found["message_id"] == message_id
    assert found["reported"][0]["hard_bounce"] is True


def test_a_forged_return_path_is_told_apart(run, ours, tmp_path):
    _, address = ours
    file = tmp_path / "report.eml"
    file.write_text(REPORT.format(to=address[:-30] + "aa" + address[-28:], action="failed"))

    ran = run("returns", "test", str(file))
    assert ran.code == 1
    assert "is no return-path of this relay" in ran.out
    assert "it is refused" in ran.out
    ran = run("returns", "test", str(file), "--to", address)
    assert (ran.code, "it is recorded" in ran.out) == (0, True)


def test_a_delay_changes_nothing_and_a_complaint_is_believed_by_what_it_holds(run, ours, tmp_path):
    message_id, address = ours
    file = tmp_path / "returned.eml"
    file.write_text(REPORT.format(to=address, action="delayed"))
    ran = run("returns", "test", str(file))
    assert (ran.code, "nothing has failed" in ran.out) == (1, True)

    file.write_text(COMPLAINT.format(to=address))
    found = run("returns", "test", str(file), "--json").json
    assert (found["outcome"], found["message_id"], found["kind"]) == (
        "recorded",
        message_id,
        "feedback",
    )
    file.write_text(COMPLAINT.format(to="a@b.test"))
    ran = run("returns", "test", str(file))
    assert (ran.code, "no return-path of this relay" in ran.out) == (1, True)


def test_a_file_that_is_not_there_is_one_sentence(run, ours):
    ran = run("returns", "test", "missing.eml")
    assert ran.code == 1
    assert "missing.eml" in ran.err
    assert "Traceback" not in ran.err


def test_what_has_no_addressee_is_asked_for_it(run, ours, tmp_path):
    file = tmp_path / "report.eml"
    file.write_text(REPORT.format(to="", action="failed"))
    ran = run("returns", "test", str(file))
    assert ran.code == 1
    assert "give it as --to ADDRESS" in ran.out


def test_a_return_path_of_several_proves_no_recipient(run, config_path, ours, tmp_path):
    message_id, _ = ours
    key = read_keys(config_path.parent / "data")[0]
    file = tmp_path / "report.eml"
    shared = make(message_id, None, "bounce.sender.test", key)
    file.write_text(REPORT.format(to=shared, action="failed"))
    ran = run("returns", "test", str(file))
    assert ran.code == 0
    assert "nobody is suppressed" in ran.out
