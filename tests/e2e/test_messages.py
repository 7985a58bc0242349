"""Messages from end to end: what arrives of them, what becomes known of them, and their sum."""

import base64
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import PASSWORD, Program, letter, wait_until
from tests.e2e.receiver import SILENCE, Action, Receiver
from tests.nameserver import SERVFAIL, NameServer

UNUSUAL = {
    '"a b"@dest.test': '"a b"@dest.test',
    '"a>b"@dest.test': '"a>b"@dest.test',
    '"quo\\"ted\\\\"@dest.test': '"quo\\"ted\\\\"@dest.test',
    "per%cent@dest.test": "per%cent@dest.test",
    "o'neil+tag=x@dest.test": "o'neil+tag=x@dest.test",
    "Upper.Case@dest.test": "Upper.Case@dest.test",
    "a@[192.0.2.1]": "a@[192.0.2.1]",
    "@one.test,@two.test:routed@dest.test": "routed@dest.test",
}


def test_unusual_addresses_arrive_as_they_were_given(program: Program, receiver: Receiver) -> None:
    asked: list[str] = []

    def note(stage: str, text: str) -> Action:
        if stage == "rcpt":
            asked.append(text.partition(":")[2])
        return None

    receiver.behave = note
    program.start()
    with program.client() as client:
        client.docmd("MAIL", "FROM:<app@sender.test>")
        for given in UNUSUAL:
            assert client.docmd("RCPT", f"TO:<{given}>")[0] == 250
        assert client.data(letter())[0] == 250
    wait_until(lambda: len(asked) == len(UNUSUAL), what="delivery to all")
    assert set(asked) == {f"<{wanted}>" for wanted in UNUSUAL.values()}


def test_a_message_shows_its_way_and_neither_login_nor_hidden_recipients(
    program: Program, receiver: Receiver
) -> None:
    password = "a password of the backend"
    program.configure(lambda d: d["credentials"].update({"backend-7": {"password": password}}))
    program.start()
    with program.client(login=False) as client:
        client.login("backend-7", password)
        client.sendmail(
            "app@sender.test", ["to@dest.test"], letter("Bcc: hidden@dest.test\r\n"), ["AUTH=<>"]
        )
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    content = receiver.messages[0].content.lower()
    assert receiver.messages[0].header("Received").startswith("from ")
    fields = [line for line in content.split(b"\r\n") if line[:1].isalpha() and b":" in line]
    names = [field.partition(b":")[0] for field in fields]
    assert names.index(b"received") < names.index(b"from")
    for secret in (password, "backend-7", "hidden@dest.test", "bcc:"):
        assert secret.encode() not in content
        assert base64.b64encode(secret.encode()).lower() not in content


def test_a_message_that_goes_in_circles_is_refused(program: Program, receiver: Receiver) -> None:
    hop = "Received: from a.test by b.test; Tue, 24 Nov 2026 12:00:00 +0000\r\n"
    program.start()
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        program.send(headers=hop * 101)
    assert refusal.value.smtp_code == 554
    assert b"5.4.6" in refusal.value.smtp_error
    program.send(headers=hop * 100)
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")


def test_a_message_is_acknowledged_before_its_destination_has_said_a_word(
    program: Program, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: SILENCE
    program.configure(lambda d: d.update(shutdown={"grace": "1s"}))
    program.start()
    program.send()
    wait_until(lambda: receiver.connections == 1, what="a connection to the destination")
    assert receiver.messages == []
    assert len(program.json("queue", "list")) == 1


def test_no_secret_is_in_the_log_the_metrics_or_the_process_list(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda d: d.setdefault("logging", {}).update(level="debug"))
    program.start()
    plain = base64.b64encode(f"\0app\0{PASSWORD}".encode()).decode()
    with program.client(login=False) as client:
        assert client.docmd("AUTH", f"PLAIN {plain}")[0] == 235
        # A login where none is expected, a line that is too long, one that is no command.
        for line in (f"AUTH PLAIN {plain}", f"NOOP {PASSWORD}" * 300, f"PASS {PASSWORD}"):
            client.docmd(line)
        client.sendmail("app@sender.test", ["to@dest.test"], letter(body="nobody may read\r\n"))
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    metrics = program.http("/metrics")[1]
    assert program.process is not None
    started_as = Path(f"/proc/{program.process.pid}/cmdline").read_bytes().decode()
    assert program.terminate() == 0
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    for secret in (PASSWORD, plain, encoded, "nobody may read"):
        assert secret not in program.log()
        assert secret not in metrics
        assert secret not in started_as
    assert "to@dest.test" not in metrics


def test_what_was_accepted_is_delivered_bounced_suppressed_or_queued(
    program: Program, receiver: Receiver
) -> None:
    def behave(stage: str, text: str) -> Action:
        if stage == "rcpt" and "later" in text:
            return "450 4.2.1 Not now"
        return "550 5.1.1 Unknown" if stage == "rcpt" and "unknown" in text else None

    receiver.behave = behave
    program.start()
    program.run("suppression", "add", "gone@dest.test")
    kinds = ("to", "later", "unknown", "gone")
    for number in range(3):
        for kind in kinds:
            name = kind if kind == "gone" else f"{kind}{number}"
            program.send([f"{name}@dest.test"], message_id=f"<{number}.{kind}@client.test>")

    def counts() -> dict[str, float]:
        return {
            name: program.metric(f"relay_recipients_{name}_total")
            for name in ("accepted", "delivered", "bounced", "suppressed")
        }

    def add_up() -> bool:
        found, queued = counts(), program.metric("relay_queue_deliveries")
        ended = found["delivered"] + found["bounced"] + found["suppressed"]
        return found["accepted"] == ended + queued and queued == 3

    wait_until(lambda: len(receiver.messages) == 3 + 3, what="delivery of mail and reports")
    wait_until(add_up, what="the sum")
    found = counts()
    # The relay's own reports count as accepted, as any mail does.
    assert found == {"accepted": 12 + 3, "delivered": 3 + 3, "bounced": 3, "suppressed": 3}
    receiver.behave = lambda stage, text: None
    program.run("queue", "retry", "--all")
    wait_until(lambda: program.metric("relay_queue_deliveries") == 0, what="an empty queue")
    assert counts() == {**found, "delivered": 3 + 3 + 3}


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


def test_what_dns_knows_for_certain_bounces_and_what_it_does_not_waits(
    program: Program, receiver: Receiver, name_server: NameServer
) -> None:
    name_server.zone = {
        ("null.test", "MX"): ["0 ."],
        ("broken.test", "MX"): SERVFAIL,
        ("broken.test", "A"): ["127.0.0.1"],
        ("inward.test", "MX"): ["10 inside.test."],
        ("inside.test", "A"): ["127.0.0.1"],
    }
    sink = f"127.0.0.1:{receiver.port}"

    def change(document) -> None:
        document["routes"] = {"sender.test": {"to": sink}, "*": {"to": "mx"}}
        document["delivery"] = {"nameservers": [name_server.text]}

    def waiting() -> dict[str, str]:
        return {entry["domain"]: entry["last_reply"] for entry in program.json("queue", "list")}

    program.configure(change)
    program.start()
    for name in ("unknown", "null", "broken", "inward"):
        program.send([f"to@{name}.test"])
    wait_until(lambda: len(receiver.messages) == 2, what="the reports")
    reports = b"".join(message.content for message in receiver.messages)
    assert b"550 5.1.2 the domain unknown.test does not exist" in reports
    assert b"556 5.1.10 null.test does not accept mail" in reports
    wait_until(lambda: len(waiting()) == 2 and all(waiting().values()), what="two attempts")
    assert "451 4.4.3" in waiting()["broken.test"]
    assert "451 4.4.4" in waiting()["inward.test"]
    assert "broken.test A" not in name_server.asked
