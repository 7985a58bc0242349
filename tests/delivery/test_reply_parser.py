"""Replies are read strictly: by the grammar, in any chunks, and nothing else passes as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.reply_parser import LINE_OCTETS, ProtocolError, ReplyParser

_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)
_REPLY = st.tuples(st.integers(200, 599), st.lists(_TEXT, min_size=1, max_size=4))


def _wire(code: int, lines: list[str]) -> bytes:
    marked = [f"{code}-{line}\r\n" for line in lines[:-1]] + [f"{code} {lines[-1]}\r\n"]
    return "".join(marked).encode()


def _feed(parser: ReplyParser, wire: bytes, times: int) -> None:
    for _ in range(times):
        parser.feed(wire)


@given(st.lists(_REPLY, max_size=5), st.data())
def test_any_chunking_of_replies_gives_the_same_replies(
    replies: list[tuple[int, list[str]]], data: st.DataObject
) -> None:
    wire = b"".join(_wire(code, lines) for code, lines in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    parser = ReplyParser()
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        got += parser.feed(wire[start:end])
    assert got == [(code, "\n".join(lines)) for code, lines in replies]
    assert parser.is_idle


@given(st.binary(max_size=300))
def test_octets_that_are_no_reply_never_become_one(octets: bytes) -> None:
    parser = ReplyParser()
    try:
        replies = parser.feed(octets)
    except ProtocolError:
        return
    for code, _ in replies:
        assert str(code).encode() in octets
        assert 200 <= code <= 599


@pytest.mark.parametrize("wire", [b"250\r\n", b"250 \r\n"])
def test_a_reply_of_a_code_alone_is_a_reply(wire: bytes) -> None:
    assert ReplyParser().feed(wire) == [(250, "")]


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (b"hello there\r\n", "no SMTP reply"),
        (b"\r\n", "no SMTP reply"),
        (b"25 ok\r\n", "no SMTP reply"),
        (b"+50 ok\r\n", "no SMTP reply"),
        (b"150 ok\r\n", "no SMTP reply"),
        (b"650 ok\r\n", "no SMTP reply"),
        (b"250ok\r\n", "no SMTP reply"),
        (b"250_ok\r\n", "no SMTP reply"),
        (b" 250 ok\r\n", "no SMTP reply"),
        (b"250 ok\n", "CR LF"),
        (b"250 o\rk\r\n", "CR LF"),
        (b"250 o\x00k\r\n", "NUL"),
        (b"250-one\r\n550 two\r\n", "different codes"),
        (b"250 " + b"x" * 12_000 + b"\r\n", "more than 4096 octets"),
        (b"250 " + b"x" * 12_000, "more than 4096 octets"),
        (b"250-" + b"x" * 1000 + b"\r\n", "more than 32768 octets"),
    ],
)
def test_nonsense_is_named(wire: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        _feed(ReplyParser(), wire, 40)


def test_a_reply_is_bounded_however_slowly_it_comes() -> None:
    with pytest.raises(ProtocolError):
        _feed(ReplyParser(), b"x", 2 * LINE_OCTETS)


def test_text_in_any_encoding_is_taken() -> None:
    assert ReplyParser().feed("550 postfächer\r\n".encode("latin-1"))[0][0] == 550
