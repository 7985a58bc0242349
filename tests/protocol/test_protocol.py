"""Every line of the tables holds against the server. See `dialogue` for how they are written."""

import base64
import re
import smtplib
import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import table_content, table_limits, table_order, table_syntax, table_tls
from tests.protocol.dialogue import Case, Player, Server

CASES: list[Case] = [
    *table_order.CASES,
    *table_tls.CASES,
    *table_syntax.CASES,
    *table_limits.CASES,
    *table_content.CASES,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dialogue(server: Server, case: Case) -> None:
    Player(server, case.implicit_tls).play(case.script)


@pytest.mark.parametrize("look_alike", table_content.LOOK_ALIKES)
def test_nothing_but_the_end_of_data_ends_data(server: Server, look_alike: str) -> None:
    before = len(server.accepted())
    Player(server).play(table_content.smuggling(look_alike))
    accepted = server.accepted()[before:]
    assert len(accepted) <= 1
    assert all(mail.recipients == (server.recipient,) for mail in accepted)
    assert all(mail.reverse_path == server.sender for mail in accepted)


@pytest.mark.parametrize(("more", "reply"), [(0, 250), (1, 552)])
def test_the_size_limit_is_exact(server: Server, more: int, reply: int) -> None:
    header = f"From: <{server.sender}>\r\n\r\n".encode()
    limit = server.fields["message_size"]
    assert isinstance(limit, int)
    with _client(server) as client:
        client.docmd("MAIL", f"FROM:<{server.sender}>")
        client.docmd("RCPT", f"TO:<{server.recipient}>")
        client.docmd("DATA")
        # Dots that are doubled for the way do not count.
        body = b".." + b"x" * (limit - len(header) - 3 + more) + b"\r\n"
        client.send(header + body + b".\r\n")
        assert client.getreply()[0] == reply


_VERBS = [
    b"EHLO", b"HELO", b"MAIL FROM:", b"RCPT TO:", b"RSET", b"NOOP", b"VRFY", b"EXPN", b"FROB", b"",
    b"DATA \0", b"QUIT now", b"STARTTLS x", b"MAIL FROM:<{sender}> ", b"RCPT TO:<b@example.test> ",
]  # fmt: skip
_LINES = st.lists(
    st.builds(bytes.__add__, st.sampled_from(_VERBS), st.binary(max_size=700)).filter(
        lambda line: b"\r\n" not in line and not line.endswith(b"\r")
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(lines=_LINES)
def test_every_line_gets_one_reply_that_is_well_formed(server: Server, lines: list[bytes]) -> None:
    """All in one write. A last command, whose reply nothing else gets, ends the counting."""
    sender = server.sender.encode()
    with _client(server) as client:
        assert client.sock is not None
        sent = [line.replace(b"{sender}", sender) for line in lines]
        client.sock.sendall(b"".join(line + b"\r\n" for line in [*sent, b"HELP"]))
        heard = b""
        while not re.search(rb"^214 [^\n]*\n\Z", heard, re.MULTILINE):
            more = client.sock.recv(65_536)
            assert more, f"the server closed after {heard!r}"
            heard += more
    replies = heard.splitlines(keepends=True)
    assert all(re.fullmatch(rb"[2-5]\d\d[ -][ -~]*\r\n", line) for line in replies)
    assert all(len(line) <= 512 for line in replies)
    assert sum(line[3:4] == b" " for line in replies) == len(lines) + 1


def _client(server: Server) -> smtplib.SMTP:
    client = smtplib.SMTP(server.host, server.port, timeout=server.patience)
    client.starttls(context=server.tls)
    client.login(server.username, server.password)
    return client


@pytest.mark.parametrize("content", table_content.CONTENTS, ids=lambda content: content.name)
def test_a_body_arrives_as_it_was_sent(server: Server, content: table_content.Content) -> None:
    header = f"From: <{server.sender}>\r\nSubject: {content.name}\r\n\r\n".encode()
    with _client(server) as client:
        client.docmd("MAIL", f"FROM:<{server.sender}> BODY=8BITMIME")
        client.docmd("RCPT", f"TO:<{server.recipient}>")
        assert client.docmd("DATA")[0] == 354
        client.send(header + content.sent + b".\r\n")
        assert client.getreply()[0] == 250
    assert server.accepted()[-1].body == content.arrives


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_message_may_come_in_octets_of_any_grouping(server: Server, size: int) -> None:
    content = f"From: <{server.sender}>\r\n\r\n..dot\r\n.\r\nNOOP\r\n".encode()
    with _client(server) as client:
        client.docmd("MAIL", f"FROM:<{server.sender}>")
        client.docmd("RCPT", f"TO:<{server.recipient}>")
        client.docmd("DATA")
        for at in range(0, len(content), size):
            client.send(content[at : at + size])
        assert client.getreply()[0] == 250
        assert client.getreply()[0] == 250
    assert server.accepted()[-1].body == b".dot\r\n"


def test_extensions_before_and_inside_tls(server: Server) -> None:
    with smtplib.SMTP(server.host, server.port, timeout=server.patience) as client:
        client.ehlo("client.test")
        clear = set(client.esmtp_features)
        client.starttls(context=server.tls)
        client.ehlo("client.test")
        encrypted = set(client.esmtp_features)
        common = {"pipelining", "size", "8bitmime", "smtputf8", "dsn", "enhancedstatuscodes"}
        assert clear == common | {"starttls"}
        assert encrypted == common | {"auth"}
        assert set(client.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(server: Server, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with smtplib.SMTP(server.host, server.port, timeout=server.patience) as client:
        with pytest.raises((ssl.SSLError, OSError)):
            client.starttls(context=context)
        client.close()


def test_clear_text_after_the_end_of_tls_is_not_read(server: Server) -> None:
    """A close_notify in the middle of content, then commands in the clear: the session is dead."""
    before = len(server.accepted())
    with socket.create_connection((server.host, server.port), server.patience) as connection:
        _read_reply(connection)
        connection.sendall(b"STARTTLS\r\n")
        _read_reply(connection)
        tls = server.tls.wrap_socket(
            connection, server_hostname="localhost", suppress_ragged_eofs=True
        )
        plain = base64.b64encode(f"\0{server.username}\0{server.password}".encode())
        for command in (
            b"EHLO client.test",
            b"AUTH PLAIN " + plain,
            b"MAIL FROM:<%b>" % server.sender.encode(),
            b"RCPT TO:<%b>" % server.recipient.encode(),
            b"DATA",
        ):
            tls.sendall(command + b"\r\n")
            _read_reply(tls)
        tls.sendall(b"From: <%b>\r\n\r\nhalf" % server.sender.encode())
        try:
            clear = tls.unwrap()
            clear.sendall(b"\r\n.\r\nNOOP\r\n")
            assert clear.recv(100) == b""
            clear.close()
        except OSError:
            tls.close()
    assert len(server.accepted()) == before


def _read_reply(connection: socket.socket) -> bytes:
    """One reply: up to the line whose code is followed by a space."""
    reply = b""
    while True:
        octets = connection.recv(4096)
        assert octets, f"the server closed after {reply!r}"
        reply += octets
        if reply.endswith(b"\r\n") and reply[:-2].rpartition(b"\r\n")[2][3:4] == b" ":
            return reply
