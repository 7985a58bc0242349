"""What operators do to mail that waits, also where it waits in the memory of the running relay."""

import smtplib
import time

from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Action, Receiver


def slow(document) -> None:
    document["configuration_sets"]["default"]["rate"] = "6/min"


def send_many(program: Program, count: int) -> None:
    with program.client() as client:
        for number in range(count):
            client.sendmail(
                "app@sender.test",
                [f"to{number}@dest{number % 3}.test"],
                letter(message_id=f"<{number}@client.test>"),
            )


def states(program: Program) -> list[str]:
    return [entry["state"] for entry in program.json("queue", "list")]


def test_held_mail_stays_and_released_mail_goes(program: Program, receiver: Receiver) -> None:
    program.configure(slow)
    program.start()
    send_many(program, 12)
    program.run("queue", "hold", "--all")
    held = states(program)
    assert len(held) >= 10
    assert set(held) == {"held"}
    program.configure(lambda d: d["configuration_sets"]["default"].pop("rate"))
    program.run("reload")
    gone = len(receiver.messages)
    assert states(program).count("held") == len(held)
    program.run("queue", "release", "--all")
    program.run("queue", "retry", "--all")
    wait_until(lambda: len(receiver.messages) == 12, what="delivery of what was released")
    assert gone <= 2


def test_bounced_mail_is_reported_and_every_recipient_is_accounted_for(
    program: Program, receiver: Receiver
) -> None:
    program.configure(slow)
    program.start()
    send_many(program, 12)
    bounced = program.run("queue", "bounce", "--all", "--yes")
    assert "1" in bounced.stdout
    program.configure(lambda d: d["configuration_sets"]["default"].pop("rate"))
    program.run("reload")
    program.run("queue", "retry", "--all")
    wait_until(lambda: not program.json("queue", "list"), what="an empty queue")
    reports = [message for message in receiver.messages if message.reverse_path == ""]
    assert len(reports) >= 10
    assert all(report.recipients == ("app@sender.test",) for report in reports)
    ended = sum(
        program.metric(f"relay_recipients_{name}_total")
        for name in ("delivered", "bounced", "suppressed")
    )
    assert program.metric("relay_recipients_accepted_total") == ended
    assert program.metric("relay_recipients_bounced_total", outcome="operator") == len(reports)


def test_a_message_that_waits_can_be_looked_at(program: Program, receiver: Receiver) -> None:
    receiver.behave = lambda stage, text: "451 4.7.1 Greylisted" if stage == "rcpt" else None
    program.start()
    program.send(message_id="<waits@client.test>")
    wait_until(lambda: "Greylisted" in program.run("queue", "list", "--json").stdout)
    [entry] = program.json("queue", "list")
    shown = program.json("queue", "show", entry["message_id"])
    assert shown["deliveries"][0]["attempts"] == 1
    assert "waits@client.test" in shown["header"]
    assert entry["due_at"] > time.time() * 1000
    receiver.behave = lambda stage, text: None
    program.run("queue", "retry", entry["message_id"])
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")


def test_what_became_of_a_message_is_shown_in_the_order_in_which_it_happened(
    program: Program, receiver: Receiver
) -> None:
    def behave(stage: str, text: str) -> Action:
        return "550 5.1.1 Unknown" if stage == "rcpt" and "gone" in text else None

    receiver.behave = behave
    program.start()
    program.send(["to@dest.test", "gone@dest.test"], headers="X-SES-MESSAGE-TAGS: kind=order\r\n")

    def found(*words: str) -> list[str]:
        return [one["message"]["id"] for one in program.json("messages", *words)["messages"]]

    wait_until(
        lambda: len(found("--tag", "kind=order", "--status", "bounced")) == 1, what="the log"
    )
    (message_id,) = found("--recipient", "Gone@dest.test")
    online = program.run("messages", "show", message_id).stdout
    assert program.terminate() == 0
    assert program.run("messages", "show", message_id).stdout == online
    facts, _, timeline = online.partition("recipient  ")
    assert "127.0.0.1, TLSv1.3" in facts
    assert "kind=order" in facts
    order = (
        "to@dest.test",
        "gone@dest.test",
        "Send:",
        "attempt 1 from",
        "<- 550 5.1.1",
        "Delivery:",
    )
    places = [timeline.index(text) for text in order]
    assert places == sorted(places)
    assert "Permanent/NoEmail, mailbox_unknown: 550 5.1.1 Unknown" in timeline


def test_suppression_is_per_recipient_and_the_others_get_their_mail(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    program.run("suppression", "add", "Dead@dest.test")
    program.send(["dead@DEST.test", "alive@dest.test"])
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert receiver.messages[0].recipients == ("alive@dest.test",)
    assert program.metric("relay_recipients_suppressed_total", reason="manual") == 1
    assert "OnAccountSuppressionList" in program.log()


def test_a_test_message_goes_through_the_running_relay(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    sent = program.run("send", "--to", "someone@dest.test")
    assert "250 Ok" in sent.stdout
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")


def test_a_password_can_be_added_and_revoked_while_the_relay_runs(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    added = program.json("credentials", "add", "app")
    password = added["password"]
    with program.client(login=False) as client:
        client.login("app", password)
    program.run("credentials", "revoke", "app", "--yes")

    def refused() -> bool:
        with program.client(login=False) as client:
            try:
                client.login("app", password)
            except smtplib.SMTPAuthenticationError:
                return True
        return False

    wait_until(refused, 10, "the revocation")
