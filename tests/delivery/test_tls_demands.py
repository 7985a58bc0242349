"""Connections under the policy of a domain: MTA-STS and DANE over real TLS, never given up."""

import hashlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.delivery.connections import Connection, Connections
from relay.delivery.failures import ConnectFailure
from relay.delivery.path import Path as Way
from relay.observe.metrics import Metrics
from relay.routing.mta_sts import StsPolicy
from relay.routing.mx import Exchange
from relay.routing.plan import Destination, Host
from relay.routing.sites import Site
from relay.routing.tlsa import HostTlsa, Tlsa
from relay.routing.transport import OPPORTUNISTIC, TransportPolicy
from tests.delivery.conftest import Authority
from tests.delivery.outgoing import make_config
from tests.delivery.receiver import OFFERED, Do, Receiver, Scripted

_PATTERNS = ("mx.test", "mx2.test")
_ENFORCE = TransportPolicy(StsPolicy("a.test", "1", "enforce", _PATTERNS, 86400))
_TESTING = TransportPolicy(StsPolicy("a.test", "1", "testing", _PATTERNS, 86400))
_DANE = TransportPolicy(dane=True)


class _Opener:
    """Opens connections for one domain under a policy."""

    def __init__(
        self, directory: Path, authority: Authority, policy: TransportPolicy, tls: Any
    ) -> None:
        config = make_config(directory)
        self.connections = Connections(config, Metrics(), contexts=authority.contexts)
        site = Site("mx", "mx.test", (Exchange(0, "mx.test"),), policy=policy)
        self.way = Way("127.0.0.2", 4, "relay.test", Destination("mx", tls=tls), site)

    async def open(self, *hosts: Host) -> Connection:
        return await self.connections.open(self.way, hosts)

    async def refused(self, *hosts: Host) -> ConnectFailure:
        with pytest.raises(ConnectFailure) as caught:
            await self.open(*hosts)
        return caught.value


@pytest.fixture
def opener(tmp_path: Path, authority: Authority) -> Any:
    made: list[_Opener] = []

    def make(policy: TransportPolicy, tls: str = "opportunistic") -> _Opener:
        made.append(_Opener(tmp_path, authority, policy, tls))
        return made[-1]

    yield make
    for each in made:
        each.connections.close()


def _host(receiver: Receiver, name: str = "mx.test", tlsa: HostTlsa | None = None) -> Host:
    return Host(name, "127.0.0.1", receiver.port, tlsa or HostTlsa())


def _results(sessions: Sequence[Any]) -> list[tuple[str, str]]:
    return [(session.demand.policy_type, session.result) for session in sessions]


def _mail_was_said(receiver: Receiver) -> bool:
    return any(session.seen["MAIL"] for session in receiver.sessions)


# MTA-STS


async def test_enforce_is_content_with_a_valid_certificate_of_a_host_it_names(
    opener: Any, authority: Authority
) -> None:
    async with Receiver(tls=authority.server("mx.test")) as receiver:
        connection = await opener(_ENFORCE).open(_host(receiver))
        assert connection.peer.tls == "TLSv1.3"
    assert _results(connection.sessions) == [("sts", "")]


def _expired(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    authority.ca.issue_cert("mx.test", not_after=long_ago).configure_cert(context)
    return context


def _untrusted(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.test").configure_cert(context)
    return context


def _of_another(authority: Authority) -> ssl.SSLContext:
    return authority.server("someone-else.test")


_BAD = [
    (_of_another, "certificate-host-mismatch"),
    (_expired, "certificate-expired"),
    (_untrusted, "certificate-not-trusted"),
]
_BAD_IDS = ["wrong name", "expired", "unknown authority"]


@pytest.mark.parametrize(("server", "result"), _BAD, ids=_BAD_IDS)
@pytest.mark.parametrize("tls", ["opportunistic", "require", "verify"])
async def test_enforce_refuses_a_bad_certificate_and_nothing_goes_in_clear_text(
    opener: Any, authority: Authority, server: Any, result: str, tls: str
) -> None:
    async with Receiver(tls=server(authority)) as receiver:
        failure = await opener(_ENFORCE, tls).refused(_host(receiver))
        assert len(receiver.sessions) == 1
    assert (failure.phase, failure.reply.code) == ("tls", 451)
    assert failure.reply.text.endswith("(MTA-STS of a.test)")
    assert _results(failure.sessions) == [("sts", result)]


async def test_enforce_refuses_a_host_that_no_longer_offers_starttls(opener: Any) -> None:
    async with Receiver() as receiver:
        failure = await opener(_ENFORCE).refused(_host(receiver))
        assert len(receiver.sessions) == 1
    assert failure.reply.enhanced == "4.7.10"
    assert "MTA-STS of a.test" in failure.reply.text
    assert _results(failure.sessions) == [("sts", "starttls-not-supported")]


_BROKEN: list[Scripted] = [
    b"454 4.7.0 not now\r\n",
    b"220 go ahead\r\nthis is not TLS\r\n",
    (b"220 go ahead\r\n", Do.CLOSE),
]


@pytest.mark.parametrize("broken", _BROKEN, ids=["454", "garbage", "closed"])
@pytest.mark.parametrize("policy", [_ENFORCE, _DANE], ids=["sts", "dane"])
async def test_broken_starttls_is_not_gone_around_where_a_policy_holds(
    opener: Any, broken: Scripted, policy: TransportPolicy
) -> None:
    tlsa = HostTlsa("found", (Tlsa(3, 1, 1, bytes(32)),), "mx.test")
    script = {"STARTTLS": broken}
    async with Receiver(script, extensions=(*OFFERED, "STARTTLS")) as receiver:
        failure = await opener(policy).refused(_host(receiver, tlsa=tlsa))
        assert len(receiver.sessions) == 1
    assert failure.phase == "tls"


async def test_a_host_that_the_policy_does_not_name_is_never_connected_to(
    opener: Any, authority: Authority
) -> None:
    async with Receiver(tls=authority.server("evil.test")) as receiver:
        failure = await opener(_ENFORCE).refused(_host(receiver, "evil.test"))
        assert receiver.sessions == []
    assert "the MTA-STS policy of a.test does not name it" in failure.reply.text
    assert failure.reply.is_transient
    assert _results(failure.sessions) == [("sts", "validation-failure")]


async def test_the_hosts_that_a_policy_names_are_tried_before_others_use_up_the_tries(
    opener: Any, authority: Authority
) -> None:
    async with Receiver(tls=authority.server("mx.test")) as receiver:
        others = [Host(f"evil{n}.test", "192.0.2.1", 25) for n in range(8)]
        connection = await opener(_ENFORCE).open(*others, _host(receiver))
    assert connection.peer.name == "mx.test"


async def test_a_host_that_does_not_fulfil_a_policy_comes_last_for_its_domain_and_no_other(
    opener: Any, authority: Authority
) -> None:
    strict, other = opener(_ENFORCE), opener(OPPORTUNISTIC)
    other.connections = strict.connections
    async with (
        Receiver(tls=authority.server("wrong.test")) as first,
        Receiver(tls=authority.server("mx2.test")) as second,
    ):
        hosts = _host(first), _host(second, "mx2.test")
        for _ in range(2):
            assert (await strict.open(*hosts)).peer.name == "mx2.test"
        assert len(first.sessions) == 1  # it was remembered
        assert (await other.open(*hosts)).peer.name == "mx.test"
        named = _host(first, "evil.test"), _host(second, "mx2.test")
        assert (await strict.open(*named)).peer.name == "mx2.test"
        assert (await other.open(*named)).peer.name == "evil.test"


async def test_tls_older_than_1_2_does_not_fulfil_a_policy(
    opener: Any, authority: Authority, recwarn: Any
) -> None:
    old = authority.server("mx.test")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    recwarn.clear()
    async with Receiver(tls=old) as receiver:
        failure = await opener(_ENFORCE).refused(_host(receiver))
    assert failure.phase == "tls"


# MTA-STS in testing


@pytest.mark.parametrize(("server", "result"), _BAD, ids=_BAD_IDS)
async def test_testing_delivers_all_the_same_and_counts_what_would_have_failed(
    opener: Any, authority: Authority, server: Any, result: str
) -> None:
    opener = opener(_TESTING)
    async with Receiver(tls=server(authority)) as receiver:
        connection = await opener.open(_host(receiver))
        assert connection.peer.tls  # encrypted, if not verified
        assert _results(connection.sessions) == [("sts", result)]
        first = len(receiver.sessions)
        again = await opener.open(_host(receiver))
        assert _results(again.sessions) == [("sts", result)]
        assert len(receiver.sessions) == first + 1  # what fails is known, and not tried again


async def test_testing_delivers_in_clear_text_and_to_hosts_it_does_not_name(
    opener: Any, authority: Authority
) -> None:
    async with Receiver() as receiver:
        connection = await opener(_TESTING).open(_host(receiver))
        assert connection.peer.tls == ""
        assert _results(connection.sessions) == [("sts", "starttls-not-supported")]
    async with Receiver(tls=authority.server("evil.test")) as receiver:
        connection = await opener(_TESTING).open(_host(receiver, "evil.test"))
        assert connection.peer.tls
        assert _results(connection.sessions) == [("sts", "validation-failure")]


async def test_testing_counts_a_success_where_all_is_well(
    opener: Any, authority: Authority
) -> None:
    async with Receiver(tls=authority.server("mx.test")) as receiver:
        connection = await opener(_TESTING).open(_host(receiver))
        assert len(receiver.sessions) == 1
    assert _results(connection.sessions) == [("sts", "")]


async def test_testing_does_not_weaken_what_the_operator_requires(
    opener: Any, authority: Authority
) -> None:
    async with Receiver() as receiver:
        failure = await opener(_TESTING, "require").refused(_host(receiver))
    assert failure.phase == "tls"
    async with Receiver(tls=_of_another(authority)) as receiver:
        failure = await opener(_TESTING, "verify").refused(_host(receiver))
    assert failure.phase == "tls"


# DANE


def _certified(*names: str) -> tuple[ssl.SSLContext, bytes, bytes]:
    """A server of an authority that nobody knows: its context, its own certificate, the other's."""
    ca = trustme.CA()
    leaf = ca.issue_cert(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = b"".join([*(pem.bytes() for pem in leaf.cert_chain_pems), ca.cert_pem.bytes()])
    with trustme.Blob(leaf.private_key_pem.bytes() + chain).tempfile() as file:
        context.load_cert_chain(file)
    own, *_ = (ssl.PEM_cert_to_DER_cert(p.bytes().decode()) for p in leaf.cert_chain_pems)
    return context, own, ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode())


def _tlsa(usage: int, der: bytes, base: str = "mx.test") -> HostTlsa:
    return HostTlsa("found", (Tlsa(usage, 0, 1, hashlib.sha256(der).digest()),), base)


async def test_dane_ee_wants_the_certificate_that_it_names_and_no_authority(opener: Any) -> None:
    context, own, _ = _certified("whatever.test")
    async with Receiver(tls=context) as receiver:
        connection = await opener(_DANE).open(_host(receiver, tlsa=_tlsa(3, own)))
        assert connection.peer.tls
    assert _results(connection.sessions) == [("tlsa", "")]


async def test_dane_ee_refuses_any_other_however_valid(opener: Any, authority: Authority) -> None:
    _, other, _ = _certified("mx.test")
    async with Receiver(tls=authority.server("mx.test")) as receiver:
        failure = await opener(_DANE).refused(_host(receiver, tlsa=_tlsa(3, other)))
        assert len(receiver.sessions) == 1
    assert "TLSA" in failure.reply.text
    assert _results(failure.sessions) == [("tlsa", "certificate-not-trusted")]


async def test_dane_does_not_stand_in_for_a_certificate_that_the_operator_wants_valid(
    opener: Any, authority: Authority
) -> None:
    unknown, own, _ = _certified("mx.test")
    async with Receiver(tls=unknown) as receiver:
        host = _host(receiver, tlsa=_tlsa(3, own))
        assert (await opener(_DANE, "verify").refused(host)).tls == "certificate-not-trusted"
        assert (await opener(_DANE, "require").open(host)).peer.tls
    async with Receiver(tls=authority.server("mx.test")) as receiver:
        failure = await opener(_DANE, "verify").refused(_host(receiver, tlsa=_tlsa(3, own)))
    assert "TLSA" in failure.reply.text


async def test_dane_ta_wants_a_chain_to_the_authority_and_the_name(opener: Any) -> None:
    context, _, authority = _certified("mx.test")
    async with Receiver(tls=context) as receiver:
        connection = await opener(_DANE).open(_host(receiver, tlsa=_tlsa(2, authority)))
        assert connection.peer.tls
    wrong_name, _, authority = _certified("other.test")
    async with Receiver(tls=wrong_name) as receiver:
        failure = await opener(_DANE).refused(_host(receiver, tlsa=_tlsa(2, authority)))
    assert "does not vouch for" in failure.reply.text


async def test_dane_refuses_a_host_without_starttls(opener: Any) -> None:
    async with Receiver() as receiver:
        failure = await opener(_DANE).refused(_host(receiver, tlsa=_tlsa(3, b"any")))
        assert not _mail_was_said(receiver)
    assert "DANE of mx.test" in failure.reply.text


async def test_a_host_whose_records_cannot_be_looked_up_is_skipped_for_the_next(
    opener: Any,
) -> None:
    context, own, _ = _certified("mx.test")
    failed = HostTlsa("failed", base="mx.test", detail="timeout")
    async with Receiver(tls=context) as receiver, Receiver(tls=context) as other:
        failure = await opener(_DANE).refused(_host(receiver, tlsa=failed))
        assert "timeout" in failure.reply.text
        assert _results(failure.sessions) == [("tlsa", "dnssec-invalid")]
        good = _host(other, "mx2.test", _tlsa(3, own, "mx2.test"))
        connection = await opener(_DANE).open(_host(receiver, tlsa=failed), good)
        assert connection.peer.name == "mx2.test"
        assert receiver.sessions == []


async def test_unusable_records_want_tls_and_take_any_certificate(opener: Any) -> None:
    context, *_ = _certified("whatever.test")
    unusable = HostTlsa("found", (Tlsa(1, 1, 1, bytes(32)),), "mx.test")
    async with Receiver(tls=context) as receiver:
        connection = await opener(_DANE).open(_host(receiver, tlsa=unusable))
        assert connection.peer.tls
    async with Receiver() as receiver:
        assert (await opener(_DANE).refused(_host(receiver, tlsa=unusable))).phase == "tls"


# Without a policy


async def test_what_is_broken_is_remembered_with_its_reason_for_the_site(opener: Any) -> None:
    opener = opener(OPPORTUNISTIC)
    script: dict[str, Scripted] = {"STARTTLS": b"454 4.7.0 no certificate\r\n"}
    async with Receiver(script, extensions=(*OFFERED, "STARTTLS")) as receiver:
        connection = await opener.open(_host(receiver))
        assert connection.peer.tls == ""
    ((site, session, seconds),) = opener.connections.broken_tls(10)
    assert (site, session.host.name) == ("mx.test", "mx.test")
    assert "no certificate" in session.detail
    assert 3500 < seconds <= 3600
    assert _results(connection.sessions) == [("no-policy-found", "validation-failure")]


async def test_clear_text_where_nothing_else_is_offered_is_counted_as_that(opener: Any) -> None:
    async with Receiver() as receiver:
        connection = await opener(OPPORTUNISTIC).open(_host(receiver))
    assert _results(connection.sessions) == [("no-policy-found", "starttls-not-supported")]


async def test_a_host_known_to_be_broken_is_not_sent_to_in_clear_text_once_a_policy_holds(
    tmp_path: Path, authority: Authority, opener: Any
) -> None:
    first = opener(OPPORTUNISTIC)
    script: dict[str, Scripted] = {"STARTTLS": b"454 4.7.0 no\r\n"}
    async with Receiver(script, extensions=(*OFFERED, "STARTTLS")) as receiver:
        await first.open(_host(receiver))
        strict = opener(_ENFORCE)
        strict.connections = first.connections
        failure = await strict.refused(_host(receiver))
    assert failure.phase == "tls"
