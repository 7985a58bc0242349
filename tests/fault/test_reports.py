"""Who hears of what could not be delivered: each recipient for itself, and nobody twice."""

from email import message_from_bytes, policy

import pytest

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Action, Received, Receiver


def by_local_part(stage: str, text: str) -> Action:
    """`RCPT` is answered by the code that the address begins with."""
    code = text.partition("<")[2][:3]
    if stage != "rcpt" or not code.isdigit() or code == "250":
        return None
    return f"{code} {'5.1.1 no such mailbox' if code == '550' else '4.2.0 busy'}"


def reports(receiver: Receiver) -> list[Received]:
    return [message for message in list(receiver.messages) if message.reverse_path == ""]


def queue(program: Program) -> list[dict]:
    found = program.json("queue", "list")
    return found if isinstance(found, list) else found["deliveries"]


def test_of_three_recipients_each_gets_its_own_end(quick: Program, receiver: Receiver) -> None:
    rounds = []

    def behave(stage: str, text: str) -> Action:
        if stage == "rcpt":
            rounds.append(text.partition("<")[2].partition(">")[0])
        return by_local_part(stage, text)

    receiver.behave = behave
    quick.start()
    quick.send(("250@dest.test", "450@dest.test", "550@dest.test"))
    wait_until(lambda: len(reports(receiver)) == 1, what="the report")
    wait_until(lambda: rounds.count("450@dest.test") >= 3, what="two retries")
    assert rounds.count("250@dest.test") == rounds.count("550@dest.test") == 1
    receiver.behave = lambda stage, text: None
    wait_until(lambda: len(receiver.messages) == 3, what="the third recipient's mail")
    assert [m.recipients for m in receiver.messages if m.reverse_path] == [
        ("250@dest.test",),
        ("450@dest.test",),
    ]

    (report,) = reports(receiver)
    assert report.recipients == ("app@sender.test",)
    parsed = message_from_bytes(report.content, policy=policy.default)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    status = next(part for part in parsed.walk() if part.get_content_type().endswith("-status"))
    fields = "\n".join(str(part) for part in status.get_payload())
    assert "Final-Recipient: rfc822; 550@dest.test" in fields
    assert "Action: failed" in fields
    assert "Status: 5.1.1" in fields
    assert "450@dest.test" not in fields
    assert "250@dest.test" not in fields

    listed = quick.json("suppression", "list")
    assert "550@dest.test" in str(listed)
    assert "450@dest.test" not in str(listed)
    quick.send(("550@dest.test",), message_id="<again@client.test>")
    suppressed = "relay_recipients_suppressed_total"
    wait_until(lambda: quick.metric(suppressed, reason="bounce") == 1, what="suppression")
    assert queue(quick) == []
    assert "<again@client.test>" not in receiver.ids()


@pytest.mark.parametrize("stage", ["rcpt", "final"])
def test_a_report_that_fails_makes_no_other(quick: Program, receiver: Receiver, stage: str) -> None:
    receiver.behave = lambda at, text: "550 5.7.1 nothing of yours" if at == stage else None
    quick.start()
    quick.send()
    wait_until(lambda: quick.metric("relay_recipients_bounced_total") == 2, what="both bounces")
    wait_until(lambda: queue(quick) == [], what="an empty queue")
    assert receiver.messages == []


def test_mail_that_grew_too_old_is_reported_once(quick: Program, receiver: Receiver) -> None:
    quick.configure(lambda d: d["configuration_sets"]["default"].update(max_age="4s"))
    receiver.behave = by_local_part
    quick.start()
    quick.send(("450@dest.test", "250@dest.test"))
    wait_until(lambda: len(reports(receiver)) == 1, what="the report")
    wait_until(lambda: queue(quick) == [], what="an empty queue")
    assert quick.metric("relay_recipients_bounced_total", outcome="expired") == 1
    assert b"450@dest.test" in reports(receiver)[0].content
    assert b"4.2.0" in reports(receiver)[0].content
    assert "450@dest.test" not in str(quick.json("suppression", "list"))
    assert len(receiver.messages) == 2
