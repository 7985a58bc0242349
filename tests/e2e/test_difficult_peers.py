"""What real peers do to mail, seen from all sides: the peer, the sender, and the relay's operator.

One program serves all cases. It tries again after two seconds, then after an hour.
"""

import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.store.values import QueueEntry
from tests.delivery.receiver import OFFERED, Do, Scripted, Session
from tests.e2e.internet import Internet, Sender, skip_unless
from tests.e2e.program import wait_until

RETRY_S = 2.0
LATER_S = 3600.0
GREYLISTING_S = 330.0  # as the rule that is shipped says, give or take a tenth
LOCKSTEP = tuple(word for word in OFFERED if word != "PIPELINING")


def has_ipv6() -> bool:
    """Whether this host has ::1, where a server and a source of the tests are."""
    lines = Path("/proc/net/if_inet6")
    return lines.exists() and any(line.startswith("0" * 31 + "1 ") for line in lines.open())


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with Internet() as internet:
        yield internet


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, internet: Internet) -> Iterator[Sender]:
    def change(document: Any) -> None:
        sets = document["configuration_sets"]
        sets["secret"] = {"pool": "default", "tls": "require"}
        sets["both"] = {"pool": "both"}
        both = [{"address": "127.0.0.2"}, *([{"address": "::1"}] if has_ipv6() else [])]
        document["pools"]["both"] = {"sources": both}
        document["retry"] = {"schedule": [f"{RETRY_S:g}s", f"{LATER_S:g}s"], "jitter": 0}
        document["delivery"].update(command_timeout="1s", final_timeout="1s", connect_timeout="2s")

    sender = Sender(tmp_path_factory.mktemp("relay"), internet, change)
    yield sender
    sender.program.stop()


def once(first: Any, then: bytes) -> Scripted:
    """What happens the first time, over all connections, and what ever after."""
    happened: list[bool] = []

    def happen(session: Session, line: str) -> Any:
        happened.append(True)
        return first if len(happened) == 1 else then

    return happen


def is_due_in(due_at: int, seconds: float) -> bool:
    """Whether a time in UTC ms is `seconds` from about now."""
    return seconds - 90 < due_at / 1000 - time.time() <= seconds


def said(waits: QueueEntry) -> str:
    """The last reply as the queue has it, without the name of the host before it."""
    return re.sub(r"^mx\.\S+\[[0-9.:]+\]:25: ", "", waits.last_reply)


# Peers that say later


def test_a_greylisted_message_waits_its_time_and_is_delivered_once(
    relay: Sender, internet: Internet
) -> None:
    grey = once(b"450 4.7.1 Greylisted, see http://postgrey.test/\r\n", b"250 2.1.5 ok\r\n")
    server = internet.domain("grey.test", {"RCPT": grey})
    sent = relay.send("to@grey.test")
    waits = relay.waiting(sent)
    assert said(waits) == "450 4.7.1 Greylisted, see http://postgrey.test/"
    # Not by the schedule of retries, but when greylisting is usually over.
    assert is_due_in(waits.due_at, GREYLISTING_S)
    assert "Greylisted" in relay.shown(sent)
    relay.retry(sent)
    relay.is_over(sent)
    (message,) = server.messages
    assert message.recipients == ["to@grey.test"]
    assert internet.reports(sent) == []


def test_a_421_instead_of_a_greeting_costs_one_attempt(relay: Sender, internet: Internet) -> None:
    busy = (b"421 4.3.2 Closing down, try later\r\n", Do.CLOSE)
    server = internet.domain("busy.test", {"greeting": once(busy, b"220 mx.busy.test ESMTP\r\n")})
    sent = relay.send("to@busy.test")
    waits = relay.waiting(sent)
    assert said(waits) == "421 4.3.2 Closing down, try later"
    assert server.sessions[0].lines == []
    relay.is_over(sent)
    assert len(server.messages) == 1
    assert server.sessions[1].begun - server.sessions[0].begun >= RETRY_S - 0.1
    assert internet.reports(sent) == []


def test_a_421_to_the_next_message_of_a_connection_costs_that_message_nothing(
    relay: Sender, internet: Internet
) -> None:
    def mail(session: Session, line: str) -> Any:
        if session.number == 0 and session.taken:
            return b"421 4.7.0 One message for each connection, goodbye\r\n", Do.CLOSE
        return b"250 2.1.0 ok\r\n"

    server = internet.domain("single.test", {"MAIL": mail})
    first = relay.send("first@single.test")
    wait_until(lambda: server.messages, what="the first message")
    second = relay.send("second@single.test")
    relay.is_over(first)
    wait_until(lambda: len(server.messages) == 2, what="the second message")
    relay.is_over(second)
    assert [session.seen["MAIL"] for session in server.sessions] == [2, 1]
    # It did not wait for a retry: a fresh connection was opened for it at once.
    assert server.messages[1].at - second.at < RETRY_S
    assert internet.reports(second) == []


def test_a_421_in_the_middle_of_a_transaction_defers_every_recipient(
    relay: Sender, internet: Internet
) -> None:
    leaving = (b"421 4.3.2 Shutting down\r\n", Do.CLOSE)
    server = internet.domain("leaving.test", {"RCPT": once(leaving, b"250 2.1.5 ok\r\n")})
    sent = relay.send("a@leaving.test", "b@leaving.test")
    waits = relay.waiting(sent)
    assert said(waits) == "421 4.3.2 Shutting down"
    assert waits.recipients == ("a@leaving.test", "b@leaving.test")
    relay.is_over(sent)
    assert [m.recipients for m in server.messages] == [["a@leaving.test", "b@leaving.test"]]
    assert internet.reports(sent) == []


def test_recipients_of_one_transaction_are_delivered_deferred_and_bounced_each_by_itself(
    relay: Sender, internet: Internet
) -> None:
    answers = {
        "taken": b"250 2.1.5 ok\r\n",
        "later": b"450 4.2.1 mailbox busy\r\n",
        "never": b"550 5.1.1 no such user here\r\n",
    }
    script = {"RCPT": lambda session, line: answers[line.partition("<")[2].partition("@")[0]]}
    server = internet.domain("mixed.test", script)
    sent = relay.send("taken@mixed.test", "later@mixed.test", "never@mixed.test")
    waits = relay.waiting(sent)
    assert waits.recipients == ("later@mixed.test",)
    assert said(waits) == "450 4.2.1 mailbox busy"
    assert internet.report(sent) == {
        "never@mixed.test": ("failed", "5.1.1", "smtp; 550 5.1.1 no such user here")
    }
    shown = relay.shown(sent)
    assert "later@mixed.test" in shown
    assert "450 4.2.1 mailbox busy" in shown
    assert is_due_in(relay.waiting(sent, attempts=2).due_at, LATER_S)
    answers["later"] = b"250 2.1.5 ok\r\n"
    relay.retry(sent)
    relay.is_over(sent)
    assert [m.recipients for m in server.messages] == [["taken@mixed.test"], ["later@mixed.test"]]
    assert len(internet.reports(sent)) == 1
    suppressed = relay.program.json("suppression", "list")
    assert [e["address"] for e in suppressed if "mixed" in e["address"]] == ["never@mixed.test"]


def test_a_connection_dropped_after_the_final_dot_is_tried_again_and_said_to_be_in_doubt(
    relay: Sender, internet: Internet
) -> None:
    server = internet.domain("drop.test", {"end": once(Do.RESET, b"250 2.0.0 taken\r\n")})
    sent = relay.send("to@drop.test")
    waits = relay.waiting(sent)
    assert said(waits).startswith("451 4.4.2 the connection to mx.drop.test[")
    assert "after the end of the message, before its reply" in waits.last_reply
    assert "(it may be delivered twice)" in relay.shown(sent)
    relay.is_over(sent)
    assert len(server.messages) == 1
    assert [session.seen["DATA"] for session in server.sessions] == [1, 1]
    assert internet.reports(sent) == []


# STARTTLS that is offered and does not work

STARTTLS_FAULTS: dict[str, Scripted] = {
    "refused": b"454 4.7.0 TLS not available due to local problem\r\n",
    "garbage": (b"\x00\xff what?\r\n", Do.CLOSE),
    "closed": Do.CLOSE,
    "silent": Do.HANG,
    "handshake": (b"220 2.0.0 go ahead\r\nthis is no TLS record at all\r\n", Do.CLOSE),
    "injected": b"220 2.0.0 go ahead\r\n250 2.0.0 a reply from before the encryption\r\n",
}


@pytest.mark.parametrize("fault", STARTTLS_FAULTS)
def test_broken_starttls_is_passed_over_in_clear_text_and_remembered(
    relay: Sender, internet: Internet, fault: str
) -> None:
    domain = f"{fault}.tls.test"
    script = {"STARTTLS": STARTTLS_FAULTS[fault]}
    offered = (*OFFERED, "STARTTLS")
    server = internet.domain(domain, script, extensions=offered)
    sent = relay.send(f"first@{domain}")
    relay.is_over(sent)
    assert [message.tls for message in server.messages] == [""]
    first, second = server.sessions
    assert first.seen["STARTTLS"] == 1
    assert first.seen["MAIL"] == 0
    assert second.seen["STARTTLS"] == 0
    assert internet.reports(sent) == []


def test_broken_starttls_is_tried_once_for_many_messages(relay: Sender, internet: Internet) -> None:
    offered = (*OFFERED, "STARTTLS")
    script = {"STARTTLS": STARTTLS_FAULTS["refused"], "end": (b"250 2.0.0 ok\r\n", Do.CLOSE)}
    server = internet.domain("often.tls.test", script, extensions=offered)
    for number in range(3):
        sent = relay.send(f"to{number}@often.tls.test")
        relay.is_over(sent)
    assert [session.seen["STARTTLS"] for session in server.sessions] == [1, 0, 0, 0]
    assert len(server.messages) == 3


def test_where_tls_is_required_broken_starttls_defers_and_sends_nothing_in_clear(
    relay: Sender, internet: Internet
) -> None:
    script = {"STARTTLS": once(STARTTLS_FAULTS["refused"], b"220 2.0.0 go ahead\r\n")}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.must.tls.test").configure_cert(tls)
    server = internet.domain("must.tls.test", script, tls=tls)
    sent = relay.send("to@must.tls.test", configuration_set="secret")
    waits = relay.waiting(sent)
    assert said(waits).startswith("454 4.7.0 TLS not available")
    assert server.sessions[0].seen["MAIL"] == 0
    relay.is_over(sent)
    assert [message.tls for message in server.messages] == ["TLSv1.3"]
    assert internet.reports(sent) == []


# What DNS leads to


def test_a_domain_with_a_null_mx_bounces_at_once_without_a_connection(
    relay: Sender, internet: Internet
) -> None:
    server = internet.server("null.test")
    internet.names.zone["null.test", "MX"] = ["0 ."]
    sent = relay.send("to@null.test")
    (told,) = internet.report(sent).values()
    assert told[:2] == ("failed", "5.1.10")
    assert told[2].startswith("smtp; 556 5.1.10 null.test does not accept mail")
    relay.is_over(sent)
    assert server.sessions == []


def test_the_second_mx_gets_the_mail_while_the_first_is_dead_which_is_remembered(
    relay: Sender, internet: Internet
) -> None:
    dead = internet.server("dead.mx.test", {"greeting": Do.HANG})
    alive = internet.server("alive.mx.test", {"end": (b"250 2.0.0 ok\r\n", Do.CLOSE)})
    for domain in ("one.test", "two.test"):
        internet.names.zone[domain, "MX"] = ["10 dead.mx.test.", "20 alive.mx.test."]
    sent = relay.send("to@one.test")
    relay.is_over(sent)
    # Another domain with the same hosts does not wait for the dead one again.
    again = relay.send("to@two.test")
    relay.is_over(again)
    assert [m.recipients for m in alive.messages] == [["to@one.test"], ["to@two.test"]]
    assert len(dead.sessions) == 1
    assert alive.messages[1].at - again.at < 1.0
    assert internet.reports(sent) == internet.reports(again) == []


def test_a_host_that_refuses_connections_gives_way_to_the_next_address(
    relay: Sender, internet: Internet
) -> None:
    server = internet.server("several.test")
    internet.names.zone["several.test", "A"] = [internet.address(), server._host]
    sent = relay.send("to@several.test")
    relay.is_over(sent)
    assert len(server.messages) == 1


def test_a_domain_with_ipv6_only_gets_its_mail_from_the_ipv6_source_of_the_pool(
    relay: Sender, internet: Internet
) -> None:
    skip_unless(has_ipv6(), "this host has no ::1")
    server = internet.domain("six.test", address="::1")
    sent = relay.send("to@six.test", configuration_set="both")
    relay.is_over(sent)
    assert [message.client for message in server.messages] == ["::1"]
    # A pool without an IPv6 address cannot send there, and says so; nothing is borrowed.
    alone = relay.send("alone@six.test")
    waits = relay.waiting(alone)
    assert said(waits).startswith("451 4.4.4 no mail host of ")
    assert "has an IPv4 address, as the source address has" in waits.last_reply
    assert len(server.messages) == 1


# What a peer cannot take


def test_an_address_in_utf8_bounces_where_the_peer_has_no_smtputf8(
    relay: Sender, internet: Internet
) -> None:
    offered = tuple(word for word in OFFERED if word != "SMTPUTF8")
    server = internet.domain("ascii.test", extensions=offered)
    sent = relay.send("käthe@ascii.test", options=("SMTPUTF8", "BODY=8BITMIME"))
    wait_until(lambda: internet.reports(sent), what="the report")
    content = internet.reports(sent)[0].as_string()
    assert "5.6.7" in content
    assert "mx.ascii.test does not take such mail (no SMTPUTF8)" in content.replace("\n", " ")
    assert server.messages == []
    assert server.sessions[0].seen["MAIL"] == 0


def test_mail_in_ascii_goes_to_a_peer_without_smtputf8_though_the_client_said_it(
    relay: Sender, internet: Internet
) -> None:
    offered = tuple(word for word in OFFERED if word != "SMTPUTF8")
    server = internet.domain("plain.test", extensions=offered)
    sent = relay.send("to@plain.test", options=("SMTPUTF8",))
    relay.is_over(sent)
    (message,) = server.messages
    assert "SMTPUTF8" not in message.mail


def test_a_message_beyond_the_size_of_the_peer_bounces_before_it_is_sent(
    relay: Sender, internet: Internet
) -> None:
    offered = (*(word for word in OFFERED if not word.startswith("SIZE")), "SIZE 2000")
    server = internet.domain("small.test", extensions=offered)
    sent = relay.send("to@small.test", body="0123456789abcdef\r\n" * 200)
    (told,) = internet.report(sent).values()
    assert told[:2] == ("failed", "5.3.4")
    assert "mx.small.test takes at most 2,000" in told[2].replace("\n", "")
    assert server.sessions[0].seen["MAIL"] == 0


def test_8_bit_content_bounces_where_the_peer_has_no_8bitmime(
    relay: Sender, internet: Internet
) -> None:
    offered = tuple(word for word in OFFERED if word not in ("8BITMIME", "SMTPUTF8"))
    server = internet.domain("seven.test", extensions=offered)
    sent = relay.send("to@seven.test", body="K\u00e4se\r\n", options=("BODY=8BITMIME",))
    (told,) = internet.report(sent).values()
    assert told[:2] == ("failed", "5.6.3")
    assert server.messages == []
    plain = relay.send("to@seven.test", options=("BODY=8BITMIME",))
    relay.is_over(plain)
    assert ["BODY" in message.mail for message in server.messages] == [False]


# Pipelining


def test_commands_go_together_only_to_a_peer_that_offers_pipelining(
    relay: Sender, internet: Internet
) -> None:
    pipelined = internet.domain("together.test")
    lockstep = internet.domain("one-by-one.test", extensions=LOCKSTEP)
    for domain in ("together.test", "one-by-one.test"):
        relay.is_over(relay.send(f"a@{domain}", f"b@{domain}"))
    assert pipelined.sessions[0].ahead == ["MAIL", "RCPT", "RCPT"]
    assert lockstep.sessions[0].ahead == []
    assert len(pipelined.messages) == len(lockstep.messages) == 1


def test_a_peer_that_offers_pipelining_and_cannot_do_it_is_spoken_to_command_by_command(
    relay: Sender, internet: Internet
) -> None:
    server = internet.domain("liar.test", {"MAIL": (b"250 2.1.0 ok\r\n", Do.DEAFEN)})
    sent = relay.send("to@liar.test")
    relay.is_over(sent)
    assert len(server.messages) == 1
    assert server.messages[0].at - sent.at < RETRY_S
    assert [session.ahead for session in server.sessions] == [["MAIL"], []]
    assert internet.reports(sent) == []
