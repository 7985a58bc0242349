"""Parameters go only where they are offered, and what a peer cannot take whole is refused."""

from dataclasses import replace

import pytest

from relay.delivery.commands import (
    Mail,
    UnsafeCommand,
    mail_command,
    mail_of,
    rcpt_command,
    unfit,
)
from relay.delivery.peer import Peer, describe_peer
from relay.mail.envelope import Envelope, Recipient
from tests.delivery.outgoing import make_message

_BARE = Peer("mx.test", "192.0.2.1")
_FULL = describe_peer(
    "mx.test",
    "192.0.2.1",
    25,
    "",
    {"pipelining": "", "8bitmime": "", "smtputf8": "", "dsn": "", "size": "1000"},
)
_BOB = (Recipient("b@example.test"),)


def _mail(**changes: object) -> Mail:
    envelope = Envelope("a@sender.test", _BOB, ret="HDRS", envid="id+3Dx")
    mail = Mail(envelope, size=500, eight_bit=True, utf8_header=False)
    return replace(mail, **changes)  # type: ignore[arg-type]


def test_everything_a_peer_offers_is_used() -> None:
    assert mail_command(_FULL, _mail(), _BOB) == (
        b"MAIL FROM:<a@sender.test> SIZE=500 BODY=8BITMIME RET=HDRS ENVID=id+3Dx\r\n"
    )
    recipient = Recipient("b@example.test", ("SUCCESS", "FAILURE"), "rfc822;B@example.test")
    assert rcpt_command(_FULL, recipient) == (
        b"RCPT TO:<b@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B@example.test\r\n"
    )


def test_nothing_is_sent_that_a_peer_does_not_offer() -> None:
    mail = _mail(eight_bit=False)
    recipient = Recipient("b@example.test", ("NEVER",), "rfc822;B@example.test")
    assert mail_command(_BARE, mail, (recipient,)) == b"MAIL FROM:<a@sender.test>\r\n"
    assert rcpt_command(_BARE, recipient) == b"RCPT TO:<b@example.test>\r\n"


def test_smtputf8_is_asked_for_only_where_it_is_needed() -> None:
    envelope = Envelope("a@sender.test", _BOB, smtputf8=True)
    plain = Mail(envelope, 1, eight_bit=False, utf8_header=False)
    assert b"SMTPUTF8" not in mail_command(_FULL, plain, _BOB)
    assert unfit(_BARE, plain, _BOB) is None
    assert b"SMTPUTF8" in mail_command(_FULL, replace(plain, utf8_header=True), _BOB)
    assert b" SMTPUTF8" in mail_command(_FULL, plain, (Recipient("ü@example.test"),))


def test_an_8_bit_message_is_not_sent_to_a_7_bit_peer() -> None:
    refusal = unfit(_BARE, _mail(), _BOB)
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (554, "5.6.3")
    assert "mx.test takes 7-bit only" in refusal.text


@pytest.mark.parametrize(
    ("mail", "recipients", "what"),
    [
        (_mail(), (Recipient("ü@example.test"),), "a recipient's address"),
        (_mail(envelope=Envelope("ä@sender.test", _BOB)), _BOB, "its reverse-path"),
        (
            _mail(envelope=Envelope("a@sender.test", _BOB, smtputf8=True), utf8_header=True),
            _BOB,
            "its header fields",
        ),
    ],
)
def test_utf8_is_not_sent_to_a_peer_without_smtputf8(
    mail: Mail, recipients: tuple[Recipient, ...], what: str
) -> None:
    refusal = unfit(replace(_BARE, eight_bit=True), mail, recipients)
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (553, "5.6.7")
    assert what in refusal.text


def test_a_message_beyond_the_size_that_a_peer_takes_is_not_begun() -> None:
    refusal = unfit(_FULL, _mail(size=1001), _BOB)
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (552, "5.3.4")
    assert "1,001 octets" in refusal.text
    assert unfit(_FULL, _mail(size=1000), _BOB) is None


@pytest.mark.parametrize("parameter", ["", "0", "many", "-1", "9" * 30, "²"])
def test_a_size_that_says_nothing_limits_nothing(parameter: str) -> None:
    peer = describe_peer("mx.test", "192.0.2.1", 25, "", {"size": parameter, "8bitmime": ""})
    assert peer.offers_size
    assert unfit(peer, _mail(size=10**12), _BOB) is None


@pytest.mark.parametrize("address", ["b@example.test>\r\nRCPT TO:<c@d.test", "b\n@x.test", "\0@x"])
def test_an_address_with_a_control_character_never_reaches_the_wire(address: str) -> None:
    with pytest.raises(UnsafeCommand):
        rcpt_command(_FULL, Recipient(address))
    with pytest.raises(UnsafeCommand):
        mail_command(_FULL, _mail(envelope=Envelope(address, _BOB)), _BOB)


def test_the_size_that_is_declared_counts_the_signature_too() -> None:
    message = make_message("b@example.test", body=b"12345\r\n")
    signature = b"DKIM-Signature: x\r\n"
    assert mail_of(message, signature).size == len(signature + message.header) + 2 + 7
