"""Message ids, enhanced status codes, dates, xtext and the Received field."""

import re
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.dates import format_date
from relay.mail.encoded_words import decode_words, encode_words
from relay.mail.enhanced import REPLY_TEXT_CHARACTERS, split_reply
from relay.mail.headers import Headers
from relay.mail.message_id import is_message_id, new_message_id
from relay.mail.quoted_printable import quoted_printable
from relay.mail.received import received_field
from relay.mail.replies import Reply
from relay.mail.xtext import decode_xtext, encode_utf8_address

MESSAGE_ID = "01000187a5a0c0de-6b1a2f60-0f31-4a5e-9a50-3c1f0c4e9b9d-000000"


@given(st.integers(0, 1 << 47))
def test_a_message_id_tells_the_time_in_the_form_of_ses(now: int) -> None:
    message_id = new_message_id(now)
    assert is_message_id(message_id)
    assert int(message_id[4:16], 16) == now
    assert message_id.endswith("-000000")
    assert message_id != new_message_id(now)


@pytest.mark.parametrize(
    "text",
    ["", "x", MESSAGE_ID.upper(), MESSAGE_ID + "\n", MESSAGE_ID[1:], "../" + MESSAGE_ID],
)
def test_only_the_exact_form_is_a_message_id(text: str) -> None:
    assert is_message_id(MESSAGE_ID)
    assert not is_message_id(text)


@pytest.mark.parametrize(
    ("code", "text", "reply"),
    [
        (250, "2.0.0 Ok", Reply(250, "2.0.0", "Ok")),
        (250, "Ok", Reply(250, "", "Ok")),
        (550, "5.1.1 No such\n5.1.1 user here", Reply(550, "5.1.1", "No such user here")),
        (550, "Not here\n5.1.1 really", Reply(550, "5.1.1", "Not here really")),
        (450, "5.1.1 odd", Reply(450, "", "5.1.1 odd")),
        (550, "5.7.1", Reply(550, "5.7.1", "")),
        (550, "5.7.1234 x", Reply(550, "", "5.7.1234 x")),
        (220, "5.6.7.8 greets you", Reply(220, "", "5.6.7.8 greets you")),
        (550, "a\x1b[31m\0b\r\nc\td", Reply(550, "", "a?[31m?b c d")),
        (-1, "5.1.1 x", Reply(-1, "", "5.1.1 x")),
    ],
)
def test_the_enhanced_status_is_taken_off_the_text(code: int, text: str, reply: Reply) -> None:
    assert split_reply(code, text) == reply


@given(st.sampled_from([250, 451, 550]), st.text())
def test_what_a_peer_says_becomes_one_printable_line_of_bounded_length(
    code: int, text: str
) -> None:
    reply = split_reply(code, text)
    assert reply.text.isprintable()
    assert len(reply.text) <= REPLY_TEXT_CHARACTERS


@given(st.integers(0, 250_000_000_000_000))
def test_dates_are_read_back_by_others(at: int) -> None:
    assert int(parsedate_to_datetime(format_date(at)).timestamp()) == at // 1000


def test_xtext_is_decoded_and_anything_else_refused() -> None:
    assert decode_xtext("a+2Bb+3Dc") == "a+b=c"
    for text in ("a+", "a+2b", "a=b", "a b", "\u00fc", "a+2", "a\r"):
        with pytest.raises(ValueError, match="xtext"):
            decode_xtext(text)


@given(st.text())
def test_a_utf8_address_is_written_in_ascii_and_can_be_read_back(address: str) -> None:
    encoded = encode_utf8_address(address)
    assert re.fullmatch(r"[!-*,-<>-~]*", encoded)
    assert re.sub(r"\\x\{([0-9A-F]+)\}", lambda code: chr(int(code[1], 16)), encoded) == address


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_encoded_words_are_decoded_to_what_they_were_made_of(text: str) -> None:
    encoded = encode_words(text)
    assert all(len(word) <= 75 for word in encoded.split(" "))
    assert decode_words(encoded) == text


@pytest.mark.parametrize("value", ["=?no-such-charset?q?x?=", "=?utf-8?b?!!!!=?=", "=?", "=?a?="])
def test_broken_encoded_words_are_shown_as_they_are(value: str) -> None:
    assert isinstance(decode_words(value), str)


@given(st.binary())
def test_quoted_printable_is_7bit_and_decodes_to_the_same_octets(text: bytes) -> None:
    from quopri import decodestring

    encoded = quoted_printable(text)
    assert encoded.isascii()
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert decodestring(encoded) == text


def received(**changes: object) -> bytes:
    facts: dict[str, object] = {
        "helo": "app.internal",
        "client": "192.0.2.7",
        "by": "relay.test",
        "message_id": MESSAGE_ID,
        "at": 1_700_000_000_000,
    }
    return received_field(**(facts | changes))  # type: ignore[arg-type]


def test_the_received_field_tells_the_way_of_the_message() -> None:
    assert received(tls="TLSv1.3", recipient="bob@example.com") == (
        b"Received: from app.internal ([192.0.2.7])\r\n\t(using TLSv1.3)\r\n"
        b"\tby relay.test with ESMTPSA\r\n\tid " + MESSAGE_ID.encode() + b"\r\n"
        b"\tfor <bob@example.com>;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    )
    assert b"with UTF8SMTPA\r\n" in received(smtputf8=True)
    assert b"with ESMTP\r\n" in received(authenticated=False)
    assert b"([IPv6:2001:db8::1])" in received(client="2001:db8::1")
    assert b"from [192.0.2.1] (" in received(helo="[192.0.2.1]")


@given(st.text(), st.text(), st.text())
def test_nothing_that_a_client_says_breaks_the_received_field(
    helo: str, client: str, recipient: str
) -> None:
    field = received(helo=helo, client=client, recipient=recipient)
    headers = Headers.parse(field)
    assert headers.count("received") == 1
    assert field.count(b"\r\n") == received(recipient="x" if b"\tfor <" in field else "").count(
        b"\r\n"
    )
