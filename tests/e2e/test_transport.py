"""MTA-STS and DANE with the whole program; policy host, name server and mail hosts on loopback."""

import hashlib
import json
import os
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from tests.delivery.receiver import OFFERED, Receiver
from tests.e2e.internet import Internet, Sender, Sent, skip_unless
from tests.e2e.program import wait_until
from tests.nameserver import SERVFAIL, Answer
from tests.routing.policy_host import PolicyHost, response

_CA = trustme.CA()


def _server(*names: str, ca: trustme.CA = _CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with Internet() as internet:
        yield internet


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, internet: Internet) -> Iterator[Sender]:
    """It believes the authority of these tests, as if that were one of the system's."""

    def change(document: Any) -> None:
        document["transport"] = {"mta_sts": True, "dane": True}
        document["workers"] = 2

    directory = tmp_path_factory.mktemp("relay")
    _CA.cert_pem.write_to_path(str(directory / "ca.pem"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "SSL_CERT_FILE", str(directory / "ca.pem"))
        sender = Sender(directory, internet, change)
        yield sender
        sender.program.stop()


def _publish(internet: Internet, domain: str, mode: str, *, names: str = "") -> PolicyHost:
    """A policy of `domain` for its one MX, served at its policy host."""
    host = f"mta-sts.{domain}"
    address = internet.address()
    server = PolicyHost(_server(names or host), host=address, port=443)
    try:
        internet.start(server)
    except PermissionError:
        skip_unless(False, "no privilege to listen on port 443")
    body = f"version: STSv1\nmode: {mode}\nmx: mx.{domain}\nmax_age: 86400\n"
    server.answer = response(body.encode())
    internet.names.zone[host, "A"] = [address]
    internet.names.zone[f"_mta-sts.{domain}", "TXT"] = ['"v=STSv1; id=1;"']
    return server


def _arrived(receiver: Receiver) -> None:
    wait_until(lambda: receiver.messages, 20, "the message")


def _refused(relay: Sender, receiver: Receiver, sent: Sent) -> str:
    """Why it waits; nothing of it was said to the receiver."""
    reason: str = relay.waiting(sent).last_reply
    assert not receiver.messages
    assert all(session.seen["MAIL"] == 0 for session in receiver.sessions)
    return reason


def test_mta_sts_in_force_delivers_over_a_valid_certificate(
    internet: Internet, relay: Sender
) -> None:
    host = _publish(internet, "good.test", "enforce")
    receiver = internet.domain("good.test", tls=_server("mx.good.test"))
    relay.send("a@good.test")
    _arrived(receiver)
    assert receiver.messages[0].tls
    assert len(host.requests) == 1
    listed = json.loads(relay.program.run("tls", "policies", "--json").stdout)
    assert [(p["domain"], p["mode"]) for p in listed] == [("good.test", "enforce")]


def test_mta_sts_in_force_keeps_mail_from_a_wrong_certificate_also_after_a_restart(
    internet: Internet, relay: Sender
) -> None:
    _publish(internet, "bad.test", "enforce")
    receiver = internet.domain("bad.test", tls=_server("mx.other.test"))
    sent = relay.send("a@bad.test")
    reason = _refused(relay, receiver, sent)
    assert "TLS with mx.bad.test" in reason
    shown = relay.program.run("tls", "show", "bad.test").stdout
    assert "MTA-STS enforce" in shown
    assert "a certificate that is valid for the host (MTA-STS of bad.test)" in shown

    # Whoever can take the record and the policy host away does not turn the policy off.
    del internet.names.zone["_mta-sts.bad.test", "TXT"]
    internet.names.zone["mta-sts.bad.test", "A"] = SERVFAIL
    relay.program.terminate()
    (day,) = json.loads(relay.program.run("tls", "counts", "bad.test", "--json").stdout)
    assert (day["successes"], day["failures"]) == (0, 1)
    relay.program.start()
    before = len(receiver.sessions)
    relay.retry(sent)
    wait_until(lambda: len(receiver.sessions) > before, 20, "another attempt")
    assert "TLS with mx.bad.test" in _refused(relay, receiver, sent)

    # The sender may say that it is to go all the same (RFC 8689).
    relay.send("b@bad.test", subject="x\r\nTLS-Required: No")
    _arrived(receiver)
    assert [message.rcpts for message in receiver.messages] == [["<b@bad.test>"]]


def test_mta_sts_in_testing_delivers_all_the_same(internet: Internet, relay: Sender) -> None:
    _publish(internet, "tested.test", "testing")
    receiver = internet.domain("tested.test", tls=_server("mx.other.test"))
    relay.send("a@tested.test")
    _arrived(receiver)
    assert receiver.messages[0].tls
    failed = relay.program.metric(
        "relay_tls_policy_sessions_total", policy="sts", result="certificate-host-mismatch"
    )
    assert failed >= 1


def test_a_policy_from_a_host_with_a_wrong_certificate_is_none(
    internet: Internet, relay: Sender
) -> None:
    host = _publish(internet, "forged.test", "enforce", names="evil.test")
    receiver = internet.domain("forged.test")
    relay.send("a@forged.test")
    _arrived(receiver)
    assert host.requests == []


def _with_dane(internet: Internet, domain: str, receiver: Receiver, *records: str) -> None:
    """Sign, in effect, all that leads to the one MX of a domain."""
    zone = internet.names.zone
    zone[domain, "MX"] = Answer([f"10 mx.{domain}."], authentic=True)
    zone[f"mx.{domain}", "A"] = Answer(zone[f"mx.{domain}", "A"], authentic=True)  # type: ignore[arg-type]
    zone[f"_25._tcp.mx.{domain}", "TLSA"] = Answer(records, authentic=True)


def test_dane_delivers_to_the_certificate_that_dns_names_and_to_no_other(
    internet: Internet, relay: Sender
) -> None:
    unknown = trustme.CA()
    leaf = unknown.issue_cert("whatever.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    right = internet.domain("dane.test", tls=context)
    _with_dane(internet, "dane.test", right, f"3 0 1 {hashlib.sha256(der).hexdigest()}")
    relay.send("a@dane.test")
    _arrived(right)

    wrong = internet.domain("dane-bad.test", tls=_server("mx.dane-bad.test"))
    _with_dane(internet, "dane-bad.test", wrong, f"3 0 1 {'00' * 32}")
    reason = _refused(relay, wrong, relay.send("a@dane-bad.test"))
    assert "TLSA" in reason
    assert "3 0 1 00" in relay.program.run("tls", "show", "dane-bad.test").stdout


def test_a_start_with_name_servers_that_do_not_validate_the_root_is_warned_of(
    relay: Sender,
) -> None:
    wait_until(lambda: "transport.dane has no effect" in relay.program.log(), 20, "the warning")


def test_broken_tls_is_gone_around_without_a_policy_and_shown(
    internet: Internet, relay: Sender
) -> None:
    script: dict[str, Any] = {"STARTTLS": b"454 4.7.0 no certificate today\r\n"}
    receiver = internet.domain("broken.test", script, extensions=(*OFFERED, "STARTTLS"))
    relay.send("a@broken.test")
    _arrived(receiver)
    assert not receiver.messages[0].tls
    assert "no certificate today" in relay.program.run("tls", "show", "broken.test").stdout


def test_dane_that_cannot_be_looked_up_defers(internet: Internet, relay: Sender) -> None:
    receiver = internet.domain("dane-fails.test", tls=_server("mx.dane-fails.test"))
    _with_dane(internet, "dane-fails.test", receiver)
    internet.names.zone["_25._tcp.mx.dane-fails.test", "TLSA"] = SERVFAIL
    reason = _refused(relay, receiver, relay.send("a@dane-fails.test"))
    assert "could not be looked up" in reason
