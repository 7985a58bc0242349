import asyncio
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from relay.admin.control import ListenerStatus
from relay.cli.authority import make_certificates
from relay.cli.failures import CommandFailed
from relay.cli.send import choose_listener

PASSWORD = "a password for one login"


@dataclass
class Front:
    """A front end that takes mail of `app` and remembers it."""

    replies: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)

    def authenticate(self, server, session, envelope, mechanism, given):
        right = (given.login, given.password) == (b"app", PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.replies.get("RCPT", "250 OK")

    async def handle_DATA(self, server, session, envelope):
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
        return self.replies.get("DATA", "250 Ok 0100-an-id")


@pytest.fixture(scope="module")
def certificates():
    return make_certificates("relay.test", (), datetime.now(UTC))


@pytest.fixture
def front(running, config_path, certificates):
    """A running relay with a front end behind its listeners `main` and `implicit`."""
    relay, on_its_loop = running
    tls = config_path.parent / "tls"
    tls.mkdir()
    (tls / "cert.pem").write_bytes(certificates.certificate)
    (tls / "key.pem").write_bytes(certificates.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
    found = Front()

    async def listen():
        loop = asyncio.get_running_loop()

        def session(**options):
            return SMTP(found, authenticator=found.authenticate, hostname="relay.test", **options)

        starttls = await loop.create_server(
            lambda: session(tls_context=context, require_starttls=True), "127.0.0.1", 0
        )
        implicit = await loop.create_server(
            lambda: session(auth_require_tls=False), "127.0.0.1", 0, ssl=context
        )
        return starttls, implicit

    async def end(servers):
        for server in servers:
            server.close()
        # A session that its client has left needs a turn of the loop to close its transport.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "SMTP._handle_client" in repr(task):
                await asyncio.wait({task}, timeout=5)

    servers = on_its_loop(listen())
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    relay.passwords = {"app": PASSWORD}
    relay.listeners = (
        ListenerStatus("implicit", f"127.0.0.1:{ports[1]}", "implicit"),
        ListenerStatus("main", f"0.0.0.0:{ports[0]}", "starttls"),
    )
    yield found
    on_its_loop(end(servers))


def test_a_message_goes_through_the_running_relay_with_a_one_time_password(run, front):
    ran = run("send", "--to", "a@one.test", "--to", "b@two.test", "--configuration-set", "news")
    assert (ran.code, ran.out) == (0, "250 Ok 0100-an-id\n")
    ((sender, recipients, content),) = front.taken
    assert sender == "relay-test@sender.test"
    assert recipients == ["a@one.test", "b@two.test"]
    assert b"X-SES-CONFIGURATION-SET: news\r\n" in content
    assert b"Subject: Test message from relay\r\n" in content


def test_implicit_tls_is_spoken_where_that_listener_is_named(run, front):
    ran = run("send", "--to", "a@one.test", "--listener", "implicit", "--json")
    assert ran.json["reply"] == "Ok 0100-an-id"


def test_a_password_may_come_from_a_file(run, front, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    arguments = ("--credential", "app", "--password-file", file, "--subject", "Grüße")
    ran = run("send", "--to", "a@one.test", *arguments)
    assert ran.code == 0
    assert PASSWORD not in ran.out + ran.err


def test_a_refusal_is_shown_with_the_command_it_met(run, front):
    front.replies["RCPT"] = "550 5.1.1 no such user"
    ran = run("send", "--to", "a@one.test")
    assert ran.code == 1
    assert ran.err == "refused at RCPT a@one.test: 550 5.1.1 no such user\n"
    front.replies = {"DATA": "454 4.7.0 Throttling failure"}
    ran = run("send", "--to", "a@one.test", "--json")
    assert ran.code == 1
    assert ran.json == {
        "accepted": False,
        "code": 454,
        "reply": "4.7.0 Throttling failure",
        "refused_at": "the end of data",
    }


def test_a_wrong_password_is_a_refused_login(run, front, tmp_path):
    file = tmp_path / "password"
    file.write_text("wrong password")
    ran = run("send", "--to", "a@one.test", "--password-file", file)
    assert ran.code == 1
    assert "refused at login: 535" in ran.err


def test_no_certificate_but_the_configured_one_is_trusted(run, front, config_path):
    other = make_certificates("relay.test", (), datetime.now(UTC))
    (config_path.parent / "tls" / "cert.pem").write_bytes(other.certificate)
    ran = run("send", "--to", "a@one.test")
    assert ran.code == 1
    assert "TLS with 127.0.0.1:" in ran.err
    assert front.taken == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--to", "nobody"), "--to 'nobody' is not an address"),
        (("--to", "a@one.test", "--from", "a@foreign.test"), "belongs to no identity"),
        (("--to", "a@one.test", "--credential", "nope"), "no credential nope"),
        (("--to", "a@one.test", "--listener", "nope"), "there are: implicit, main"),
        (("--to", "a@one.test", "--subject", "a\r\nBcc: x@y.test"), "cannot stand in a header"),
    ],
)
def test_what_cannot_be_sent_is_told_and_nothing_is_sent(run, front, arguments, why):
    ran = run("send", *arguments)
    assert ran.code == 1
    assert why in ran.err
    assert front.taken == []


def test_the_listener_for_what_comes_back_is_never_chosen():
    returns = ListenerStatus("returns", "127.0.0.1:25", "starttls")
    clients = ListenerStatus("submissions", "127.0.0.1:465", "implicit")
    assert choose_listener((returns, clients), "") == clients
    with pytest.raises(CommandFailed, match="no listener returns is open"):
        choose_listener((returns, clients), "returns")
