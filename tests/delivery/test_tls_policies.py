"""TLS to destinations: opportunistic mail arrives all the same, required TLS is never given up."""

import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.delivery.tls import AuthorityError, TlsContexts
from tests.delivery.conftest import Authority
from tests.delivery.outgoing import Dns, Outgoing, make_config
from tests.delivery.receiver import OFFERED, Do, Receiver, Scripted

_NAMES = Dns(addresses={"mx.test": ["127.0.0.1"]})


def _relay(
    directory: Path, receiver: Receiver, authority: Authority, tls: str, **route: Any
) -> Outgoing:
    config = make_config(directory, route={"to": f"mx.test:{receiver.port}", "tls": tls, **route})
    return Outgoing(config, dns=_NAMES, contexts=authority.contexts)


async def _attempt(relay: Outgoing) -> dict[str, Any]:
    await relay.send("b@example.test", reverse_path="")
    return (await relay.until_attempted())[0]


@pytest.mark.parametrize("tls", ["opportunistic", "require", "verify"])
async def test_mail_goes_under_tls_where_it_is_offered(
    tmp_path: Path, authority: Authority, tls: str
) -> None:
    async with (
        Receiver(tls=authority.server("mx.test")) as receiver,
        _relay(tmp_path, receiver, authority, tls) as relay,
    ):
        assert (await _attempt(relay))["kind"] == "delivered"
        assert relay.metric("relay_tls_sessions_total", direction="out") == 1
    assert receiver.messages[0].tls == "TLSv1.3"


@pytest.mark.parametrize("tls", ["opportunistic", "require"])
async def test_any_certificate_will_do_unless_the_route_says_verify(
    tmp_path: Path, authority: Authority, tls: str
) -> None:
    async with (
        Receiver(tls=authority.server("someone-else.test")) as receiver,
        _relay(tmp_path, receiver, authority, tls) as relay,
    ):
        assert (await _attempt(relay))["kind"] == "delivered"
    assert receiver.messages[0].tls


async def test_verify_wants_the_right_name_and_defers_without_it(
    tmp_path: Path, authority: Authority
) -> None:
    async with (
        Receiver(tls=authority.server("someone-else.test")) as receiver,
        _relay(tmp_path, receiver, authority, "verify") as relay,
    ):
        line = await _attempt(relay)
    assert (line["kind"], line["phase"], line["outcome"]) == ("deferred", "tls", "tls")
    assert "mx.test" in line["reply"]
    assert all(session.seen["MAIL"] == 0 for session in receiver.sessions)


async def test_none_means_never(tmp_path: Path, authority: Authority) -> None:
    async with (
        Receiver(tls=authority.server("mx.test")) as receiver,
        _relay(tmp_path, receiver, authority, "none") as relay,
    ):
        assert (await _attempt(relay))["kind"] == "delivered"
    assert receiver.sessions[0].seen["STARTTLS"] == 0


_BROKEN: list[Scripted] = [
    b"454 4.7.0 not now\r\n",
    b"220 go ahead\r\nthis is not TLS\r\n",
    (b"220 go ahead\r\n", Do.CLOSE),
    Do.CLOSE,
]


@pytest.mark.parametrize("broken", _BROKEN, ids=["454", "garbage", "closed", "no answer"])
async def test_broken_starttls_is_gone_around_in_clear_text_when_opportunistic(
    tmp_path: Path, authority: Authority, broken: Scripted
) -> None:
    async with (
        Receiver({"STARTTLS": broken}, extensions=(*OFFERED, "STARTTLS")) as receiver,
        _relay(tmp_path, receiver, authority, "opportunistic") as relay,
    ):
        assert (await _attempt(relay))["kind"] == "delivered"
        first = len(receiver.sessions)
        await relay.until(lambda: receiver.open == 0)
        await relay.send("c@example.test")
        await receiver.until_messages(2)
    assert receiver.messages[0].tls == ""
    assert first == 2
    # The broken TLS of this host is remembered: the second message does not try again.
    assert sum(session.seen["STARTTLS"] for session in receiver.sessions) == 1


@pytest.mark.parametrize("tls", ["require", "verify"])
@pytest.mark.parametrize(
    "broken", [*_BROKEN, None], ids=["454", "garbage", "closed", "no answer", "stripped"]
)
async def test_required_tls_is_never_given_up(
    tmp_path: Path, authority: Authority, tls: str, broken: Scripted | None
) -> None:
    script = {} if broken is None else {"STARTTLS": broken}
    extensions = OFFERED if broken is None else (*OFFERED, "STARTTLS")
    async with (
        Receiver(script, extensions=extensions) as receiver,
        _relay(tmp_path, receiver, authority, tls) as relay,
    ):
        line = await _attempt(relay)
        assert [entry.recipients for entry in await relay.queue()] == [("b@example.test",)]
    assert (line["kind"], line["phase"]) == ("deferred", "tls")
    assert all(session.seen["MAIL"] == 0 for session in receiver.sessions)


async def test_old_tls_is_no_tls(tmp_path: Path, authority: Authority) -> None:
    old = authority.server("mx.test")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with (
        Receiver(tls=old) as receiver,
        _relay(tmp_path, receiver, authority, "require") as relay,
    ):
        assert (await _attempt(relay))["phase"] == "tls"
    assert all(session.seen["MAIL"] == 0 for session in receiver.sessions)


async def test_implicit_tls_speaks_tls_from_the_first_octet(
    tmp_path: Path, authority: Authority
) -> None:
    async with (
        Receiver(tls=authority.server("mx.test"), implicit_tls=True) as receiver,
        _relay(tmp_path, receiver, authority, "implicit") as relay,
    ):
        assert (await _attempt(relay))["kind"] == "delivered"
    assert receiver.messages[0].tls


async def test_implicit_tls_can_be_verified(tmp_path: Path, authority: Authority) -> None:
    for name, kind in (("mx.test", "delivered"), ("someone-else.test", "deferred")):
        async with (
            Receiver(tls=authority.server(name), implicit_tls=True) as receiver,
            _relay(tmp_path / name, receiver, authority, "implicit_verify") as relay,
        ):
            assert (await _attempt(relay))["kind"] == kind
        assert len(receiver.messages) == (kind == "delivered")


@pytest.mark.parametrize(("tls", "implicit"), [("verify", False), ("implicit_verify", True)])
async def test_a_route_may_have_authorities_of_its_own(
    tmp_path: Path, authority: Authority, tls: str, implicit: bool
) -> None:
    own = trustme.CA()
    own.cert_pem.write_to_path(tmp_path / "own.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("mx.test").configure_cert(server)
    contexts = TlsContexts.make(own=[tmp_path / "own.pem"])
    for route, kind in (({}, "deferred"), ({"ca": tmp_path / "own.pem"}, "delivered")):
        async with Receiver(tls=server, implicit_tls=implicit) as receiver:
            to = {"to": f"mx.test:{receiver.port}", "tls": tls, **route}
            config = make_config(tmp_path / kind, route=to)
            async with Outgoing(config, dns=_NAMES, contexts=contexts) as relay:
                assert (await _attempt(relay))["kind"] == kind


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name, why in (("empty.pem", "holds no certificates"), ("absent.pem", "No such file")):
        with pytest.raises(AuthorityError, match=f"{name}: .*{why}"):
            TlsContexts.make(own=[tmp_path / name])


async def test_implicit_tls_with_a_peer_in_clear_text_is_deferred(
    tmp_path: Path, authority: Authority
) -> None:
    async with (
        Receiver() as receiver,
        _relay(tmp_path, receiver, authority, "implicit") as relay,
    ):
        line = await _attempt(relay)
    assert (line["kind"], line["phase"]) == ("deferred", "tls")


async def test_what_was_put_in_before_the_handshake_is_not_believed(
    tmp_path: Path, authority: Authority
) -> None:
    injected = b"220 go ahead\r\n250-evil.test\r\n250 SIZE 1\r\n"
    async with (
        Receiver({"STARTTLS": injected}, tls=authority.server("mx.test")) as receiver,
        _relay(tmp_path, receiver, authority, "require") as relay,
    ):
        line = await _attempt(relay)
    assert line["kind"] in ("delivered", "deferred")
    assert "SIZE" not in line["reply"]


_LOGIN = {"login": {"username": "relay", "password": "secret"}}


async def test_a_smarthost_is_logged_in_to_under_tls(tmp_path: Path, authority: Authority) -> None:
    async with (
        Receiver(tls=authority.server("mx.test"), login=("relay", "secret")) as receiver,
        _relay(tmp_path, receiver, authority, "opportunistic", **_LOGIN) as relay,
    ):
        assert (await _attempt(relay))["kind"] == "delivered"
    assert receiver.messages[0].login == "relay"
    assert receiver.messages[0].tls


async def test_a_password_is_not_sent_in_clear_text_when_starttls_was_stripped(
    tmp_path: Path, authority: Authority
) -> None:
    async with (
        Receiver(login=("relay", "secret")) as receiver,
        _relay(tmp_path, receiver, authority, "opportunistic", **_LOGIN) as relay,
    ):
        line = await _attempt(relay)
    assert (line["kind"], line["phase"]) == ("deferred", "tls")
    assert all(session.seen["AUTH"] == 0 for session in receiver.sessions)


async def test_a_refused_login_defers_and_never_shows_the_password(
    tmp_path: Path, authority: Authority
) -> None:
    async with (
        Receiver(tls=authority.server("mx.test"), login=("relay", "another")) as receiver,
        _relay(tmp_path, receiver, authority, "require", **_LOGIN) as relay,
    ):
        line = await _attempt(relay)
        lines = repr(relay.lines)
    assert (line["kind"], line["phase"], line["outcome"]) == ("deferred", "auth", "auth")
    assert "535" in line["reply"]
    assert "secret" not in lines
    assert receiver.messages == []
